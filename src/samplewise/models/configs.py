"""Sizes of the models, without torch: the command line reads them for its help."""

from dataclasses import dataclass
from typing import Literal

from samplewise.models.limits import (
    MAX_DIM,
    MAX_FRAME,
    MAX_TABLE,
    MAX_TIERS,
    check_codes,
    check_convolutions,
    check_head,
    check_range,
    check_stack,
)

Cell = Literal["gru", "gru-reset-after", "lstm"]
SampleInput = Literal["embedding", "one-hot", "real", "none"]
HeadName = Literal["categorical", "gmm"]


@dataclass(frozen=True)
class SampleRNNConfig:
    """Sizes of a SampleRNN (Mehri et al. 2017); the number of tiers K is ``len(frame_sizes)``."""

    family: Literal["samplernn"] = "samplernn"
    """Kind of model."""
    frame_sizes: tuple[int, ...] = (2, 2, 8)
    """FS of each tier in samples, lowest (sample-level) tier first."""
    dim: int = 1024
    """Width of the recurrent layers and of the MLP."""
    n_rnn: int = 1
    """Recurrent layers in each frame-level tier, 1 to 5."""
    cell: Cell = "gru"
    """gru: reset before the product (Chung et al. 2014, the paper's); gru-reset-after: cuDNN's,
    faster on GPUs; lstm: forget bias 3."""
    skip: bool = False
    """Skip connections within each recurrent stack (official code; needs n_rnn > 1)."""
    emb_size: int = 256
    """Width of the embedding of a code (section 2.2.1)."""
    sample_input: SampleInput = "embedding"
    """What the MLP sees of the last FS(1) samples: embedding (the paper's best), one-hot (official
    code with emb_size 0), real (Table 4, "without embedding"), none (Multi-Softmax, section 2.2.2:
    the samples of a frame are independent given what came before it)."""
    head: HeadName = "categorical"
    """categorical: a softmax over the codes; gmm: a mixture of Gaussians over the amplitude, a
    density (Table 2), for linear codes of 16 bits."""
    components: int = 4
    """Gaussians in the mixture of a gmm head."""
    quantizer: Literal["linear", "mulaw"] = "linear"
    """Meaning of the codes."""
    q_levels: int = 256
    """Number of codes, q."""
    moments: tuple[float, float] | None = None
    """Mean and deviation that amplitudes are normalised with; None: measured on the training split
    for a gmm head (section 3), else 0 and 0.5, as in the official code."""
    frame_values: Literal["amplitude", "code"] = "amplitude"
    """What frame-level tiers see, in [-2, 2]: the decoded amplitude, or the code's place in its
    range (official code; for mu-law a companded amplitude). The same for linear codes."""
    weight_norm: bool = True
    """Weight normalisation of every linear and recurrent map (section 3)."""
    learn_h0: bool = True
    """Learn the initial state of each recurrent layer (section 3)."""
    init: Literal["paper", "official"] = "paper"
    """paper: orthogonal hidden-to-hidden, He elsewhere; official: the released code's mixture."""

    def __post_init__(self) -> None:
        """Check that tiers fit each other and that every size is possible."""
        check_stack(self.n_rnn, self.dim, self.skip)
        check_range("emb_size", self.emb_size, 1, MAX_DIM)
        check_codes(self.q_levels)
        check_head(self.head, self.components, self.moments, self.quantizer, self.sample_input)
        table = self.frame_sizes[0] * self.q_levels * self.dim if self.frame_sizes else 0
        if table > MAX_TABLE and self.sample_input in ("embedding", "one-hot"):
            raise ValueError(
                f"frame_sizes[0] x q_levels x dim = {table} must be at most {MAX_TABLE}: the table "
                "of embeddings would not fit; make the sample level's window shorter"
            )
        if not 2 <= len(self.frame_sizes) <= MAX_TIERS:
            raise ValueError(
                f"frame_sizes = {self.frame_sizes} must have 2 to {MAX_TIERS} tiers: "
                "the sample level and at least one frame level"
            )
        for k, size in enumerate(self.frame_sizes):
            check_range(f"frame_sizes[{k}]", size, 1, MAX_FRAME)
        for k in range(2, len(self.frame_sizes)):
            low, high = self.frame_sizes[k - 1], self.frame_sizes[k]
            if high % low or high == low:
                raise ValueError(
                    f"frame_sizes[{k}] = {high} must be a larger multiple of "
                    f"frame_sizes[{k - 1}] = {low}"
                )

    @property
    def top_frame(self) -> int:
        """FS of the top tier: subsequences are a multiple of it, in samples."""
        return self.frame_sizes[-1]

    @property
    def lookback(self) -> int:
        """Samples that the frames of any tier reach back."""
        return max(self.frame_sizes)

    @property
    def width(self) -> int:
        """Numbers that a pass keeps for every sample, about: decides how much is scored at once."""
        return 6 * self.dim + 3 * head_width(self)

    def ratio(self, tier: int) -> int:
        """Return r of tier ``tier`` (2 to K): its step's length in steps of the tier below."""
        return self.frame_sizes[tier - 1] // (self.frame_sizes[tier - 2] if tier > 2 else 1)


