"""Pruning during training: the paper's schedule, masks that hold, resume and ranks."""

import json
import math
from dataclasses import replace

import pytest
import torch
from tests.forked import run_command
from tests.training.test_ranks import forked_ranks  # noqa: F401
from tests.training.test_resume import assert_same_bits, command, tensors_of, train

from samplewise.cli.main import main
from samplewise.config.codec import with_fields
from samplewise.config.training import PruningConfig, TrainConfig
from samplewise.models.io import load_model
from samplewise.models.pruning import masks_of, zero_share
from samplewise.training import loop
from samplewise.training.pruning import is_due, share_at
from samplewise.training.run import start

PAPER = PruningConfig(sparsity=0.95, start=1000, steps=200_000)


@pytest.fixture
def sparse(config):
    """Prunes at every second step from 2 to 10."""
    return with_fields(
        config, sparsity=0.75, block="4x2", prune_start=2, prune_steps=8, prune_every=2, steps=16
    )


def test_the_papers_schedule():
    assert share_at(PAPER, 0, 0.0) == share_at(PAPER, 1000, 0.0) == 0
    # z = Z (1 - (1 - (t - t0) / S)^3), by hand at a half and at a quarter.
    assert share_at(PAPER, 101_000, 0.2) == pytest.approx(0.95 * (1 - 1 / 8))
    assert share_at(PAPER, 51_000, 0.1) == pytest.approx(0.95 * (1 - 27 / 64))
    assert share_at(PAPER, 201_000, 0.4) == share_at(PAPER, 500_000, 1.0) == 0.95
    assert is_due(PAPER, 1500, 0.1, 0.0)
    assert not is_due(PAPER, 1501, 0.1, 0.0)
    assert not is_due(PAPER, 1500, 0.1, 0.1)
    assert is_due(PAPER, 201_001, 0.95, 0.94)  # the last one does not wait
    assert not is_due(PAPER, 201_500, 0.95, 0.95)


def test_without_steps_the_schedule_follows_the_budget():
    short = PruningConfig(sparsity=0.8)
    shares = [share_at(short, 10**6, used) for used in (0.0, 0.05, 0.275, 0.5, 1.0)]
    assert shares == pytest.approx([0, 0, 0.7, 0.8, 0.8])
    assert is_due(short, 50, 0.1, 0.0)
    assert not is_due(short, 51, 0.1, 0.0)
    assert is_due(replace(short, every=3), 51, 0.1, 0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sparsity": 1.0}, r"sparsity = 1.0 must lie in \[0, 0.99\]"),
        ({"sparsity": -0.1}, r"sparsity = -0.1 must lie in \[0, 0.99\]"),
        ({"sparsity": 0.5}, "sparsity = 0.5 needs a schedule: give --steps"),
        ({"block": "16"}, "block = '16' must be rows x columns, such as 16x4"),
        ({"block": "4x-4"}, "block = '4x-4' must be rows x columns"),
        ({"block": "0x4"}, "block = '0x4' must have 1 to 65536 rows and columns"),
        ({"prune_start": 5}, "prune_start = 5 and prune_steps = None: give both, or neither"),
        ({"prune_start": -1, "prune_steps": 9}, "prune_start = -1 must be at least 0"),
        ({"prune_start": 0, "prune_steps": 0}, "prune_steps = 0 must be at least 1"),
        ({"prune_every": 0}, "prune_every = 0 must be at least 1"),
    ],
)
def test_impossible_prunings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        with_fields(TrainConfig(), **changes)


def test_a_block_that_does_not_fit_is_refused_before_anything_is_written(
    sparse, corpus, tmp_path, alone
):
    with pytest.raises(ValueError, match=r"block = 16x4 does not divide frame_levels\.0"):
        start(with_fields(sparse, block="16x4"), corpus, tmp_path / "run", alone)
    assert not (tmp_path / "run").exists()


def test_a_pruned_run_in_parts_equals_the_run_in_one(sparse, corpus, tmp_path, alone):
    train(sparse, corpus, tmp_path / "whole", alone)
    for cut in (1, 2, 3, 6, 7, 11, 16):
        train(with_fields(sparse, steps=cut), corpus, tmp_path / "parts", alone)
    assert_same_bits(tmp_path / "whole", tmp_path / "parts")
    masks = [name for name in tensors_of(tmp_path / "whole") if name.startswith("mask.")]
    assert len(masks) == 8  # seven that were pruned, and the diagonal


