"""Configuration of a WaveNet (van den Oord et al. 2016)."""

from dataclasses import dataclass
from typing import Literal

from samplewise.config.conditioning import check_no_lpc
from samplewise.config.fields import Conditioning, QuantizerName, WeightNorm
from samplewise.config.validation import check_dilated_stack, check_q_levels


@dataclass(frozen=True)
class WaveNetConfig:
    """Sizes of a WaveNet, as re-implemented for the comparison (Mehri et al. 2017, section 3.1)."""

    family: Literal["wavenet"] = "wavenet"
    """Family of the model."""
    blocks: int = 4
    """Stacks of layers whose dilation starts again at 1."""
    layers: int = 10
    """Dilated layers in a block: dilations 1, 2, 4 ... 2^(layers-1)."""
    channels: int = 64
    """Channels of every dilated layer; its filter and gate make twice as many."""
    skip_channels: int = 256
    """Channels of the sum of skip connections and of the MLP on top of it."""
    quantizer: QuantizerName = "linear"
    q_levels: int = 256
    """Number of codes, q."""
    weight_norm: WeightNorm = True
    conditioning: Conditioning = None

    def __post_init__(self) -> None:
        """Check that every size is possible."""
        check_dilated_stack(self.blocks, self.layers, self.channels, self.skip_channels)
        check_q_levels(self.q_levels)
        check_no_lpc(self.conditioning)

    @property
    def dilations(self) -> tuple[int, ...]:
        """Dilation of every layer, in samples."""
        return doubling_dilations(self.layers, self.blocks)

    @property
    def receptive_field(self) -> int:
        """Samples that a prediction can see."""
        return sum(self.dilations) + 1

    @property
    def top_frame(self) -> int:
        """Length in samples that the length of a subsequence is a multiple of."""
        return 1

    @property
    def activations_per_sample(self) -> int:
        """About how many numbers a pass keeps for every sample."""
        kept = dilated_activations(self.layers * self.blocks, self.channels, self.skip_channels)
        return kept + 3 * self.q_levels


def doubling_dilations(layers: int, blocks: int) -> tuple[int, ...]:
    """Return the dilations of ``blocks`` blocks of layers: 1, 2, 4 ... in each."""
    return tuple(2**layer for layer in range(layers)) * blocks


def dilated_activations(layers: int, channels: int, skip_channels: int) -> int:
    """Return about how many numbers dilated layers keep for every sample."""
    return layers * (6 * channels + skip_channels)
