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

MAX_ORDER = 512
"""Largest order of the linear predictor."""
LEAST_WINDOW = 128
"""Least number of samples that a filter of the linear predictor is computed from."""
MAX_TILT = 100.0
"""Largest weight of a fixed predictor."""
LONG_ERRORS = 128
"""Past errors of the linear predictor whose size is averaged."""


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
    """Components of the mixture of a gmm or mol head."""
    quantizer: QuantizerName = "linear"
    q_levels: int = 256
    """Number of codes, q."""
    moments: Moments = None
    mlp_maps: int = 3
    """Linear maps of the MLP: 3 (paper), or 2. The first of three has no non-linearity before it:
    two can express the same, and are faster to train."""
    lp_order: int = 0
    """Order of the backward-adaptive linear predictor whose prediction the MLP sees, and around
    which a logistic distribution is added to the logits; 0: none (paper)."""
    lp_method: Literal["autocorrelation", "burg"] = "autocorrelation"
    """How a filter is computed: the autocorrelation method, whose window widens resonances, or
    Burg's method, which does not, so that tones last."""
    lp_tilt: tuple[float, ...] | None = None
    """Weights of a fixed linear predictor before that of Burg's method, the latest sample's first:
    the average spectrum. None: measured on the training split."""
    lp_window: int = 1024
    """Samples that a filter of the linear predictor is computed from."""
    lp_hop: int = 32
    """About how many samples lie between two filters of the linear predictor: the nearest number of
    whole frames of the top tier, or a whole part of one."""
    lp_noise: float = 1e-3
    """White noise in the linear predictor, as a share of the power; more makes it less sure. With
    Burg's method the noise has the average spectrum."""
    lp_damping: float = 0.0
    """How much weaker each further weight of a filter is, as a share: 1e-4 lets every resonance
    lose half of its amplitude in 6,900 samples, so that what is drawn does not grow."""
    lp_largest_error: float = 0.25
    """Largest error of the linear predictor that counts in the size of its errors, as a share of
    the codes; larger sizes than recordings have make what is drawn explode."""
    lp_errors: int = 16
    """Past errors of the linear predictor that the MLP sees, at most 128."""
    frame_values: Literal["amplitude", "code", "companded"] = "amplitude"
    """What frame-level tiers see, in [-2, 2]: the decoded amplitude; the code's place in its
    range (official code; for mu-law a companded amplitude), the same for linear codes; or the
    amplitude companded by mu-law."""
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
        check_range("mlp_maps", self.mlp_maps, 2, 3)
        self._check_frame_sizes()
        self._check_predictor()

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

    def _check_predictor(self) -> None:
        check_range("lp_order", self.lp_order, 0, MAX_ORDER)
        check_range("lp_window", self.lp_window, max(LEAST_WINDOW, self.lp_order), MAX_FRAME)
        if self.lp_tilt and self.lp_method != "burg":
            raise ValueError(
                f'lp_tilt of {len(self.lp_tilt)} weights needs lp_method = "burg", not '
                f'"{self.lp_method}"'
            )
        if self.lp_method == "burg":
            least = self.lp_order + len(self.lp_tilt or ()) + 1
            check_range("lp_window", self.lp_window, least, MAX_FRAME)
        check_range("lp_hop", self.lp_hop, 1, MAX_FRAME)
        if not all(abs(weight) <= MAX_TILT for weight in self.lp_tilt or ()):
            raise ValueError(f"lp_tilt = {self.lp_tilt} must have weights within ±{MAX_TILT}")
        check_range("lp_tilt", len(self.lp_tilt or ()), 0, LEAST_WINDOW // 2)
        check_range("lp_errors", self.lp_errors, 1, LONG_ERRORS)
        if not 0 <= self.lp_damping <= 0.1:
            raise ValueError(f"lp_damping = {self.lp_damping} must lie in [0, 0.1]")
        if not 1e-6 <= self.lp_largest_error <= 1:
            raise ValueError(f"lp_largest_error = {self.lp_largest_error} must lie in [1e-6, 1]")
        if not 1e-9 <= self.lp_noise <= 1:
            raise ValueError(f"lp_noise = {self.lp_noise} must lie in [1e-9, 1]")
        if self.lp_order and self.head == "gmm":
            raise ValueError(
                f"lp_order = {self.lp_order} needs a head of codes, categorical or mol, not gmm"
            )

    @property
    def top_frame(self) -> int:
        """Samples after which tiers and predictor are at their start again, FS of the top tier.

        The length of a subsequence is a multiple of it.
        """
        top = self.frame_sizes[-1]
        return max(top, self.predictor_hop) if self.lp_order else top

    @property
    def predictor_hop(self) -> int:
        """Samples between two filters of the linear predictor.

        Whole frames of the top tier, or a whole part of one.
        """
        top = self.frame_sizes[-1]
        if self.lp_hop < top and top % self.lp_hop == 0:
            return self.lp_hop
        return top * max(1, round(self.lp_hop / top))

    @property
    def lookback(self) -> int:
        """Samples that the frames of any tier, and the linear predictor, reach back."""
        taps = self.lp_order + len(self.lp_tilt or ())
        reach = (self.lp_window, taps, LONG_ERRORS) if self.lp_order else ()
        return max(*self.frame_sizes, *reach)

    @property
    def lp_features(self) -> int:
        """How many numbers the MLP gets from the linear predictor."""
        return self.lp_errors + 4 if self.lp_order else 0

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
