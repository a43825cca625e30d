"""Configurations of the Subscale WaveRNNs, which draw several samples in one step."""

from dataclasses import dataclass
from typing import Literal

from samplewise.config.fields import DualQuantizerName, LearnH0
from samplewise.config.validation import (
    MAX_DILATION,
    MAX_DIM,
    MAX_FRAME,
    MAX_LAYERS,
    MAX_SUBSCALE,
    check_dual_units,
    check_input_mask,
    check_range,
)


@dataclass(frozen=True)
class SubscaleWaveRNNConfig:
    """Subscale WaveRNN: B interleaved rows drawn at once (Kalchbrenner et al. 2018, section 4)."""

    family: Literal["subscale-wavernn"] = "subscale-wavernn"
    """Family of the model."""
    dim: int = 1024
    """Width of the GRU, even: the first half makes the coarse bits, the second the fine ones."""
    n_subscale: int = 8
    """B, rows: sample t lies in row t mod B, column t // B. With 1 it is a plain WaveRNN."""
    columns: int = 1024
    """Columns of a segment; at its end the horizon ends too. B times as many samples are the unit
    of a subsequence."""
    dilations: tuple[int, ...] = (1, 1, 2, 2, 4, 4, 8, 8, 17, 17)
    """Of the conditioning network's layers, of three taps each; the horizon F is twice their sum,
    128 columns."""
    channels: int = 384
    """Channels within a layer of the conditioning network."""
    residual_channels: int = 768
    """Channels that go from layer to layer."""
    learn_h0: LearnH0 = True
    quantizer: DualQuantizerName = "dual"
    q_levels: int = 65536
    """Number of codes, q."""

    def __post_init__(self) -> None:
        """Check that every size is possible."""
        check_dual_units(self.dim, 2, self.q_levels)
        check_range("n_subscale", self.n_subscale, 1, MAX_SUBSCALE)
        check_range("columns", self.columns, 1, MAX_FRAME)
        check_range("len(dilations)", len(self.dilations), 1, MAX_LAYERS)
        for index, dilation in enumerate(self.dilations):
            check_range(f"dilations[{index}]", dilation, 1, MAX_DILATION)
        check_range("channels", self.channels, 1, MAX_DIM)
        check_range("residual_channels", self.residual_channels, 1, MAX_DIM)
        check_input_mask(self.dim, self.residual_channels)

    @property
    def horizon(self) -> int:
        """F: columns of earlier rows that a row sees beyond its own (section 4.1)."""
        return 2 * sum(self.dilations)

    @property
    def top_frame(self) -> int:
        """Length in samples that the length of a subsequence is a multiple of: a segment."""
        return self.n_subscale * self.columns

    @property
    def activations_per_sample(self) -> int:
        """About how many numbers a pass keeps for every sample."""
        network = len(self.dilations) * (2 * self.residual_channels + 2 * self.channels)
        return 8 * self.dim + 3 * 512 + network * (self.n_subscale > 1)


@dataclass(frozen=True)
class FusedSubscaleConfig:
    """Fused Subscale WaveRNN: two samples a step (Kalchbrenner et al. 2018, section 4.4)."""

    family: Literal["fused-subscale-wavernn"] = "fused-subscale-wavernn"
    """Family of the model."""
    dim: int = 896
    """Width of the GRU, a multiple of 8: a half for each of the two samples of a step, a quarter of
    it for each of their four digits of 4 bits."""
    columns: int = 480
    """Pairs of samples in a segment; at its end the horizon ends too. Twice as many samples are the
    unit of a subsequence."""
    learn_h0: LearnH0 = True
    quantizer: DualQuantizerName = "dual"
    q_levels: int = 65536
    """Number of codes, q."""

    def __post_init__(self) -> None:
        """Check that every size is possible."""
        check_dual_units(self.dim, 8, self.q_levels)
        check_range("columns", self.columns, 1, MAX_FRAME)

    @property
    def top_frame(self) -> int:
        """Length in samples that the length of a subsequence is a multiple of: a segment."""
        return 2 * self.columns

    @property
    def activations_per_sample(self) -> int:
        """About how many numbers a pass keeps for every sample."""
        return 4 * self.dim + 3 * 64
