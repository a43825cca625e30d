"""Linear quantisation: equal steps of amplitude (Mehri et al. 2017, section 2.2.1)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from samplewise.quantize.base import Quantizer, check_amplitude


@dataclass(frozen=True)
class Linear(Quantizer):
    """Code c covers the amplitudes from ``(c - q/2) / (q/2)`` up to the next step."""

    @property
    def name(self) -> str:
        """Name in configurations."""
        return "linear"

    def encode(self, wave: Float[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
        """Return ``floor((x + 1) q / 2)``; amplitude 1 takes the last code."""
        check_amplitude(wave)
        # The margin keeps encode(decode(c)) = c where c / (q/2) is not a float32 number.
        codes = np.floor((wave.astype(np.float64) + 1) * self.silence + _margin(self.q_levels))
        return np.clip(codes, 0, self.q_levels - 1).astype(np.int64)

    def _expand(self, steps: Float[np.ndarray, " q_levels"]) -> Float[np.ndarray, " q_levels"]:
        return steps


def _margin(q_levels: int) -> float:
    """Half a float32 rounding error at full scale, in steps; 0 where steps are exact."""
    is_power_of_two = q_levels & (q_levels - 1) == 0
    return 0.0 if is_power_of_two else q_levels * 2.0**-25
