"""Sizes of the models, without torch: the command line reads them for its help."""

from dataclasses import dataclass
from typing import Annotated, Literal

from samplewise.config.codec import TaggedUnion
from samplewise.config.conditioning import ConditioningConfig
from samplewise.config.convolutional import HybridConfig, WaveNetConfig
from samplewise.config.subscale import FusedSubscaleConfig, SubscaleWaveRNNConfig
from samplewise.config.validation import (
    MAX_DIM,
    MAX_FRAME,
    MAX_TABLE,
    MAX_TIERS,
    Cell,
    QuantizerName,
    check_codes,
    check_dual,
    check_head,
    check_inputs,
    check_own_sound,
    check_range,
    check_stack,
)

SampleInput = Literal["embedding", "one-hot", "real", "none"]
HeadName = Literal["categorical", "gmm"]
Level = Literal["keep", "paper"]
"""``keep``: true level, one gain for the corpus; ``paper``: every clip stretched to [-1, 1]."""


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
    quantizer: QuantizerName = "linear"
    """Meaning of the codes: linear, mulaw (torchaudio's definition), or mulaw-midtread, that of
    models trained before it."""
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
    conditioning: ConditioningConfig | None = None
    """What it is told besides its past: mel spectrograms, a class; see --mel and --labels."""

    def __post_init__(self) -> None:
        """Check that tiers fit each other and that every size is possible."""
        check_stack(self.n_rnn, self.dim, self.skip)
        check_range("emb_size", self.emb_size, 1, MAX_DIM)
        check_codes(self.q_levels)
        check_head(self.head, self.components, self.moments, self.quantizer, self.sample_input)
        check_own_sound(self.conditioning)
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
    quantizer: QuantizerName = "linear"
    """Meaning of the codes: linear, mulaw (torchaudio's definition), or mulaw-midtread, that of
    models trained before it."""
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
    conditioning: ConditioningConfig | None = None
    """What it is told besides its past: mel spectrograms, a class; see --mel and --labels."""

    def __post_init__(self) -> None:
        """Check that every size is possible."""
        check_stack(self.n_rnn, self.dim, self.skip)
        check_range("emb_size", self.emb_size, 1, MAX_DIM)
        check_codes(self.q_levels)
        check_head(self.head, self.components, self.moments, self.quantizer, self.sample_input)
        check_own_sound(self.conditioning)

    @property
    def top_frame(self) -> int:
        """Subsequences are a multiple of it, in samples."""
        return 1

    @property
    def width(self) -> int:
        """Numbers that a pass keeps for every sample, about."""
        return 6 * self.n_rnn * self.dim + 3 * head_width(self)


@dataclass(frozen=True)
class WaveRNNConfig:
    """WaveRNN: one GRU, 16 bits in two softmaxes (Kalchbrenner et al. 2018, section 2)."""

    family: Literal["wavernn"] = "wavernn"
    """Kind of model."""
    dim: int = 896
    """Width of the GRU, even: the first half makes the coarse bits, the second the fine ones."""
    learn_h0: bool = True
    """Learn the initial state."""
    quantizer: Literal["dual"] = "dual"
    """Meaning of the codes: 16 bits, coarse and fine."""
    q_levels: int = 65536
    """Number of codes, q."""
    conditioning: ConditioningConfig | None = None
    """What it is told besides its past: mel spectrograms, a class; see --mel and --labels."""

    def __post_init__(self) -> None:
        """Check that every size is possible."""
        check_dual(self.dim, 2, self.q_levels)
        check_inputs(self.dim, self.conditioning.width if self.conditioning else 0)

    @property
    def top_frame(self) -> int:
        """Subsequences are a multiple of it, in samples."""
        return 1

    @property
    def width(self) -> int:
        """Numbers that a pass keeps for every sample, about."""
        return 8 * self.dim + 3 * 512


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
    """Return what a model is told besides its past; None: nothing, or it cannot be told any."""
    return getattr(config, "conditioning", None)


def head_width(config: SampleRNNConfig | RNNConfig) -> int:
    """Return how many numbers describe the distribution of one sample."""
    return 3 * config.components if config.head == "gmm" else config.q_levels
