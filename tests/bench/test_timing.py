import json
from dataclasses import replace

import pytest
import torch

from samplewise.bench import training as bench_training
from samplewise.bench.generation import generation_speed
from samplewise.bench.handwritten import HandWritten
from samplewise.bench.timing import interleave, machine, median_rate
from samplewise.cli import bench
from samplewise.config import presets
from samplewise.config.codec import with_fields
from samplewise.config.conditioning import ConditioningConfig, MelConfig
from samplewise.config.models import SampleRNNConfig, SubscaleWaveRNNConfig, WaveRNNConfig
from samplewise.models.samplernn import SampleRNN
from samplewise.training.optimizers import Muon

SIZES = {"dim": 6, "emb_size": 5, "q_levels": 16, "cell": "gru-reset-after", "weight_norm": False}
WIDE_WAVERNN = WaveRNNConfig(
    dim=32,
    conditioning=ConditioningConfig(MelConfig(n_mels=8, f_max=None), channels=4, lpc_order=4),
)
CONFIGS = [
    SampleRNNConfig(frame_sizes=(2, 2, 8), **SIZES),
    SampleRNNConfig(frame_sizes=(4, 4), n_rnn=2, **SIZES),
]


@pytest.mark.parametrize("config", CONFIGS)
@torch.no_grad()
def test_the_hand_written_loop_computes_the_same_function(config):
    ours, theirs = SampleRNN(config, seed=1), HandWritten(config)
    for index, tier in enumerate(ours.tiers):
        if tier.input is not None:
            copy_linear(theirs.inputs[index], tier.input)
        copy_linear(theirs.upsamples[index], tier.upsample)
        for number, layer in enumerate(tier.rnn.layers):
            gru = theirs.rnns[index]
            getattr(gru, f"weight_ih_l{number}").copy_(layer.input.weight())
            getattr(gru, f"weight_hh_l{number}").copy_(layer.recurrent())
            getattr(gru, f"bias_ih_l{number}").copy_(layer.input.bias)
            getattr(gru, f"bias_hh_l{number}").zero_()
    theirs.embedding.weight.copy_(ours.sample_level.embedding)
    assert ours.sample_level.input is not None
    theirs.first.weight.copy_(ours.sample_level.input())
    theirs.first.bias.zero_()
    for number, layer in enumerate(ours.sample_level.mlp):
        copy_linear(theirs.mlp[2 * number], layer)
    codes = torch.randint(16, (3, 24), generator=torch.Generator().manual_seed(1))
    silence = torch.full((3, config.lookback - 1), 8)
    expected, _ = ours(codes, ours.initial_state(3))
    found, _ = theirs(torch.cat([silence, codes], 1), [None] * len(theirs.rnns))
    torch.testing.assert_close(found, expected)


def copy_linear(theirs, ours):
    theirs.weight.copy_(ours.weight())
    theirs.bias.copy_(ours.bias)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_preset_is_timed_as_it_trains(monkeypatch, precision):
    config = with_fields(
        presets.PRESETS["vocoder-small"],
        **{"model": WIDE_WAVERNN, "lanes": 2, "seq_len": 256, "clip_seconds": 0.1},
        **{"optimizer": "muon", "muon_every": 3, "precision": precision, "ema": 0.9},
    )
    runs, real = [], bench_training.train_step
    monkeypatch.setattr(
        bench_training, "train_step", lambda run, *rest: runs.append(run) or real(run, *rest)
    )
    result = bench_training.training_speed(config, 2, 1)
    run = runs[0]
    assert replace(run.config, matmul="auto", random_offsets=True) == config
    assert isinstance(run.optimizer, Muon)
    assert run.averaged is not None
    steps = 3 * (1 + 1 + 1)  # unmeasured, measured and in parts; the matrices move at every third
    assert len(runs) == run.progress.step == steps
    assert tuple(result["parts"]) == bench_training.PARTS
    assert sum(result["parts"].values()) == pytest.approx(1)
    assert all(share > 0 for share in result["parts"].values())
    assert (result["precision"], result["optimizer"]) == (precision, "muon")
    assert "ratio" not in result


