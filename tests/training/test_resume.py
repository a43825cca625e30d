"""Resume equals never stopped, bit for bit; in this process, and with real kills."""

import json
import os
import random
import signal
import time
from contextlib import closing
from dataclasses import replace
from itertools import chain

import pytest
import torch
from safetensors.torch import load_file
from tests.forked import run_command, start_command

from samplewise.config.codec import flag_names, with_fields
from samplewise.config.conditioning import ConditioningConfig, MelConfig
from samplewise.config.training import TrainConfig
from samplewise.errors import CheckpointError, CorpusError, SamplewiseError, TrainingError
from samplewise.models.io import load_model
from samplewise.training import loop
from samplewise.training import run as run_module
from samplewise.training import train_step as step_module
from samplewise.training.interrupts import Interrupts
from samplewise.training.logger import RunLogger
from samplewise.training.loop import fit
from samplewise.training.ranks import Agreement
from samplewise.training.run import Progress, discard, start


def train(config, corpus, folder, ranks):
    run = start(config, corpus, folder, ranks)
    journal = RunLogger(folder, run.progress.step, lambda text: None)
    with closing(journal), Interrupts() as interrupts:
        reason = fit(run, journal, interrupts)
    return run, reason


def tensors_of(folder):
    newest = sorted((folder / "state").glob("step-*"))[-1]
    return load_file(newest / "tensors.safetensors")


def cursor_of(folder):
    newest = sorted((folder / "state").glob("step-*"))[-1]
    return json.loads((newest / "state.json").read_text())["cursor"]


def assert_same_bits(left, right):
    a, b = tensors_of(left), tensors_of(right)
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    assert cursor_of(left) == cursor_of(right)
    assert (left / "weights.safetensors").read_bytes() != b""
    mine, other = load_model(left).model, load_model(right).model
    torch.testing.assert_close(
        dict(mine.named_parameters()), dict(other.named_parameters()), rtol=0, atol=0
    )


@pytest.fixture(params=["gru", "gru-reset-after", "lstm"])
def any_config(config, request):
    model = replace(config.model, cell=request.param, n_rnn=2)
    # Lanes begin other clips within ten steps.
    return replace(config, model=model, seq_len=16, clip_seconds=0.02, valid_seconds=0.02)


