"""Configuration of a model of any family, without torch: the command line builds its help from it.

Each family has a file of its own; this one joins them.
"""

from typing import Annotated, Literal

from samplewise.config.codec import TaggedUnion
from samplewise.config.conditioning import ConditioningConfig
from samplewise.config.hybrid import HybridConfig
from samplewise.config.rnn import RNNConfig
from samplewise.config.samplernn import SampleRNNConfig
from samplewise.config.subscale import FusedSubscaleConfig, SubscaleWaveRNNConfig
from samplewise.config.wavenet import WaveNetConfig
from samplewise.config.wavernn import WaveRNNConfig

Level = Literal["keep", "paper"]
"""``keep``: true level, one gain for the corpus; ``paper``: every clip stretched to [-1, 1]."""

ModelConfig = Annotated[
    SampleRNNConfig
    | RNNConfig
    | WaveNetConfig
    | HybridConfig
    | WaveRNNConfig
    | SubscaleWaveRNNConfig
    | FusedSubscaleConfig,
    TaggedUnion(),
]
"""Configuration of a model of any family."""


def conditioning_of(config: ModelConfig) -> ConditioningConfig | None:
    """Return the conditioning of a model; None if it has none, or its family knows none."""
    return getattr(config, "conditioning", None)
