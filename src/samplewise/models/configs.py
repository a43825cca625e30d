"""Sizes of the models, without torch: the command line reads them for its help."""

from dataclasses import dataclass
from typing import Literal

Cell = Literal["gru", "gru-reset-after", "lstm"]
SampleInput = Literal["embedding", "one-hot", "real"]
MAX_TIERS, MAX_DIM, MAX_Q, MAX_FRAME = 16, 65_536, 65_536, 1_048_576
MAX_TABLE = 2**28
"""Beyond these a configuration is a mistake, or a file that wants our memory."""


@dataclass(frozen=True)
class SampleRNNConfig:
    """Sizes of a SampleRNN (Mehri et al. 2017); the number of tiers K is ``len(frame_sizes)``."""

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
    code with emb_size 0), real (Table 4, "without embedding")."""
    quantizer: Literal["linear", "mulaw"] = "linear"
    """Meaning of the codes."""
    q_levels: int = 256
    """Number of codes, q."""
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
        _check("n_rnn", self.n_rnn, 1, 5)
        _check("dim", self.dim, 1, MAX_DIM)
        _check("emb_size", self.emb_size, 1, MAX_DIM)
        _check("q_levels", self.q_levels, 2, MAX_Q)
        if self.q_levels % 2:
            raise ValueError(f"q_levels = {self.q_levels} must be even")
        table = self.frame_sizes[0] * self.q_levels * self.dim if self.frame_sizes else 0
        if table > MAX_TABLE:
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
            _check(f"frame_sizes[{k}]", size, 1, MAX_FRAME)
        for k in range(2, len(self.frame_sizes)):
            low, high = self.frame_sizes[k - 1], self.frame_sizes[k]
            if high % low or high == low:
                raise ValueError(
                    f"frame_sizes[{k}] = {high} must be a larger multiple of "
                    f"frame_sizes[{k - 1}] = {low}"
                )
        if self.skip and self.n_rnn == 1:
            raise ValueError("skip = True needs n_rnn > 1, but n_rnn = 1; add layers or drop skips")

    @property
    def top_frame(self) -> int:
        """FS of the top tier: subsequences are a multiple of it, in samples."""
        return self.frame_sizes[-1]

    @property
    def lookback(self) -> int:
        """Samples that the frames of any tier reach back."""
        return max(self.frame_sizes)

    def ratio(self, tier: int) -> int:
        """Return r of tier ``tier`` (2 to K): its step's length in steps of the tier below."""
        return self.frame_sizes[tier - 1] // (self.frame_sizes[tier - 2] if tier > 2 else 1)


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} = {value} must lie in [{low}, {high}]")
