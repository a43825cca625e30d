"""μ-law companding: fine steps near silence, coarse at full scale (van den Oord et al. 2016)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from samplewise.quantize.base import Quantizer, check_amplitude


@dataclass(frozen=True)
class MuLaw(Quantizer):
    """F(x) = sign(x) ln(1 + μ|x|) / ln(1 + μ), μ = q - 1, rounded to steps of 2/q.

    The code of amplitude 0 decodes to exactly 0 and decoding is odd about it. (The official
    SampleRNN code truncates instead, so that its silence is off by one and its scale one-sided.)
    """

    @property
    def name(self) -> str:
        """Name in configurations."""
        return "mulaw"

    def encode(self, wave: Float[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
        """Compand, then round to the nearest step; amplitude 1 takes the last code."""
        check_amplitude(wave)
        mu = self.q_levels - 1
        x = wave.astype(np.float64)
        companded = np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu)
        codes = np.floor(companded * self.silence + 0.5).astype(np.int64) + self.silence
        return np.clip(codes, 0, self.q_levels - 1)

    def _expand(self, steps: Float[np.ndarray, " q_levels"]) -> Float[np.ndarray, " q_levels"]:
        mu = self.q_levels - 1
        return np.sign(steps) * np.expm1(np.abs(steps) * np.log1p(mu)) / mu
