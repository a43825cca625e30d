"""Configuration of the hybrids of SampleRNN and WaveNet (Mehri et al. 2017, appendix A)."""

from dataclasses import dataclass
from typing import Literal

from samplewise.config.fields import Cell, LearnH0, QuantizerName, WeightNorm
from samplewise.config.validation import (
    MAX_FRAME,
    check_dilated_stack,
    check_q_levels,
    check_range,
    check_recurrent_stack,
)
from samplewise.config.wavenet import dilated_activations, doubling_dilations


@dataclass(frozen=True)
class HybridConfig:
    """Sizes of a SampleRNN-WaveNet hybrid: frames of 128 samples above a small WaveNet."""

    family: Literal["hybrid"] = "hybrid"
    """Family of the model."""
    frame_level: Literal["rnn", "convolution"] = "rnn"
    """What reads the frames: a deep RNN (RNN-WaveNet), or dilated convolutions (fully
    convolutional)."""
    frame_size: int = 128
    """Samples of a frame, FS."""
    dim: int = 1024
    """Width of the RNN."""
    n_rnn: int = 1
    """Recurrent layers, 1 to 5."""
    cell: Cell = "gru"
    learn_h0: LearnH0 = True
    frame_blocks: int = 4
    """Blocks of dilated layers over frames, where convolutions read them."""
    frame_layers: int = 6
    """Dilated layers in each of those blocks: dilations 1, 2, 4 ... frames."""
    blocks: int = 4
    """Blocks of dilated layers over samples."""
    layers: int = 7
    """Dilated layers in each block; 4 blocks of 7 see 509 samples."""
    channels: int = 64
    """Channels of every dilated layer; its filter and gate make twice as many."""
    skip_channels: int = 256
    """Channels of the sums of skip connections and of the MLP."""
    quantizer: QuantizerName = "linear"
    q_levels: int = 256
    """Number of codes, q."""
    weight_norm: WeightNorm = True

    def __post_init__(self) -> None:
        """Check that every size is possible."""
        check_range("frame_size", self.frame_size, 1, MAX_FRAME)
        check_recurrent_stack(self.n_rnn, self.dim, skip=False)
        check_dilated_stack(self.blocks, self.layers, self.channels, self.skip_channels)
        check_dilated_stack(self.frame_blocks, self.frame_layers, 1, 1)
        check_q_levels(self.q_levels)

    @property
    def dilations(self) -> tuple[int, ...]:
        """Dilation of every sample-level layer, in samples."""
        return doubling_dilations(self.layers, self.blocks)

    @property
    def frame_dilations(self) -> tuple[int, ...]:
        """Dilation of every frame-level layer, in frames."""
        return doubling_dilations(self.frame_layers, self.frame_blocks)

    @property
    def top_frame(self) -> int:
        """Length in samples that the length of a subsequence is a multiple of: a frame."""
        return self.frame_size

    @property
    def activations_per_sample(self) -> int:
        """About how many numbers a pass keeps for every sample."""
        kept = dilated_activations(self.layers * self.blocks, self.channels, self.skip_channels)
        return kept + 2 * self.dim + 3 * self.q_levels
