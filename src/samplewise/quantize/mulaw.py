"""μ-law companding: fine steps near silence, coarse at full scale (van den Oord et al. 2016)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from samplewise.quantize.base import Quantizer, check_amplitude


@dataclass(frozen=True)
class MuLaw(Quantizer):
    """F(x) = sign(x) ln(1 + μ|x|) / ln(1 + μ), μ = q - 1, in μ equal steps from -1 to 1.

    The definition of torchaudio, and of the audio benchmarks of S4: bits can be compared. The first
    code decodes to -1, the last to 1. No code decodes to 0: that of amplitude 0, q/2, decodes to
    F⁻¹(1/μ), 0.00009 at 256 codes, and q/2 - 1 to as much below. (The official SampleRNN code
    truncates instead: its silence is off by one, and its last code decodes to 0.957.)
    """

    @property
    def name(self) -> str:
        """Name in configurations."""
        return "mulaw"

    def encode(self, wave: Float[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
        """Compand, then round to the nearest of the steps."""
        companded = _compand(wave, self.q_levels - 1)
        return np.floor((companded + 1) / 2 * (self.q_levels - 1) + 0.5).astype(np.int64)

    def _amplitudes(self, codes: Float[np.ndarray, " q_levels"]) -> Float[np.ndarray, " q_levels"]:
        mu = self.q_levels - 1
        return _expand(2 * codes / mu - 1, mu)


@dataclass(frozen=True)
class MuLawMidtread(Quantizer):
    """The same F in q steps of 2/q from -1, for models that were trained before :class:`MuLaw`.

    The code of amplitude 0 decodes to exactly 0, and decoding is odd about it; the last code
    decodes to 0.957 at 256 codes.
    """

    @property
    def name(self) -> str:
        """Name in configurations."""
        return "mulaw-midtread"

    def encode(self, wave: Float[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
        """Compand, then round to the nearest step; amplitude 1 takes the last code."""
        companded = _compand(wave, self.q_levels - 1)
        codes = np.floor(companded * self.silence + 0.5).astype(np.int64) + self.silence
        return np.clip(codes, 0, self.q_levels - 1)

    def _amplitudes(self, codes: Float[np.ndarray, " q_levels"]) -> Float[np.ndarray, " q_levels"]:
        return _expand((codes - self.silence) / self.silence, self.q_levels - 1)


def _compand(wave: Float[np.ndarray, "*shape"], mu: int) -> Float[np.ndarray, "*shape"]:
    check_amplitude(wave)
    x = wave.astype(np.float64)
    return np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu)


def _expand(steps: Float[np.ndarray, " q_levels"], mu: int) -> Float[np.ndarray, " q_levels"]:
    return np.sign(steps) * np.expm1(np.abs(steps) * np.log1p(mu)) / mu
