"""16 bits as two codes of 8 bits: coarse c and fine f (Kalchbrenner et al. 2018, section 2.1)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from samplewise.quantize.linear import Linear

FINE_LEVELS = 256


@dataclass(frozen=True)
class Dual(Linear):
    """Linear quantisation to 16 bits, whose codes split into a coarse and a fine byte."""

    q_levels: int = FINE_LEVELS * FINE_LEVELS

    def __post_init__(self) -> None:
        """Check that there are two bytes."""
        if self.q_levels != FINE_LEVELS * FINE_LEVELS:
            raise ValueError(f"q_levels = {self.q_levels} must be 65536 for the dual quantiser")

    @property
    def name(self) -> str:
        """Name in configurations."""
        return "dual"

    def split(
        self, codes: Int[np.ndarray, "*shape"]
    ) -> tuple[Int[np.ndarray, "*shape"], Int[np.ndarray, "*shape"]]:
        """Return coarse and fine codes, each in [0, 256): ``code = 256 coarse + fine``."""
        return codes // FINE_LEVELS, codes % FINE_LEVELS

    def join(
        self, coarse: Int[np.ndarray, "*shape"], fine: Int[np.ndarray, "*shape"]
    ) -> Int[np.ndarray, "*shape"]:
        """Return the 16-bit codes of coarse and fine ones."""
        return coarse * FINE_LEVELS + fine
