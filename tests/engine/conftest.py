"""Models of every kind, in single precision, with opinions."""

import pytest
from tests.generate.conftest import make_model
from tests.models.conftest import CONFIGS

from samplewise.models.configs import SampleRNNConfig

EXTRA = {
    "odd": SampleRNNConfig(
        frame_sizes=(3, 2, 4, 8), dim=50, n_rnn=2, cell="lstm", emb_size=5, q_levels=36
    ),
    "skips": SampleRNNConfig(
        frame_sizes=(4, 4, 16),
        dim=33,
        n_rnn=3,
        cell="gru-reset-after",
        skip=True,
        emb_size=5,
        q_levels=100,
        quantizer="mulaw",
    ),
    "narrow": SampleRNNConfig(frame_sizes=(1, 5), dim=7, emb_size=3, q_levels=256),
}
ALL = {
    name: config
    for name, config in (CONFIGS | EXTRA).items()
    if isinstance(config, SampleRNNConfig) and config.head == "categorical"
}


@pytest.fixture(params=ALL, scope="session")
def any_model(request):
    return make_model(ALL[request.param])


@pytest.fixture(scope="session")
def model():
    return make_model(EXTRA["skips"])
