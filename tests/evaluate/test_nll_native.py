"""The native engine scores what the reference scores."""

import json

import pytest
from tests.evaluate.small import make_model

from samplewise.cli import evaluate as command
from samplewise.data.excerpts import cut
from samplewise.evaluate import nll_native
from samplewise.evaluate.nll import score
from samplewise.evaluate.nll_native import score_natively


@pytest.mark.parametrize("chunk", [7, 4096])
def test_its_figures_are_the_references(corpus, monkeypatch, chunk):
    monkeypatch.setattr(nll_native, "CLIPS", 3)
    monkeypatch.setattr(nll_native, "CHUNK", chunk)
    model, told = make_model().float(), []
    clips = cut(corpus.split("test"), 100)
    expected = score(model, corpus, clips, "keep")
    found = score_natively(
        model, corpus, clips, "keep", "f32", progress=lambda *values: told.append(values)
    )
    assert found.clips == tuple(clips)
    assert found.nats == pytest.approx(expected.nats, rel=1e-5, abs=1e-5)
    assert told[-1] == (expected.samples, expected.samples)
    assert sorted(told) == told


def test_nothing_to_score_is_an_error(corpus):
    with pytest.raises(ValueError, match="clips is empty"):
        score_natively(make_model().float(), corpus, [], "keep")


def test_the_command_says_which_it_was_and_keeps_the_references_file(
    run_folder, corpus, monkeypatch, capsys
):
    monkeypatch.setattr("samplewise.data.corpus.Corpus.open", lambda folder: corpus)
    words = [str(run_folder), "--corpus", "any", "--no-baselines", "--json"]
    assert command.main([*words, "--backend", "native", "--weights", "f16"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["backend"] == "native f16"
    assert not (run_folder / "evaluation.json").exists()
    assert command.main(words) == 0
    expected = json.loads(capsys.readouterr().out)
    assert expected["backend"] == "reference"
    assert (run_folder / "evaluation.json").exists()
    assert found["bits_per_sample"] == pytest.approx(expected["bits_per_sample"], abs=1e-3)
    assert found["samples"] == expected["samples"]