def test_the_time_of_a_part_is_counted_as_that_part(monkeypatch):
    clock = iter([0.0, 1.0, 3.0, 3.5])
    monkeypatch.setattr(bench_training.time, "perf_counter", lambda: next(clock))
    timer = bench_training.PartTimer("cpu")
    for part in ("data", "forward", "data"):
        timer(part)
    assert (timer.seconds["data"], timer.seconds["forward"]) == (1.5, 2.0)


def test_reading_clips_is_shared_among_their_steps(monkeypatch):
    config = replace(presets.PRESETS["tiny"], model=CONFIGS[0], seq_len=16, clip_seconds=0.1)
    monkeypatch.setattr(bench_training, "_read_first_clips", lambda run, corpus: 1000.0)
    result = bench_training.training_speed(config, 2, 1)
    assert result["samples_per_s"] == pytest.approx(16 * 16 / 1000, rel=0.01)
    assert result["parts"]["data"] > 0.99


def test_contestants_take_turns_after_one_unmeasured_run():
    order, counted = [], []
    contestants = {name: lambda name=name: order.append(name) for name in "ab"}
    seconds = interleave(contestants, 2, after_run=lambda: counted.append(1))
    assert order == list("ababab")
    assert len(counted) == 6
    assert [len(part) for part in seconds.values()] == [2, 2]


def test_no_runs_are_refused():
    with pytest.raises(ValueError, match="runs = 0 must be at least 1"):
        interleave({}, 0)


def test_the_median_run_counts():
    assert median_rate(100, [1.0, 2.0, 50.0]) == 50


def test_a_wavefront_is_timed_with_both_back_ends():
    config = SubscaleWaveRNNConfig(
        n_subscale=2, columns=4, dilations=(1,), dim=8, channels=4, residual_channels=4
    )
    rows = generation_speed(config, 1, 8, 1, weights=["int8"], threads=[1])
    assert [row["backend"] for row in rows] == ["reference", "native"]
    assert all(row["samples_per_s"] > 0 and "limit_samples_per_s" not in row for row in rows)


def test_generation_is_timed_with_every_back_end():
    options = {"weights": ["int8", "f32"], "threads": [1, 2], "graphed": True}
    rows = generation_speed(CONFIGS[0], 2, 8, 3, **options)
    names = [(row["backend"], row["weights"], row["threads"]) for row in rows]
    assert names[2:] == [("native", name, n) for n in (1, 2) for name in ("int8", "f32")]
    assert names[:2] == [
        (name, "f32", torch.get_num_threads()) for name in ("reference", "graphed")
    ]
    assert [row["samples"] for row in rows] == [8, 64, 64, 64, 64, 64]
    for row in rows:
        assert row["clips"] == 2
        assert len(row["runs"]) == 3
        assert row["samples_per_s"] == pytest.approx(sorted(row["runs"])[1])
    assert rows[0]["ratio"] == 1
    for row in rows[2:]:
        limit = row["limit_samples_per_s"]
        assert row["share_of_limit"] == pytest.approx(row["samples_per_s"] / limit)


def test_products_are_timed_without_the_reference():
    options = {"weights": (), "graphed": True, "reference": False, "products": ("float32", "tf32")}
    rows = generation_speed(CONFIGS[0], 2, 8, 1, **options)
    assert [(row["backend"], row["weights"]) for row in rows] == [
        ("graphed", "f32"),
        ("graphed", "tf32"),
    ]
    assert all("ratio" not in row for row in rows)


@pytest.mark.parametrize("config", [WaveRNNConfig(dim=64), replace(CONFIGS[0], dim=32)])
def test_a_pruned_model_is_timed_as_what_it_still_multiplies(config):
    options = {"weights": ["int8"], "threads": [1]}
    dense, sparse = (
        generation_speed(config, 1, 8, 1, sparsity=sparsity, **options)[1]
        for sparsity in (0.0, 0.75)
    )
    assert dense["macs_per_sample"] > 2 * sparse["macs_per_sample"] > 0
    assert sparse["real_time_24khz"] == pytest.approx(sparse["samples_per_s"] / 24000)
    with pytest.raises(ValueError, match="block = 16x5 does not divide"):
        generation_speed(config, 1, 8, 1, sparsity=0.5, block=(16, 5), **options)