def test_a_run_in_two_parts_equals_the_run_in_one(any_config, corpus, tmp_path, alone):
    train(with_fields(any_config, steps=12), corpus, tmp_path / "whole", alone)
    for cut in (1, 4, 7, 12):
        train(with_fields(any_config, steps=cut), corpus, tmp_path / "parts", alone)
    assert_same_bits(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize(("sparsity", "every"), [(0.0, 1), (0.5, 3)])
def test_a_run_under_muon_resumes_in_the_same_bits(
    config, corpus, tmp_path, alone, sparsity, every
):
    wide = with_fields(
        config, model=replace(config.model, dim=32), optimizer="muon", muon_every=every
    )
    wide = with_fields(wide, sparsity=sparsity, block="4x4", prune_start=2, prune_steps=4)
    train(with_fields(wide, steps=12), corpus, tmp_path / "whole", alone)
    for cut in (1, 5, 12):
        train(with_fields(wide, steps=cut), corpus, tmp_path / "parts", alone)
    assert_same_bits(tmp_path / "whole", tmp_path / "parts")
    assert any(name.endswith(".momentum") for name in tensors_of(tmp_path / "whole"))


def test_a_run_that_is_told_something_resumes_in_the_same_bits(config, corpus, tmp_path, alone):
    mel = MelConfig(n_mels=4, n_fft=64, win_length=64, hop=32, f_max=None)
    table = tmp_path / "labels.csv"
    names = {recording.source: index % 2 for index, recording in enumerate(corpus.recordings)}
    table.write_text("\n".join(["file,speaker", *(f"{n},{c}" for n, c in names.items())]))
    told = replace(config.model, conditioning=ConditioningConfig(mel, channels=6, width=5))
    config = replace(config, mel=True, labels=str(table), model=told)
    train(with_fields(config, steps=12), corpus, tmp_path / "whole", alone)
    for cut in (1, 5, 6, 12):
        run, _ = train(with_fields(config, steps=cut), corpus, tmp_path / "parts", alone)
    assert_same_bits(tmp_path / "whole", tmp_path / "parts")
    assert run.model.conditioner.embedding.shape == (2, 5)


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.mark.usefixtures("two_threads")
def test_wide_layers_on_two_threads_resume_in_the_same_bits_too(config, corpus, tmp_path, alone):
    wide = replace(config, model=replace(config.model, dim=256))
    train(with_fields(wide, steps=4), corpus, tmp_path / "whole", alone)
    for cut in (1, 4):
        train(with_fields(wide, steps=cut), corpus, tmp_path / "parts", alone)
    assert_same_bits(tmp_path / "whole", tmp_path / "parts")


def test_a_run_keeps_the_library_that_was_faster_when_it_began(
    config, corpus, tmp_path, alone, monkeypatch
):
    config, used = replace(config, matmul="auto"), []
    real = step_module.products_by
    monkeypatch.setattr(
        step_module, "products_by", lambda library: used.append(library) or real(library)
    )
    for measured, steps in (("blas", 1), ("onednn", 2)):
        monkeypatch.setattr(run_module, "faster_library", lambda measured=measured: measured)
        train(with_fields(config, steps=steps), corpus, tmp_path, alone)
    train(with_fields(config, steps=3, matmul="onednn"), corpus, tmp_path, alone)
    train(with_fields(config, steps=4), corpus, tmp_path, alone)
    assert used == ["blas", "blas", "onednn", "onednn"]


def test_resuming_without_the_recurrent_state_or_the_moments_differs(
    config, corpus, tmp_path, alone, monkeypatch
):
    """The control: were these not restored, the test above would notice."""
    train(with_fields(config, steps=9), corpus, tmp_path / "whole", alone)
    for prefix in ("lanes.", "adam.", "averaged."):
        folder = tmp_path / prefix
        train(with_fields(config, steps=3), corpus, folder, alone)
        with monkeypatch.context() as patch:
            _forget(patch, prefix)
            train(with_fields(config, steps=9), corpus, folder, alone)
        a, b = tensors_of(tmp_path / "whole"), tensors_of(folder)
        assert any(not torch.equal(a[name], b[name]) for name in a)


def _forget(patch, prefix):
    from samplewise.training import run

    real = run.load_latest

    def forgetful(folder):
        latest = real(folder)
        if latest is None:
            return None
        tensors, facts = latest
        return {
            name: torch.zeros_like(value) if name.startswith(prefix) else value
            for name, value in tensors.items()
        }, facts

    patch.setattr(run, "load_latest", forgetful)


def test_metrics_beyond_the_checkpoint_are_dropped_and_a_torn_line_too(
    config, corpus, tmp_path, alone
):
    train(with_fields(config, steps=4), corpus, tmp_path, alone)
    path = tmp_path / "metrics.jsonl"
    with path.open("a") as file:
        file.write('{"event": "train", "step": 400, "bits": 1.0}\n{"event": "tra')
    train(with_fields(config, steps=8), corpus, tmp_path, alone)
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [event["step"] for event in events if event["event"] == "valid"] == [4, 4, 8, 8]
    assert all(event["step"] <= 8 for event in events)


def test_another_setting_is_another_run(config, corpus, tmp_path, alone):
    train(with_fields(config, steps=1), corpus, tmp_path / "run", alone)
    other = with_fields(config, model=replace(config.model, dim=9), learning_rate=0.5)
    with pytest.raises(CheckpointError, match=r"model.dim was 8, now 9.*learning_rate was 0.001, "):
        start(other, corpus, tmp_path / "run", alone)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.txt").write_text("mine")
    refused = r"foreign holds 'thesis.txt' and no config.json: it is not a run folder"
    with pytest.raises(SamplewiseError, match=refused):
        start(config, corpus, tmp_path / "foreign", alone)
    with pytest.raises(SamplewiseError, match=refused):
        discard(tmp_path / "foreign")
    assert (tmp_path / "foreign" / "thesis.txt").exists()


def flattened(train):
    """Return the settings of a run as formats 1 and 2 wrote them, without groups."""
    names, flat = flag_names(TrainConfig()), {}
    for field, value in train.items():
        if field in ("optimizer", "pruning", "budget", "preview"):
            flat |= {names[f"{field}.{inner}"]: item for inner, item in value.items()}
        else:
            flat[field] = value
    return flat


def test_a_run_of_an_older_format_goes_on(config, corpus, tmp_path, alone):
    train(with_fields(config, steps=4), corpus, tmp_path / "whole", alone)
    train(with_fields(config, steps=2), corpus, tmp_path / "parts", alone)
    path = tmp_path / "parts" / "config.json"
    there = json.loads(path.read_text())
    path.write_text(json.dumps(there | {"format": 2, "train": flattened(there["train"])}))
    with pytest.raises(CheckpointError, match=r"\(learning_rate was 0.001, now 0.5\)"):
        start(with_fields(config, learning_rate=0.5), corpus, tmp_path / "parts", alone)
    train(with_fields(config, steps=4), corpus, tmp_path / "parts", alone)
    assert_same_bits(tmp_path / "whole", tmp_path / "parts")
    assert json.loads(path.read_text())["train"]["budget"]["steps"] == 4


def test_a_run_with_the_older_mulaw_goes_on_with_it(config, corpus, tmp_path, alone):
    older, newer = (
        with_fields(config, model=replace(config.model, quantizer=name), steps=2)
        for name in ("mulaw-midtread", "mulaw")
    )
    train(with_fields(older, steps=4), corpus, tmp_path / "whole", alone)
    train(older, corpus, tmp_path / "parts", alone)
    path = tmp_path / "parts" / "config.json"  # as the versions before wrote it
    there = json.loads(path.read_text())
    there["train"] = flattened(there["train"])
    there["train"]["model"]["quantizer"] = "mulaw"
    path.write_text(json.dumps(there | {"format": 1}))
    for steps in (3, 4):
        run, _ = train(with_fields(newer, steps=steps), corpus, tmp_path / "parts", alone)
        assert run.model.quantizer.name == "mulaw-midtread"
    assert_same_bits(tmp_path / "whole", tmp_path / "parts")
    path.write_text(json.dumps(there | {"format": 4}))
    with pytest.raises(CheckpointError, match="has format 4; this version reads 1 to 3"):
        start(newer, corpus, tmp_path / "parts", alone)
    run, _ = train(newer, corpus, tmp_path / "new", alone)
    assert run.model.quantizer.name == "mulaw"
    assert load_model(tmp_path / "new").model.quantizer.name == "mulaw"


def test_how_the_output_layer_began_is_no_matter_for_a_run_that_goes_on(
    config, corpus, tmp_path, alone
):
    train(with_fields(config, steps=1), corpus, tmp_path / "run", alone)
    run, _ = train(
        with_fields(config, steps=2, output_init="paper"), corpus, tmp_path / "run", alone
    )
    assert run.progress.step == 2
    there = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (there["train"]["output_init"], there["train"]["budget"]["steps"]) == ("unigram", 2)


@pytest.mark.parametrize(
    ("preset", "said"),
    [
        ("test", ["the budget will hold about 8 steps"]),
        (
            "tiny",
            ["warning: the budget will hold about 8 steps, but the preset tiny was made for "],
        ),
    ],
)
def test_a_run_says_how_many_steps_its_budget_will_hold(
    config, corpus, tmp_path, alone, monkeypatch, preset, said
):
    monkeypatch.setattr(loop, "BUDGET_AFTER_S", 0.0)
    run, lines = start(replace(config, preset=preset), corpus, tmp_path / "run", alone), []
    with closing(RunLogger(run.folder, 0, lines.append)) as journal, Interrupts() as interrupts:
        fit(run, journal, interrupts)
    spoken = [line for line in lines if "budget" in line]
    assert [line[: len(words)] for line, words in zip(spoken, said, strict=True)] == said


def test_another_corpus_is_refused(config, corpus, tmp_path, alone):
    train(with_fields(config, steps=1), corpus, tmp_path, alone)
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace(corpus.digest, "0" * 64))
    with pytest.raises(CorpusError, match="is not the corpus that"):
        start(config, corpus, tmp_path, alone)


