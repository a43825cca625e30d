"""An experiment whose rows train in a moment."""

from dataclasses import replace

import pytest
from tests.training.conftest import config, corpus  # noqa: F401

from samplewise.config.models import RNNConfig
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
