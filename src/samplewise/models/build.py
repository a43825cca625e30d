"""From a configuration to a model, and from a family's name to its configuration."""

from samplewise.config.models import (
    FusedSubscaleConfig,
    HybridConfig,
    ModelConfig,
    RNNConfig,
    SampleRNNConfig,
    SubscaleWaveRNNConfig,
    WaveNetConfig,
    WaveRNNConfig,
)
from samplewise.models.base import AutoregressiveModel
from samplewise.models.fused_subscale import FusedSubscale
from samplewise.models.hybrid import Hybrid
from samplewise.models.rnn import RNN
from samplewise.models.samplernn import SampleRNN
from samplewise.models.subscale_wavernn import SubscaleWaveRNN
from samplewise.models.wavenet import WaveNet
from samplewise.models.wavernn import WaveRNN

FAMILIES = {
    "samplernn": (SampleRNNConfig, SampleRNN),
    "rnn": (RNNConfig, RNN),
    "wavenet": (WaveNetConfig, WaveNet),
    "hybrid": (HybridConfig, Hybrid),
    "wavernn": (WaveRNNConfig, WaveRNN),
    "subscale-wavernn": (SubscaleWaveRNNConfig, SubscaleWaveRNN),
    "fused-subscale-wavernn": (FusedSubscaleConfig, FusedSubscale),
}
"""Configuration and model of each family, by the name that files carry."""


def build_model(config: ModelConfig, seed: int | None = 0) -> AutoregressiveModel:
    """Return a model with initial weights.

    Args:
        config: Its class decides about the family.
        seed: Of the initial weights; None leaves them without values or memory, to be loaded.
    """
    _, kind = FAMILIES[config.family]
    return kind(config, seed)  # pyright: ignore[reportArgumentType]
