import json
import resource
import time

import pytest
import torch
from safetensors.torch import load_file, save
from tests.models.conftest import CONFIGS
from tests.models.test_io import AUDIO, rewrite

import samplewise
from samplewise.cli.main import main
from samplewise.config.models import SampleRNNConfig, SubscaleWaveRNNConfig, WaveNetConfig
from samplewise.errors import CheckpointError
from samplewise.models.build import build_model
from samplewise.models.io import _digest, load_model, save_model
from samplewise.models.memory import check_memory, model_memory
from samplewise.nn.state import to_tensors


@pytest.mark.parametrize("name", CONFIGS)
def test_weights_and_state_are_counted_as_they_are_allocated(name):
    memory, model = model_memory(CONFIGS[name]), build_model(CONFIGS[name])
    assert memory.parameters == sum(p.numel() for p in model.parameters())
    assert memory.weights == sum(p.nbytes for p in model.parameters())
    assert memory.state == sum(t.nbytes for t in to_tensors(model.initial_state(1)).values())


def test_a_table_is_counted_as_it_is_folded():
    config = SampleRNNConfig(frame_sizes=(3, 6), dim=5, emb_size=2, q_levels=16)
    model = build_model(config)
    model.fold()
    assert model_memory(config).tables == 24 * model.sample_level.folded.numel()


@pytest.mark.parametrize(
    "config",
    [
        SubscaleWaveRNNConfig(
            n_subscale=256, columns=2**20, dim=2, channels=1, residual_channels=1
        ),
        SampleRNNConfig(frame_sizes=(4096, 4096), q_levels=65536, dim=1, emb_size=1),
        WaveNetConfig(blocks=64, layers=16),
    ],
    ids=lambda config: config.family,
)
def test_what_asks_for_gigabytes_is_refused_before_it_is_allocated(config):
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=r"more than 2 GiB; .*raise the bound with --max-me"):
        check_memory(config)
    assert time.process_time() - began < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, build_model(CONFIGS["2-tier"]), AUDIO, {})
    return path


def test_a_bound_is_a_flag_and_a_description_needs_no_weights(file, capsys):
    assert main(["export", str(file), "--describe"]) == 0
    parameters = sum(p.numel() for p in load_model(file).model.parameters())
    stored = build_model(CONFIGS["2-tier"])
    assert f"{sum(p.numel() for p in stored.parameters())} parameters" in capsys.readouterr().out
    assert parameters < sum(p.numel() for p in stored.parameters())  # gains are folded
    with pytest.raises(CheckpointError, match=r"more than 0.000\d+ MiB"):
        load_model(file, max_memory=1000)


def test_a_sparse_file_of_gigabytes_is_refused_unread(file):
    size = 5 * 2**30
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    tensors = {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}
    for text, message in (
        (data[8 : 8 + length], r"its tensors take \d+ bytes, but \d+ follow the header"),
        (
            json.dumps({"__metadata__": header["__metadata__"], "more": tensors}).encode(),
            "weights do not fit the description",
        ),
    ):
        with file.open("wb") as stream:
            stream.write(len(text).to_bytes(8, "little") + text)
            stream.truncate(8 + len(text) + size)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(CheckpointError, match=message):
            load_model(file)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_a_description_nested_without_end_is_refused(file):
    text, weights = "[" * 100_000 + "]" * 100_000, load_file(file)
    file.write_bytes(save(weights, {"samplewise": text, "sha256": _digest(text, weights)}))
    with pytest.raises(CheckpointError, match="cannot be used as a model: it is nested too deep"):
        load_model(file)
    rewrite_family = {"family": ["samplernn"]}
    save_model(file, build_model(CONFIGS["2-tier"]), AUDIO, {})
    rewrite(file, **rewrite_family)
    with pytest.raises(CheckpointError, match=r"it is \['samplernn'\] of format 3"):
        load_model(file)


def fill(model, fault):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if fault == "huge":
                parameter.fill_(3e38)
            elif fault == "zero" and name.endswith((".v", ".g")):
                parameter.zero_()
        if fault == "bias":
            biases = [p for n, p in model.named_parameters() if n.endswith("bias")]
            biases[-1].view(-1)[0] = 3e38


@pytest.mark.parametrize("fault", ["huge", "zero", "bias"])
@pytest.mark.parametrize("name", ["2-tier", "gmm", "rnn", "wavenet", "wavernn", "subscale"])
def test_numbers_that_make_no_probabilities_are_refused(name, fault, tmp_path, capsys):
    model = build_model(CONFIGS[name])
    fill(model, fault)
    path = tmp_path / "useless.safetensors"
    save_model(path, model, AUDIO, {})
    if fault == "zero" and not any(n.endswith(".g") for n, _ in model.named_parameters()):
        return  # without weight norm, zeros make a uniform distribution
    for command in (["generate", "--count", "1"], ["generate", "--stream", "-"], ["export", "x"]):
        where = [str(path), *([str(tmp_path / "x")] if command[-1] == "x" else [])]
        assert main([command[0], *where, *[w for w in command[1:] if w != "x"]]) == 1
        assert "the model gives probabilities that are not finite" in capsys.readouterr().err


def test_the_bound_holds_for_all_clips_that_are_drawn_at_once(file, capsys, tmp_path):
    config = CONFIGS["2-tier"]
    one, two, nine = (model_memory(config, clips) for clips in (1, 2, 9))
    assert (two.state, two.weights, two.tables) == (2 * one.state, one.weights, one.tables)
    bound = model_memory(config, 7).total
    assert one.total < bound < nine.total
    model = samplewise.load(file, max_memory=(bound + 0.5) / 2**30)
    with pytest.raises(ValueError, match=r"^9 clips at once would take .* lower --batch to 7 or"):
        model.generate(9, seconds=0.01)
    assert len(model.generate(9, seconds=0.01, batch=7)) == 9
    command = ["generate", str(file), "--count", "9", "--seconds", "0.01"]
    command += ["-o", str(tmp_path / "clips"), "--max-memory", str((bound + 0.5) / 2**30)]
    assert main(command) == 1
    assert "lower --batch to 7" in capsys.readouterr().err
    assert main([*command, "--batch", "7"]) == 0


def test_the_rows_of_a_subscale_model_bound_its_clips():
    config = SubscaleWaveRNNConfig(n_subscale=16, columns=64, dim=1024)
    assert model_memory(config, 100) == model_memory(config, 42)
    assert model_memory(config, 42).state == 42 * model_memory(config).state
