"""Runs that begin with the weights of another model."""

from dataclasses import replace

import pytest
import torch
from tests.training.test_resume import tensors_of, train

from samplewise.config.codec import with_fields
from samplewise.config.samplernn import SampleRNNConfig
from samplewise.errors import CheckpointError
from samplewise.models.io import AudioFormat, load_model, save_model
from samplewise.models.samplernn import SampleRNN
from samplewise.training.run import start
from samplewise.training.tbptt import Subsequence
from samplewise.training.train_step import train_step

SIZES = SampleRNNConfig(
    frame_sizes=(2, 2, 4), dim=6, emb_size=3, quantizer="mulaw", q_levels=64, cell="lstm"
)


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "source.safetensors"
    model = SampleRNN(SIZES, seed=7)
    save_model(file, model, AudioFormat(8000, 1.0, "keep"), {"name": "source"})
    return file


def test_a_run_takes_weights_and_sizes(config, corpus, tmp_path, alone, source):
    config = with_fields(config, **{"from": str(source)})
    run = start(config, corpus, tmp_path / "run", alone)
    assert run.config.model == SIZES
    theirs = load_model(source, fold=False).model
    for model in (run.model, run.averaged):
        for name, weight in theirs.named_parameters():
            torch.testing.assert_close(dict(model.named_parameters())[name], weight, rtol=0, atol=0)
    train_step(run, Subsequence(run.model))
    [group] = run.optimizer.param_groups
    assert group["lr"] == config.optimizer.learning_rate * config.from_rate


def test_folded_weights_get_gains(config, corpus, tmp_path, alone, source):
    folded = load_model(source)
    file = tmp_path / "folded.safetensors"
    save_model(file, folded.model, folded.audio, {})
    run = start(with_fields(config, **{"from": str(file)}), corpus, tmp_path / "run", alone)
    codes = torch.randint(64, (2, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, _ = folded.model(codes, folded.model.initial_state(2))
        found, _ = run.model(codes, run.model.initial_state(2))
    torch.testing.assert_close(found, expected)


def test_labels_may_be_added_and_change_nothing_at_first(config, corpus, tmp_path, alone, source):
    labels = tmp_path / "labels.csv"
    rows = [f"{one.source},{'ab'[index % 2]}" for index, one in enumerate(corpus.recordings)]
    labels.write_text("\n".join(["file,speaker", *rows]))
    config = with_fields(config, **{"from": str(source)}, labels=str(labels))
    run = start(config, corpus, tmp_path / "run", alone)
    assert run.config.model.conditioning.classes == ("a", "b")
    plain = load_model(source, fold=False).model
    codes = torch.randint(64, (2, 40), generator=torch.Generator().manual_seed(0))
    vectors = torch.randn(2, 40, run.model.condition_width())
    with torch.no_grad():
        expected, _ = plain(codes, plain.initial_state(2))
        found, _ = run.model(codes, run.model.initial_state(2), None, vectors)
    torch.testing.assert_close(found, expected)


def test_the_first_weights_are_scored_and_kept_if_none_are_better(
    config, corpus, tmp_path, alone, source
):
    first = with_fields(config, **{"from": str(source)}, steps=1, from_rate=1e-12)
    run, _ = train(first, corpus, tmp_path / "run", alone)
    assert run.progress.best_step == 0
    kept = load_model(tmp_path / "run", fold=False).model
    theirs = load_model(source, fold=False).model
    for name, weight in theirs.named_parameters():
        assert torch.equal(dict(kept.named_parameters())[name], weight)


def test_a_run_goes_on_without_the_source(config, corpus, tmp_path, alone, source):
    config = with_fields(config, **{"from": str(source)})
    train(config, corpus, tmp_path / "whole", alone)
    train(with_fields(config, steps=4), corpus, tmp_path / "parts", alone)
    source.unlink()
    train(config, corpus, tmp_path / "parts", alone)
    whole, parts = tensors_of(tmp_path / "whole"), tensors_of(tmp_path / "parts")
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())


def test_another_rate_is_refused(config, corpus, tmp_path, alone, source):
    loaded = load_model(source, fold=False)
    save_model(source, loaded.model, replace(loaded.audio, sample_rate=16000), {})
    with pytest.raises(CheckpointError, match="prepare it with --sample-rate 16000"):
        start(with_fields(config, **{"from": str(source)}), corpus, tmp_path / "run", alone)
    with pytest.raises(CheckpointError, match="samplewise models"):
        start(with_fields(config, **{"from": "nothing"}), corpus, tmp_path / "run", alone)
