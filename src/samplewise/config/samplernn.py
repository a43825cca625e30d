"""Configuration of a SampleRNN (Mehri et al. 2017)."""

from dataclasses import dataclass
from typing import Literal

from samplewise.config.conditioning import check_no_lpc
from samplewise.config.fields import (
    Cell,
    Conditioning,
    HeadName,
    Init,
    LearnH0,
    Moments,
    QuantizerName,
    Skip,
    WeightNorm,
    head_width,
)
from samplewise.config.validation import (
    MAX_DIM,
    MAX_FRAME,
    MAX_TABLE,
    MAX_TIERS,
    check_head,
    check_q_levels,
    check_range,
    check_recurrent_stack,
)


@dataclass(frozen=True)
class SampleRNNConfig:
    """Sizes of a SampleRNN (Mehri et al. 2017); the number of tiers K is ``len(frame_sizes)``."""

    family: Literal["samplernn"] = "samplernn"
    """Family of the model."""
    frame_sizes: tuple[int, ...] = (2, 2, 8)
    """FS of each tier in samples, lowest (sample-level) tier first."""
    dim: int = 1024
    """Width of the recurrent layers and of the MLP."""
    n_rnn: int = 1
    """Recurrent layers in each frame-level tier, 1 to 5."""
    cell: Cell = "gru"
    skip: Skip = False
    emb_size: int = 256
    """Width of the embedding of a code (section 2.2.1)."""
    sample_input: Literal["embedding", "one-hot", "real", "none"] = "embedding"
    """What the MLP sees of the last FS(1) samples: embedding (the paper's best), one-hot (official
    code with emb_size 0), real (Table 4, "without embedding"), none (Multi-Softmax, section 2.2.2:
    the samples of a frame are independent given what came before it)."""
    head: HeadName = "categorical"
    components: int = 4
    """Gaussians in the mixture of a gmm head."""
    quantizer: QuantizerName = "linear"
    q_levels: int = 256
    """Number of codes, q."""
    moments: Moments = None
    frame_values: Literal["amplitude", "code"] = "amplitude"
    """What frame-level tiers see, in [-2, 2]: the decoded amplitude, or the code's place in its
    range (official code; for mu-law a companded amplitude). The same for linear codes."""
    weight_norm: WeightNorm = True
    learn_h0: LearnH0 = True
    init: Init = "paper"
    conditioning: Conditioning = None

    def __post_init__(self) -> None:
        """Check that tiers fit each other and that every size is possible."""
        check_recurrent_stack(self.n_rnn, self.dim, self.skip)
        check_range("emb_size", self.emb_size, 1, MAX_DIM)
        check_q_levels(self.q_levels)
        check_head(self.head, self.components, self.moments, self.quantizer, self.sample_input)
        check_no_lpc(self.conditioning)
        self._check_frame_sizes()

    def _check_frame_sizes(self) -> None:
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
        """FS of the top tier, in samples; the length of a subsequence is a multiple of it."""
        return self.frame_sizes[-1]

    @property
    def lookback(self) -> int:
        """Samples that the frames of any tier reach back."""
        return max(self.frame_sizes)

    @property
    def head_width(self) -> int:
        """How many numbers describe the distribution of one sample."""
        return head_width(self.head, self.components, self.q_levels)

    @property
    def activations_per_sample(self) -> int:
        """About how many numbers a pass keeps for every sample."""
        return 6 * self.dim + 3 * self.head_width

    def ratio(self, tier: int) -> int:
        """Return r of tier ``tier`` (2 to K): its step's length in steps of the tier below."""
        return self.frame_sizes[tier - 1] // (self.frame_sizes[tier - 2] if tier > 2 else 1)