def test_what_was_pruned_stays_zero_in_weights_averages_and_moments(
    sparse, corpus, tmp_path, alone
):
    run, _ = train(sparse, corpus, tmp_path, alone)
    assert run.progress.sparsity == 0.75
    assert zero_share(run.model) == pytest.approx(0.75, abs=0.01)
    for part, averaged in zip(run.model.prunable(), run.averaged.prunable(), strict=True):
        weight = part.weight
        assert weight.block == (4, 2)
        assert weight.mask is not None
        assert torch.equal(weight.kept, averaged.weight.kept)
        assert not weight.v[~weight.mask].any()
        assert not averaged.weight.v[~weight.mask].any()
        assert weight.v[weight.mask].all()
        for moment in ("exp_avg", "exp_avg_sq"):
            assert not run.optimizer.state[weight.v][moment][~weight.mask].any()
            assert run.optimizer.state[weight.v][moment][weight.mask].any()


def test_the_runs_model_is_the_best_of_those_that_are_as_sparse_as_asked_for(
    sparse, corpus, tmp_path, alone, monkeypatch
):
    """Dense weights score better, but they are not what was asked for."""
    scores = iter([1.0, 3.0, 2.5, 2.6, 2.7])  # at 4, 8, 12, 16 and at the end
    real = loop.score

    def score(model, *arguments):
        made = real(model, *arguments)
        bits = next(scores)
        samples = sum(clip.samples for clip in arguments[1])
        return replace(made, nats=(bits * math.log(2) * samples,))

    monkeypatch.setattr(loop, "score", score)
    run, _ = train(sparse, corpus, tmp_path, alone)
    assert (run.progress.best_bits, run.progress.best_step) == (pytest.approx(2.5), 12)
    loaded = load_model(tmp_path)
    assert loaded.provenance["sparsity"] == 0.75
    assert {n: k.tolist() for n, k in masks_of(loaded.model).items()} == {
        n: k.tolist() for n, k in masks_of(run.model).items()
    }


def test_lines_and_events_say_how_sparse_it_is(sparse, corpus, tmp_path, alone):
    from samplewise.training.interrupts import Interrupts
    from samplewise.training.logger import RunLogger
    from samplewise.training.loop import fit

    said = []
    for steps in (7, 16):
        run = start(with_fields(sparse, steps=steps, log_seconds=0.0), corpus, tmp_path, alone)
        journal = RunLogger(tmp_path, run.progress.step, said.append)
        with Interrupts() as interrupts:
            fit(run, journal, interrupts)
        journal.close()
    events = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    pruned = [(e["step"], e["sparsity"]) for e in events if e["event"] == "prune"]
    assert pruned == [(step, share_at(sparse.pruning, step, 0.0)) for step in (4, 6, 8, 10)]
    assert any(line.startswith("step 4 ") and "  sparse 43.4%" in line for line in said)
    assert "step 10  75.0% of the blocks are zero from now on" in said
    shortfall = [line for line in said if line.startswith("only ")]
    assert shortfall == ["only 65.6% of the blocks are zero, not 75.0%: the schedule had not ended"]


@pytest.mark.slow
@pytest.mark.usefixtures("forked_ranks")
def test_two_ranks_prune_the_same_blocks_as_one(corpus, tmp_path):
    options = {
        "steps": "8", "save_every": "8", "valid_every": "8", "sparsity": "0.5", "block": "4x4",
        "prune_start": "0", "prune_steps": "6", "prune_every": "2",
    }  # fmt: skip
    assert run_command(command(corpus, tmp_path / "one", **options)) == 0
    assert main(command(corpus, tmp_path / "two", **options, ranks="2")) == 0
    one, two = tensors_of(tmp_path / "one"), tensors_of(tmp_path / "two")
    masks = [name for name in one if name.startswith("mask.")]
    assert len(masks) == 7
    assert all(torch.equal(one[name], two[name]) for name in masks)
