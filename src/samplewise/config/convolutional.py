"""Sizes of the models with dilated convolutions, without torch."""

from dataclasses import dataclass
from typing import Literal

from samplewise.config.conditioning import ConditioningConfig
from samplewise.config.validation import (
    MAX_FRAME,
    Cell,
    QuantizerName,
    check_codes,
    check_convolutions,
    check_own_sound,
    check_range,
    check_stack,
)


@dataclass(frozen=True)
class WaveNetConfig:
    """WaveNet as re-implemented for the comparison (section 3.1; van den Oord et al. 2016)."""

    family: Literal["wavenet"] = "wavenet"
    """Kind of model."""
    blocks: int = 4
    """Stacks of layers whose dilation starts again at 1."""
    layers: int = 10
    """Dilated layers in a block: dilations 1, 2, 4 ... 2^(layers-1)."""
    channels: int = 64
    """Channels of every dilated layer; its filter and gate make twice as many."""
    skip_channels: int = 256
    """Channels of the sum of skip connections and of the MLP on top of it."""
    quantizer: QuantizerName = "linear"
    """Meaning of the codes: linear, mulaw (torchaudio's definition), or mulaw-midtread, that of
    models trained before it."""
    q_levels: int = 256
    """Number of codes, q."""
    weight_norm: bool = True
    """Weight normalisation of every map."""
    conditioning: ConditioningConfig | None = None
    """What it is told besides its past: mel spectrograms, a class; see --mel and --labels."""

    def __post_init__(self) -> None:
        """Check that every size is possible."""
        check_convolutions(self.blocks, self.layers, self.channels, self.skip_channels)
        check_codes(self.q_levels)
        check_own_sound(self.conditioning)

    @property
    def dilations(self) -> tuple[int, ...]:
        """Dilation of every layer, in samples."""
        return tuple(2**layer for layer in range(self.layers)) * self.blocks

    @property
    def receptive_field(self) -> int:
        """Samples that a prediction can see."""
        return sum(self.dilations) + 1

    @property
    def top_frame(self) -> int:
        """Subsequences are a multiple of it, in samples."""
        return 1

    @property
    def width(self) -> int:
        """Numbers that a pass keeps for every sample, about."""
        kept = 6 * self.channels + self.skip_channels
        return self.blocks * self.layers * kept + 3 * self.q_levels


@dataclass(frozen=True)
class HybridConfig:
    """SampleRNN-WaveNet hybrids (appendix A): frames of 128 samples above a small WaveNet."""

    family: Literal["hybrid"] = "hybrid"
    """Kind of model."""
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
    """gru, gru-reset-after or lstm, as in a SampleRNN."""
    learn_h0: bool = True
    """Learn the initial state of each recurrent layer (section 3)."""
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
    """Meaning of the codes: linear, mulaw (torchaudio's definition), or mulaw-midtread, that of
    models trained before it."""
    q_levels: int = 256
    """Number of codes, q."""
    weight_norm: bool = True
    """Weight normalisation of every map."""

    def __post_init__(self) -> None:
        """Check that every size is possible."""
        check_range("frame_size", self.frame_size, 1, MAX_FRAME)
        check_stack(self.n_rnn, self.dim, skip=False)
        check_convolutions(self.blocks, self.layers, self.channels, self.skip_channels)
        check_convolutions(self.frame_blocks, self.frame_layers, 1, 1)
        check_codes(self.q_levels)

    @property
    def dilations(self) -> tuple[int, ...]:
        """Dilation of every sample-level layer, in samples."""
        return tuple(2**layer for layer in range(self.layers)) * self.blocks

    @property
    def frame_dilations(self) -> tuple[int, ...]:
        """Dilation of every frame-level layer, in frames."""
        return tuple(2**layer for layer in range(self.frame_layers)) * self.frame_blocks

    @property
    def top_frame(self) -> int:
        """Subsequences are a multiple of it, in samples."""
        return self.frame_size

    @property
    def width(self) -> int:
        """Numbers that a pass keeps for every sample, about."""
        kept = 6 * self.channels + self.skip_channels
        return self.blocks * self.layers * kept + 2 * self.dim + 3 * self.q_levels
