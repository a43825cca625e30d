import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
from tests.evaluate.small import make_corpus

from samplewise.cli import evaluate as command
from samplewise.config.models import SampleRNNConfig
from samplewise.data.corpus import Corpus
from samplewise.errors import CorpusError
from samplewise.evaluate.evaluation import clip_length, evaluate_split
from samplewise.models.io import AudioFormat, LoadedModel, load_model
from samplewise.models.samplernn import SampleRNN


def test_an_evaluation_says_everything_that_makes_it_comparable(run_folder, corpus):
    result = evaluate_split(load_model(run_folder), corpus)
    assert result.label == (
        "linear q=16 · level keep (gain 1.25) · split by folder · clips of 0.1 s · "
        "state carried within a clip, reset at its start · 715 samples"
    )
    assert result.samples == sum(item.samples for item in result.recordings) == 715
    assert [item.source for item in result.recordings] == [r.source for r in corpus.split("test")]
    weighted = [item.bits_per_sample * item.samples for item in result.recordings]
    assert sum(weighted) / 715 == pytest.approx(result.bits_per_sample)
    assert set(result.baselines) == {"uniform", "unigram", "bigram", "linear_prediction"}
    assert json.loads(json.dumps(result.to_json())) == result.to_json() | {
        "recordings": [vars(item) for item in result.recordings]
    }


def test_a_density_is_called_one_and_is_not_compared_with_counts(corpus):
    config = SampleRNNConfig(
        frame_sizes=(2, 4), dim=6, q_levels=16, sample_input="real", head="gmm", moments=(0.1, 0.3)
    )
    audio = AudioFormat(corpus.sample_rate, corpus.gain, "keep")
    model = SampleRNN(config).eval().requires_grad_(False)
    result = evaluate_split(LoadedModel(model, audio, {}, Path("gmm")), corpus)
    assert result.baselines == {}
    nats, bits = result.bits_per_sample * math.log(2), result.bits_per_sample
    per_code = bits + math.log2(16 * 0.3 / 2)
    assert result.label.endswith(
        f"a density over amplitudes in units of 0.3, not comparable with codes ({nats:.3f} nats; "
        f"about {per_code:.3f} bits per code)"
    )


def test_whole_recordings_are_labelled_so(run_folder, corpus):
    result = evaluate_split(load_model(run_folder), corpus, "valid", 0.0, with_baselines=False)
    assert "· whole recordings ·" in result.label
    assert (result.samples, result.baselines) == (50, {})


def test_another_sample_rate_is_refused(run_folder):
    corpus = make_corpus(rate=22050)
    with pytest.raises(CorpusError, match="22050 Hz, but the model was trained at 1000 Hz"):
        evaluate_split(load_model(run_folder), corpus)


def test_an_empty_split_is_refused(run_folder):
    corpus = make_corpus({"train": [100], "valid": [10], "test": []})
    with pytest.raises(CorpusError, match="nothing in its test split"):
        evaluate_split(load_model(run_folder), corpus)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), 1e-5])
def test_an_impossible_clip_length_is_refused(seconds):
    with pytest.raises(ValueError, match="clip_seconds = "):
        clip_length(seconds, 16000)


@pytest.fixture
def opened(monkeypatch, corpus):
    monkeypatch.setattr(Corpus, "open", classmethod(lambda cls, folder: corpus))


@pytest.mark.usefixtures("opened")
def test_the_command_writes_what_it_prints(run_folder, capsys):
    options = [str(run_folder), "--corpus", "corpora/mine", "--device", "cpu"]
    assert command.main([*options, "--json"]) == 0
    printed = capsys.readouterr().out
    written = (run_folder / "evaluation.json").read_text()
    assert json.loads(printed) == json.loads(written)
    assert not np.isnan(json.loads(written)["bits_per_sample"])
    assert command.main(options) == 0
    headline, label, *table = capsys.readouterr().out.splitlines()
    assert "bits per sample on the test split; " in headline
    assert all(name in headline for name in ("uniform", "unigram", "bigram", "linear prediction"))
    assert label == json.loads(written)["label"]
    assert len(table) == 2 + 5


@pytest.mark.usefixtures("opened")
def test_a_corpus_that_was_not_trained_on_is_reported(run_folder, corpus, caplog, monkeypatch):
    options = [str(run_folder), "--corpus", "x", "--device", "cpu", "--no-baselines"]
    with caplog.at_level(logging.WARNING):
        command.main(options)
        assert not caplog.records
        monkeypatch.setattr(Corpus, "digest", "another")
        command.main(options)
    assert "is not the corpus that the model was trained on" in caplog.text


def test_a_corpus_that_is_gone_is_asked_for(run_folder):
    with pytest.raises(CorpusError, match=r"nowhere.* does not exist; name a corpus with --corpus"):
        command.main([str(run_folder), "--device", "cpu"])
