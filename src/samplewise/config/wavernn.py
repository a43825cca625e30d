"""Configuration of a WaveRNN (Kalchbrenner et al. 2018)."""

from dataclasses import dataclass
from typing import Literal

from samplewise.config.fields import Conditioning, DualQuantizerName, LearnH0
from samplewise.config.validation import check_dual_units, check_input_mask


@dataclass(frozen=True)
class WaveRNNConfig:
    """Sizes of a WaveRNN: one GRU, 16 bits in two softmaxes (section 2)."""

    family: Literal["wavernn"] = "wavernn"
    """Family of the model."""
    dim: int = 896
    """Width of the GRU, even: the first half makes the coarse bits, the second the fine ones."""
    learn_h0: LearnH0 = True
    quantizer: DualQuantizerName = "dual"
    q_levels: int = 65536
    """Number of codes, q."""
    conditioning: Conditioning = None

    def __post_init__(self) -> None:
        """Check that every size is possible."""
        check_dual_units(self.dim, 2, self.q_levels)
        check_input_mask(self.dim, self.conditioning.width if self.conditioning else 0)

    @property
    def top_frame(self) -> int:
        """Length in samples that the length of a subsequence is a multiple of."""
        return 1

    @property
    def activations_per_sample(self) -> int:
        """About how many numbers a pass keeps for every sample."""
        return 8 * self.dim + 3 * 512
