"""Configuration of the RNN that SampleRNN is compared with (Mehri et al. 2017, section 2)."""

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
    check_head,
    check_q_levels,
    check_range,
    check_recurrent_stack,
)


@dataclass(frozen=True)
class RNNConfig:
    """Sizes of the baseline of Eqs. 2-3: a deep RNN at the sample rate, an MLP on top of it."""

    family: Literal["rnn"] = "rnn"
    """Family of the model."""
    dim: int = 1024
    """Width of the recurrent layers and of the MLP."""
    n_rnn: int = 1
    """Recurrent layers, 1 to 5."""
    cell: Cell = "gru"
    skip: Skip = False
    emb_size: int = 256
    """Width of the embedding of a code."""
    sample_input: Literal["embedding", "real"] = "embedding"
    """What the RNN sees of a sample: the embedding of its code, or its amplitude."""
    head: HeadName = "categorical"
    components: int = 4
    """Gaussians in the mixture of a gmm head."""
    quantizer: QuantizerName = "linear"
    q_levels: int = 256
    """Number of codes, q."""
    moments: Moments = None
    weight_norm: WeightNorm = True
    learn_h0: LearnH0 = True
    init: Init = "paper"
    conditioning: Conditioning = None

    def __post_init__(self) -> None:
        """Check that every size is possible."""
        check_recurrent_stack(self.n_rnn, self.dim, self.skip)
        check_range("emb_size", self.emb_size, 1, MAX_DIM)
        check_q_levels(self.q_levels)
        check_head(self.head, self.components, self.moments, self.quantizer, self.sample_input)
        if self.head == "mol":
            raise ValueError("head = mol is one of samplernn models; give categorical or gmm")
        check_no_lpc(self.conditioning)

    @property
    def top_frame(self) -> int:
        """Length in samples that the length of a subsequence is a multiple of."""
        return 1

    @property
    def head_width(self) -> int:
        """How many numbers describe the distribution of one sample."""
        return head_width(self.head, self.components, self.q_levels)

    @property
    def activations_per_sample(self) -> int:
        """About how many numbers a pass keeps for every sample."""
        return 6 * self.n_rnn * self.dim + 3 * self.head_width
