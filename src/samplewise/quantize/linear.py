"""Linear quantisation: equal steps of amplitude (Mehri et al. 2017, section 2.2.1)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int

from samplewise.quantize.base import Quantizer, check_amplitude


@dataclass(frozen=True)
class Linear(Quantizer):
    """Code c covers the amplitudes from ``2 c / q - 1`` up to the next step.

    It decodes to the middle of them.
    Networks see the lower edge, ``2 c / q - 1``, as in the official code. Differs: the official
    code writes codes as sound, stretched to ±0.475 file by file; a lower edge heard as it is adds a
    constant of half a step to every clip (-48 dB relative to full scale at 256 codes).

    Chosen: no code decodes to 0. Digital silence becomes a constant of half a step, 1/q, as in any
    quantiser whose steps begin at 0. If its code alone decoded to 0, quiet sounds, which consist of
    the two codes next to 0, would have a constant part again.
    """

    @property
    def name(self) -> str:
        """Name in configurations."""
        return "linear"

    def encode(self, wave: Float[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
        """Return ``floor((x + 1) q / 2)``; amplitude 1 takes the last code."""
        check_amplitude(wave)
        # The margin gives a lower edge that is rounded to float32 the code above it.
        codes = np.floor((wave.astype(np.float64) + 1) * self.silence + _margin(self.q_levels))
        return np.clip(codes, 0, self.q_levels - 1).astype(np.int64)

    @property
    def inputs(self) -> Float32[np.ndarray, " q_levels"]:
        """Lower edge of every code, in [-1, 1)."""
        return self.places

    def _amplitudes(self, codes: Float[np.ndarray, " q_levels"]) -> Float[np.ndarray, " q_levels"]:
        return (2 * codes + 1) / self.q_levels - 1


def _margin(q_levels: int) -> float:
    """Half a float32 rounding error at full scale, in steps; 0 where steps are exact."""
    is_power_of_two = q_levels & (q_levels - 1) == 0
    return 0.0 if is_power_of_two else q_levels * 2.0**-25