def test_the_machine_is_described():
    facts = machine("cpu")
    assert facts["torch"] == torch.__version__
    assert facts["threads"] == torch.get_num_threads()
    assert facts["cpu"]


@pytest.fixture
def small_preset(monkeypatch):
    small = replace(presets.PRESETS["tiny"], model=CONFIGS[0], seq_len=16, clip_seconds=0.1)
    monkeypatch.setitem(presets.PRESETS, "tiny", small)
    monkeypatch.setitem(bench.STEP_SAMPLES, "cpu", 64)


@pytest.mark.usefixtures("small_preset")
def test_the_command_prints_and_writes_the_same_figures(tmp_path, capsys):
    file = tmp_path / "speed.json"
    options = ["--preset", "tiny", "--runs", "1", "--batch", "2", "--device", "cpu"]
    options += ["--threads", "1", "--weights", "int8"]
    assert bench.main([*options, "--json", "-o", str(file)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads(file.read_text())
    (trained,), (generation, native) = result["training"], result["generation"]
    assert (generation["backend"], native["backend"]) == ("reference", "native")
    assert file.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert trained["ratio"] == pytest.approx(
        trained["samples_per_s"] / trained["hand_written_samples_per_s"]
    )
    assert (trained["lanes"], generation["clips"]) == (16, 2)
    assert bench.main([*options, "--lanes", "2"]) == 0
    table = capsys.readouterr().out
    assert "hand-written" in table
    assert "of limit\n" not in table.partition("parts of a step")[0]
    parts = next(line for line in table.splitlines() if line.startswith("parts of a step"))
    assert parts.split()[4:] == ["optimizer", "precision", "products", *bench_training.PARTS]
    assert "at 16 kHz" in table
    assert bench.main(["train", *options]) == 0
    assert "at 16 kHz" not in capsys.readouterr().out


def test_on_a_gpu_a_column_says_how_near_to_its_products_training_comes(capsys):
    options = ["train", "--preset", "tiny", "--dim", "8", "--runs", "1", "--json"]
    assert bench.main([*options, "--device", "cpu"]) == 0
    result = json.loads(capsys.readouterr().out)
    result["machine"]["bfloat16_operations_per_s"] = 8e14
    result["training"][0]["share_of_limit"] = 0.175
    head, row = bench.format_benchmark(result).splitlines()[2:4]
    assert head.endswith("of limit")
    assert row.endswith("17.5%")
    assert "limit: products of bfloat16 matrices, 800 TFLOP/s" in bench.format_benchmark(result)


def test_a_sparse_wavernn_is_named_and_stands_beside_published_figures(capsys):
    options = ["generate", "--preset", "wavernn-224", "--dim", "64", "--sparsity", "0.5"]
    options += ["--block", "8x4", "--runs", "1", "--batch", "1", "--threads", "1"]
    assert bench.main([*options, "--weights", "int8", "--device", "cpu", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    names = {row["preset"] for row in result["generation"]}
    assert names == {"wavernn-224 at 64 units, 50% of 8x4 blocks zero"}
    assert 29100 in [row["samples_per_s"] for row in result["published"]]
    table = bench.format_benchmark(result)
    assert "on other hardware" in table
    assert "at 24 kHz" in table


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "huge"], "preset = 'huge' must be of tiny"),
        (["--runs", "0"], "runs = 0"),
        (["--threads", "0"], "threads = 0 must be at least 1"),
        (["--sparsity", "0.9"], "sparsity = 0.9 .* is of `samplewise bench generate`"),
        (["generate", "--sparsity", "1"], r"sparsity = 1.0 must lie in \[0, 1\)"),
        (["--block", "16"], "block = '16' must be rows x columns, such as 16x4"),
        (["--preset", "paper-wavenet", "--dim", "8"], "paper-wavenet has no such width"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        bench.main(options)
