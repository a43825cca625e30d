"""An experiment whose rows train in a moment."""

from dataclasses import replace

import numpy as np
import pytest
from tests.training.conftest import config, corpus  # noqa: F401

from samplewise.audio.write import write_wav
from samplewise.cli import prepare
from samplewise.config.models import RNNConfig
from samplewise.data.corpus import Corpus
from samplewise.experiments.experiment import Budget, Experiment, Row
from samplewise.experiments.setting import Setting


@pytest.fixture
def experiment(config):  # noqa: F811
    rnn = replace(config, model=RNNConfig(dim=8, emb_size=4, q_levels=32))
    rows = (Row("RNN (Eq. 2)", rnn, {"Music": 1.410}), Row("3-tier", config, {"Music": 1.159}))
    return Experiment("test.table", "A title", "a paper", "bits", rows, splits=("test", "valid"))


@pytest.fixture
def setting(corpus, tmp_path):  # noqa: F811
    return Setting(
        corpus, "tones", tmp_path / "results", Budget(steps=6), size="paper", device="cpu"
    )


@pytest.fixture
def long_corpus(tmp_path):
    """A recording of four seconds in each split, long enough to judge the sound of clips."""
    time = np.arange(4 * 8000) / 8000
    for split, pitch in {"train": 220, "valid": 330, "test": 440}.items():
        (tmp_path / "long" / split).mkdir(parents=True)
        wave = 0.5 * np.exp(-2 * (time % 1)) * np.sin(2 * np.pi * pitch * time)
        write_wav(tmp_path / "long" / split / "a.wav", wave.astype(np.float32), 8000)
    made = tmp_path / "made"
    prepare.main([str(tmp_path / "long"), "-o", str(made), "--sample-rate", "8000", "--jobs", "1"])
    return Corpus.open(made)
