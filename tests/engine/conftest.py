"""Models of every kind, in single precision, with opinions."""

import pytest
from tests.generate.conftest import make_model
from tests.models.conftest import UNTOLD

from samplewise.config.models import RNNConfig, SampleRNNConfig, WaveNetConfig, WaveRNNConfig
from samplewise.engine.weights import can_pack
from samplewise.models.build import build_model

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
    "predictor-mulaw": SampleRNNConfig(
        frame_sizes=(3, 3, 6),
        dim=40,
        emb_size=5,
        quantizer="mulaw",
        lp_order=32,
        lp_window=256,
        lp_hop=8,
        lp_noise=1e-4,
    ),
    "predictor-mol-16bit": SampleRNNConfig(
        frame_sizes=(2, 4, 12),
        dim=40,
        sample_input="none",
        head="mol",
        components=3,
        q_levels=65536,
        frame_values="companded",
        lp_method="burg",
        lp_tilt=(0.9, -0.2),
        lp_order=32,
        lp_window=150,
        lp_hop=6,
        lp_errors=7,
    ),
    "narrow": SampleRNNConfig(frame_sizes=(1, 5), dim=7, emb_size=3, q_levels=256),
    "gmm-16bit": SampleRNNConfig(
        frame_sizes=(4, 2, 6),
        dim=40,
        sample_input="real",
        head="gmm",
        components=70,
        q_levels=65536,
        moments=(0.01, 0.2),
    ),
    "rnn-lstm": RNNConfig(dim=70, n_rnn=3, cell="lstm", skip=True, emb_size=5, q_levels=100),
    "rnn-after": RNNConfig(dim=33, n_rnn=2, cell="gru-reset-after", emb_size=9, q_levels=36),
    "rnn-real": RNNConfig(dim=40, sample_input="real", quantizer="mulaw", q_levels=64),
    # More than one product of skip maps.
    "wavenet-wide": WaveNetConfig(blocks=2, layers=6, channels=70, skip_channels=90, q_levels=100),
    # Halves that fill neither panels of 32 nor blocks of 4 columns.
    "wavernn-odd": WaveRNNConfig(dim=70),
    "wavenet-alone": WaveNetConfig(blocks=1, layers=1, channels=33, skip_channels=100, q_levels=64),
}
ALL = {
    name: config
    for name, config in (UNTOLD | EXTRA).items()
    if can_pack(build_model(config, seed=None))
}


@pytest.fixture(params=ALL, scope="session")
def any_model(request):
    return make_model(ALL[request.param])


@pytest.fixture(scope="session")
def model():
    return make_model(EXTRA["skips"])