@pytest.mark.parametrize("broken", ["cost", "gradient", "explosion"])
def test_a_broken_cost_stops_before_the_weights_are_touched(
    config, corpus, tmp_path, alone, monkeypatch, broken
):
    train(with_fields(config, steps=3), corpus, tmp_path, alone)
    before = tensors_of(tmp_path)
    real = step_module.accumulate_gradients

    def accumulate(subsequence, batch, state, **options):
        nats, state = real(subsequence, batch, state, **options)
        if broken == "gradient":
            next(subsequence.parameters()).grad.view(-1)[0] = float("inf")
        return {"cost": nats * float("nan"), "explosion": nats * 1000}.get(broken, nats), state

    monkeypatch.setattr(step_module, "accumulate_gradients", accumulate)
    with pytest.raises(TrainingError, match=r"last good checkpoint is kept\. Try a lower"):
        train(with_fields(config, steps=6), corpus, tmp_path, alone)
    facts = json.loads((tmp_path / "failed-batch.json").read_text())
    assert facts["step"] == 3
    after = tensors_of(tmp_path)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_early_stopping_counts_validations_without_a_better_one(
    config, corpus, tmp_path, alone, monkeypatch
):
    results = iter([3.0, 2.0, 2.5, 1.9, 2.0, 2.1, 2.2])
    monkeypatch.setattr(loop, "nats_to_bits", lambda nats: next(results) if nats == "v" else 1.0)
    monkeypatch.setattr(loop, "score", lambda *a, **k: type("S", (), {"nats": (0.0,)}))
    monkeypatch.setattr(loop, "nats_to_bits", lambda nats: next(results))
    run = start(config, corpus, tmp_path, alone)
    for _ in range(6):
        loop.validate(run, None, loop.validation_clips(config, corpus))
    assert run.progress == Progress(best_bits=1.9, bad_validations=2)
    assert loop._finished(replace_patience(run, 3), Agreement) is None
    assert loop._finished(replace_patience(run, 2), Agreement) == "no better validation in 2"


