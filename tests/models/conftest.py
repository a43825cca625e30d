from copy import deepcopy
from dataclasses import replace
from functools import cache

import pytest
import torch

from samplewise.config.conditioning import ConditioningConfig, MelConfig
from samplewise.config.models import (
    FusedSubscaleConfig,
    HybridConfig,
    RNNConfig,
    SampleRNNConfig,
    SubscaleWaveRNNConfig,
    WaveNetConfig,
    WaveRNNConfig,
)
from samplewise.models.build import build_model
from samplewise.models.segment_model import SegmentModel

TOLD = ConditioningConfig(
    MelConfig(n_mels=3, n_fft=16, win_length=16, hop=6), ("a", "b"), 5, 1, upsampling=2, width=4
)
SMALL = {"dim": 6, "emb_size": 5, "q_levels": 16}
CONVOLUTIONS = {"blocks": 2, "layers": 3, "channels": 5, "skip_channels": 7, "q_levels": 16}
CONFIGS = {
    "2-tier": SampleRNNConfig(frame_sizes=(4, 4), n_rnn=3, **SMALL),
    "3-tier": SampleRNNConfig(frame_sizes=(2, 2, 8), **SMALL),
    "4-tier-lstm": SampleRNNConfig(frame_sizes=(3, 2, 4, 12), n_rnn=2, cell="lstm", **SMALL),
    "skips": SampleRNNConfig(
        frame_sizes=(5, 2, 6), n_rnn=2, skip=True, cell="gru-reset-after", **SMALL
    ),
    "one-sample-frames": SampleRNNConfig(frame_sizes=(1, 1), sample_input="one-hot", **SMALL),
    "real-mulaw": SampleRNNConfig(
        frame_sizes=(2, 4, 8), sample_input="real", quantizer="mulaw", learn_h0=False, **SMALL
    ),
    "plain-official": SampleRNNConfig(
        frame_sizes=(9, 3), weight_norm=False, init="official", frame_values="code", **SMALL
    ),
    "gmm": SampleRNNConfig(
        frame_sizes=(2, 4), sample_input="real", head="gmm", moments=(0.1, 0.3), **SMALL
    ),
    "predictor": SampleRNNConfig(
        frame_sizes=(2, 2, 6), lp_order=5, lp_window=128, lp_hop=4, lp_errors=7, mlp_maps=2, **SMALL
    ),
    "predictor-mol": SampleRNNConfig(
        frame_sizes=(2, 2, 6),
        dim=6,
        sample_input="none",
        head="mol",
        components=3,
        q_levels=4096,
        frame_values="companded",
        lp_method="burg",
        lp_tilt=(0.8, -0.1),
        lp_order=5,
        lp_window=128,
        lp_hop=3,
        lp_damping=0.01,
        lp_largest_error=0.1,
    ),
    "mol": SampleRNNConfig(frame_sizes=(2, 4), head="mol", components=2, **SMALL),
    "multi-softmax": SampleRNNConfig(frame_sizes=(2, 4), sample_input="none", **SMALL),
    "rnn": RNNConfig(n_rnn=2, skip=True, **SMALL),
    "rnn-gmm": RNNConfig(cell="lstm", sample_input="real", head="gmm", components=2, **SMALL),
    "wavenet": WaveNetConfig(blocks=2, layers=4, channels=5, skip_channels=7, q_levels=16),
    "rnn-wavenet": HybridConfig(frame_size=6, n_rnn=2, dim=6, **CONVOLUTIONS),
    "wavernn": WaveRNNConfig(dim=8),
    "told-samplernn": SampleRNNConfig(frame_sizes=(2, 2, 8), conditioning=TOLD, **SMALL),
    "told-rnn": RNNConfig(conditioning=TOLD, **SMALL),
    "told-wavenet": WaveNetConfig(
        blocks=2, layers=4, channels=5, skip_channels=7, q_levels=16, conditioning=TOLD
    ),
    "told-wavernn": WaveRNNConfig(dim=8, conditioning=TOLD),
    "told-excitation": WaveRNNConfig(dim=8, conditioning=replace(TOLD, lpc_order=4)),
    "subscale": SubscaleWaveRNNConfig(
        n_subscale=3, columns=8, dilations=(1, 2), dim=8, channels=4, residual_channels=6
    ),
    "subscale-one-row": SubscaleWaveRNNConfig(n_subscale=1, columns=4, dim=8),
    "fused-subscale": FusedSubscaleConfig(dim=16, columns=6),
    "conv-wavenet": HybridConfig(
        frame_size=4, frame_level="convolution", frame_blocks=2, frame_layers=3, **CONVOLUTIONS
    ),
}
UNTOLD = {
    name: config
    for name, config in CONFIGS.items()
    if getattr(config, "conditioning", None) is None
}


@cache
def built(name):
    torch.manual_seed(0)
    model = build_model(CONFIGS[name], seed=1).double()
    with torch.no_grad():  # so that a forgotten bias or h0 shows
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture(params=CONFIGS)
def model(request):
    return deepcopy(built(request.param))


@pytest.fixture
def stepwise(model):
    """A model that makes its samples in the order of time."""
    if isinstance(model, SegmentModel):
        pytest.skip("its samples depend on later ones")
    return model
