"""Checkpoints that are kept can be used as models."""

import pytest
import torch
from tests.training.test_resume import tensors_of, train

from samplewise.config.codec import with_fields
from samplewise.config.training import TrainConfig
from samplewise.errors import CheckpointError
from samplewise.models.io import load_model
from samplewise.training.checkpoint import saved_steps
from samplewise.training.steps import load_at


def weights(loaded):
    return dict(loaded.model.named_parameters())


def test_a_kept_step_has_the_weights_of_that_step(config, corpus, tmp_path, alone):
    pruned = {"sparsity": 0.5, "block": "4x2", "prune_start": 2, "prune_steps": 2, "prune_every": 2}
    config = with_fields(config, keep=3, save_every=2, valid_every=2, valid_seconds=1.0, **pruned)
    run, _ = train(config, corpus, tmp_path, alone)
    assert saved_steps(tmp_path / "state") == [4, 6, 8]
    best, at_best = load_model(tmp_path), load_at(tmp_path, run.progress.best_step)
    torch.testing.assert_close(weights(at_best), weights(best), rtol=0, atol=0)
    assert at_best.provenance == best.provenance
    assert at_best.audio == best.audio
    other = load_at(tmp_path, 4)
    assert other.provenance["step"] == 4
    assert other.path.parent == tmp_path / "state" / "step-00000004"
    with pytest.raises(CheckpointError, match=r"has no checkpoint of step 5; it has: 4, 6, 8"):
        load_at(tmp_path, 5)
    (other.path.parent / "state.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"cannot be used as a model: SHA-256"):
        load_at(tmp_path, 4)


def test_without_averages_the_weights_are_the_trained_ones(config, corpus, tmp_path, alone):
    train(with_fields(config, ema=0.0, steps=2), corpus, tmp_path, alone)
    trained = tensors_of(tmp_path)
    loaded = load_at(tmp_path, 2)
    bias = next(name for name in weights(loaded) if name.endswith("bias"))
    assert torch.equal(weights(loaded)[bias], trained[f"model.{bias}"])


def test_fewer_than_two_checkpoints_are_refused():
    with pytest.raises(ValueError, match="keep = 1 must be at least 2"):
        TrainConfig(keep=1)