@dataclass(frozen=True)
class RNNConfig:
    """The baseline of Eqs. 2-3: a deep RNN at the sample rate, an MLP on top of it."""

    family: Literal["rnn"] = "rnn"
    """Kind of model."""
    dim: int = 1024
    """Width of the recurrent layers and of the MLP."""
    n_rnn: int = 1
    """Recurrent layers, 1 to 5."""
    cell: Cell = "gru"
    """gru: reset before the product (Chung et al. 2014, the paper's); gru-reset-after: cuDNN's,
    faster on GPUs; lstm: forget bias 3."""
    skip: bool = False
    """Skip connections within the recurrent stack (official code; needs n_rnn > 1)."""
    emb_size: int = 256
    """Width of the embedding of a code."""
    sample_input: Literal["embedding", "real"] = "embedding"
    """What the RNN sees of a sample: the embedding of its code, or its amplitude."""
    head: HeadName = "categorical"
    """categorical: a softmax over the codes; gmm: a mixture of Gaussians over the amplitude, a
    density (Table 2), for linear codes of 16 bits."""
    components: int = 4
    """Gaussians in the mixture of a gmm head."""
    quantizer: Literal["linear", "mulaw"] = "linear"
    """Meaning of the codes."""
    q_levels: int = 256
    """Number of codes, q."""
    moments: tuple[float, float] | None = None
    """Mean and deviation that amplitudes are normalised with; None: measured on the training split
    for a gmm head (section 3), else 0 and 0.5."""
    weight_norm: bool = True
    """Weight normalisation of every linear and recurrent map (section 3)."""
    learn_h0: bool = True
    """Learn the initial state of each recurrent layer (section 3)."""
    init: Literal["paper", "official"] = "paper"
    """paper: orthogonal hidden-to-hidden, He elsewhere; official: the released code's mixture."""

    def __post_init__(self) -> None:
        """Check that every size is possible."""
        check_stack(self.n_rnn, self.dim, self.skip)
        check_range("emb_size", self.emb_size, 1, MAX_DIM)
        check_codes(self.q_levels)
        check_head(self.head, self.components, self.moments, self.quantizer, self.sample_input)

    @property
    def top_frame(self) -> int:
        """Subsequences are a multiple of it, in samples."""
        return 1

    @property
    def width(self) -> int:
        """Numbers that a pass keeps for every sample, about."""
        return 6 * self.n_rnn * self.dim + 3 * head_width(self)


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
    quantizer: Literal["linear", "mulaw"] = "linear"
    """Meaning of the codes."""
    q_levels: int = 256
    """Number of codes, q."""
    weight_norm: bool = True
    """Weight normalisation of every map."""

    def __post_init__(self) -> None:
        """Check that every size is possible."""
        check_convolutions(self.blocks, self.layers, self.channels, self.skip_channels)
        check_codes(self.q_levels)

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
    quantizer: Literal["linear", "mulaw"] = "linear"
    """Meaning of the codes."""
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


ModelConfig = SampleRNNConfig | RNNConfig | WaveNetConfig | HybridConfig


def head_width(config: SampleRNNConfig | RNNConfig) -> int:
    """Return how many numbers describe the distribution of one sample."""
    return 3 * config.components if config.head == "gmm" else config.q_levels
