"""A static step is the step of the plain loop, bit for bit, and needs nothing of the host."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tests.training.test_host_free import WAITS, OnTheHost
from tests.training.test_resume import assert_same_bits, train
from tests.training.test_tbptt import CONFIGS

from samplewise.config.codec import with_fields
from samplewise.config.models import SampleRNNConfig
from samplewise.errors import TrainingError
from samplewise.nn.state import to_tensors
from samplewise.training import loop
from samplewise.training.run import start
from samplewise.training.static_step import (
    WARM_UP,
    StaticStep,
    describe_launches,
    describe_recurrence,
    uses_graph,
)
from samplewise.training.tbptt import Subsequence
from samplewise.training.train_step import train_step

PREDICTOR = SampleRNNConfig(
    frame_sizes=(2, 2, 8), dim=8, emb_size=4, q_levels=32, lp_order=5, lp_window=128, lp_hop=8
)
MODELS = CONFIGS | {
    "lstm": replace(CONFIGS["samplernn"], cell="lstm", skip=True),
    "reset-after": replace(CONFIGS["samplernn"], cell="gru-reset-after"),
    "predictor": PREDICTOR,
}
STEPS = 7


@pytest.fixture(params=[*MODELS, "strided", "groups", "norm", "blas"])
def any_config(config, request):
    changes = {
        "strided": {"model": PREDICTOR, "sample_stride": 2},
        "groups": {"accumulate": 2},
        "norm": {"clip": "norm", "clip_limit": 0.1, "schedule": "cooldown", "warmup_steps": 3},
        "blas": {"matmul": "blas"},
    }
    changed = changes.get(request.param) or {"model": MODELS[request.param]}
    return with_fields(config, seq_len=16, clip_seconds=0.006, **changed)


def everything(run):
    tensors = dict(run.model.named_parameters()) | to_tensors(run.state)
    tensors |= {f"averaged.{k}": v for k, v in run.averaged.named_parameters()}
    for name, parameter in run.model.named_parameters():
        moments = run.optimizer.state[parameter].items()
        tensors |= {f"{name}.{moment}": value for moment, value in moments}
    return tensors, run.state.clock, run.progress.step, run.progress.samples_seen


def test_static_steps_equal_those_of_the_plain_loop(
    any_config, corpus, tmp_path, alone, monkeypatch
):
    plain = start(any_config, corpus, tmp_path / "plain", alone)
    subsequence = Subsequence(plain.model, plain.config.sample_stride)
    expected = [train_step(plain, subsequence) for _ in range(STEPS)]

    def capture(self, clock):  # a graph does at every clock what was done at this one
        return SimpleNamespace(replay=lambda: self._compute(clock))

    monkeypatch.setattr(StaticStep, "_capture", capture)
    run = start(any_config, corpus, tmp_path / "static", alone)
    step = StaticStep(run)
    first, *found = [step() for _ in range(WARM_UP)]
    step._captures = True
    found += [step() for _ in range(STEPS - WARM_UP)]
    assert first[:2] == (0.0, 0)
    assert [*found, step.settle()] == expected
    assert step.settle()[:2] == (0.0, 0)
    assert len(step._graphs) == any_config.sample_stride
    ours, theirs = everything(run), everything(plain)
    assert ours[1:] == theirs[1:]
    assert ours[0].keys() == theirs[0].keys()
    assert [name for name in ours[0] if not torch.equal(ours[0][name], theirs[0][name])] == []


def test_without_a_graph_operators_are_launched_and_a_line_says_why(
    config, corpus, tmp_path, alone, monkeypatch, caplog
):
    def fail(self, clock):
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    monkeypatch.setattr(StaticStep, "_capture", fail)
    plain = start(config, corpus, tmp_path / "plain", alone)
    subsequence = Subsequence(plain.model)
    expected = [train_step(plain, subsequence) for _ in range(STEPS)]
    step = StaticStep(start(config, corpus, tmp_path / "static", alone))
    found = [step() for _ in range(WARM_UP)]
    step._captures = True
    found += [step() for _ in range(STEPS - WARM_UP)]
    assert [*found[1:], step.settle()] == expected
    assert [record.getMessage() for record in caplog.records] == [
        "no CUDA graph (operation not permitted): a step is launched by its operators"
    ]


def test_a_static_step_waits_for_nothing(any_config, corpus, tmp_path, alone):
    run = start(any_config, corpus, tmp_path / "run", alone)
    step = StaticStep(run)
    step()
    places = {name: tensor.data_ptr() for name, tensor in to_tensors(run.state).items()}
    with OnTheHost() as host:
        step._compute(run.state.clock)
    assert not host.found.keys() & WAITS
    assert {name: tensor.data_ptr() for name, tensor in to_tensors(run.state).items()} == places


@pytest.mark.parametrize("at", [0, 3])
def test_what_explodes_is_noticed_one_step_late_and_changes_no_weight(
    config, corpus, tmp_path, alone, at
):
    run = start(config, corpus, tmp_path / "run", alone)
    step = StaticStep(run)
    for _ in range(at):
        step()
    weights = [parameter.clone() for parameter in run.model.parameters()]
    hidden = run.model.tiers[0].upsample.bias
    with torch.no_grad():
        saved = hidden.clone()
        hidden.fill_(math.nan)
    step()
    with torch.no_grad():
        hidden.copy_(saved)
    message = f"cost at step {at} is nan bits per sample"
    with pytest.raises(TrainingError, match=message):
        step()
    for before, after in zip(weights, run.model.parameters(), strict=True):
        assert torch.equal(before, after)
    assert f'"step": {at}' in (run.folder / "failed-batch.json").read_text()


def test_a_run_of_static_steps_is_the_run_of_plain_ones_also_if_it_was_stopped(
    config, corpus, tmp_path, alone, monkeypatch
):
    config = replace(config, seq_len=16, clip_seconds=0.02, log_seconds=0.0)
    train(with_fields(config, steps=12, save_every=5), corpus, tmp_path / "plain", alone)
    monkeypatch.setattr(loop, "uses_graph", lambda run: True)
    for cut in (1, 5, 12):
        train(with_fields(config, steps=cut), corpus, tmp_path / "static", alone)
    assert_same_bits(tmp_path / "plain", tmp_path / "static")
    bits = []
    for name in ("plain", "static"):
        lines = map(json.loads, (tmp_path / name / "metrics.jsonl").read_text().splitlines())
        bits.append([line["bits"] for line in lines if line["event"] == "train"])
    assert bits[0] == bits[1]


def test_a_line_says_how_steps_are_launched_on_a_gpu(config, corpus, tmp_path, alone):
    run = start(config, corpus, tmp_path / "run", alone)
    gpu = replace(alone, device=torch.device("cuda", 0))
    assert not uses_graph(run)

    def line(ranks=gpu, **changes):
        return describe_launches(
            replace(run, ranks=ranks, config=with_fields(run.config, **changes))
        )

    assert line() == "each step is one CUDA graph"
    assert line(cuda_graph=False).endswith("operator by operator (--no-cuda-graph)")
    assert line(optimizer="muon").endswith("(muon takes its step sizes from the host)")
    assert line(sparsity=0.5).endswith("(pruning changes the masks)")
    assert line(replace(gpu, world=2)).endswith("(several ranks exchange gradients)")


def test_a_line_says_how_recurrent_layers_run_on_a_gpu(config, corpus, tmp_path, alone):
    run = start(with_fields(config, recurrence="eager"), corpus, tmp_path / "run", alone)
    (line,) = describe_recurrence(run)
    assert line == "recurrent layers (gru, 8 units): a time loop of PyTorch's operators"