def replace_patience(run, patience):
    run.config = with_fields(run.config, patience=patience)
    return run


OPTIONS = {
    "--preset": "small",
    "--matmul": "onednn",
    "--schedule": "constant",
    "--model.dim": "16",
    "--model.emb-size": "8",
    "--lanes": "4",
    "--seq-len": "64",
    "--clip-seconds": "0.2",
    "--steps": "60",
    "--minutes": "None",
    "--save-every": "1",
    "--valid-every": "30",
    "--valid-seconds": "0.5",
    "--preview-minutes": "0",
    "--threads": "1",
    "--device": "cpu",
    "--log-seconds": "0.05",
}


def command(corpus, folder, **changes):
    options = OPTIONS | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
    return ["train", str(corpus.folder), "-o", str(folder), *chain(*options.items())]


def wait_for_a_step(output):
    for line in output:
        if line.startswith("step"):
            return


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_in_the_same_bits(corpus, tmp_path):
    assert run_command(command(corpus, tmp_path / "whole")) == 0
    generator, kills = random.Random(1), 0  # noqa: S311
    while True:
        process, output = start_command(command(corpus, tmp_path / "killed"))
        with output:
            wait_for_a_step(output)  # it trains, and saves at every step
            if kills < 4:
                time.sleep(generator.uniform(0, 0.1))
                process.kill()
            output.read()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        if process.exitcode == 0:
            break
    assert kills >= 3
    assert_same_bits(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_stop_saves_and_ends_quickly(corpus, tmp_path, number):
    process, output = start_command(
        command(corpus, tmp_path / "run", save_every="None", steps="1000000")
    )
    with output:
        wait_for_a_step(output)
        began = time.monotonic()
        os.kill(process.pid, number)
        rest = output.read()
    process.join()
    assert time.monotonic() - began < 60  # of a million steps
    assert process.exitcode == 0
    assert "interrupted; give the same command to go on" in rest
    assert tensors_of(tmp_path / "run")
