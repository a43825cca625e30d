"""Quantisers: amplitudes in [-1, 1] to integer codes in [0, q), and back.

Linear (Mehri et al. 2017, section 2.2.1), μ-law (van den Oord et al. 2016), and 16 bits as a coarse
and a fine code of 8 bits (Kalchbrenner et al. 2018, section 2.1).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Integer

FINE_LEVELS = 256
"""Number of coarse codes, and of fine ones, of a 16-bit sample."""


def check_amplitude(wave: Float[np.ndarray, "*shape"]) -> None:
    """Check that samples are amplitudes.

    Raises:
        ValueError: If a sample is outside [-1, 1] or not finite.
    """
    peak = float(np.abs(wave).max()) if wave.size else 0.0
    if not peak <= 1.0:  # also true for NaN
        raise ValueError(
            f"wave must lie in [-1, 1], but its peak is {peak:.4g}; normalise it first"
        )


def check_codes(codes: Integer[np.ndarray, "*shape"], q_levels: int) -> None:
    """Check that codes exist.

    Raises:
        ValueError: If a code is outside [0, q_levels).
    """
    if codes.size and not 0 <= codes.min() <= codes.max() < q_levels:
        raise ValueError(
            f"codes range from {codes.min()} to {codes.max()}, not within [0, {q_levels})"
        )


@dataclass(frozen=True)
class Quantizer:
    """Base of the quantisers: ``q_levels`` codes, of which ``silence`` stands for amplitude 0.

    For every code ``encode(decode(code)) == code``; a larger amplitude never has a smaller code.
    Two values belong to a code: its amplitude in decoded sound (:attr:`amplitudes`), and the value
    that a network takes for it (:attr:`inputs`).
    """

    q_levels: int
    """Number of codes, q in the papers; even."""

    def __post_init__(self) -> None:
        """Check the number of codes."""
        if self.q_levels < 2 or self.q_levels % 2:
            raise ValueError(f"q_levels = {self.q_levels} must be even and at least 2")

    @property
    def name(self) -> str:
        """Name in configurations."""
        raise NotImplementedError

    @property
    def silence(self) -> int:
        """Code of amplitude 0."""
        return self.q_levels // 2

    @cached_property
    def amplitudes(self) -> Float32[np.ndarray, " q_levels"]:
        """Amplitude of every code, ascending, in [-1, 1], as :meth:`decode` returns it."""
        return self._amplitudes(np.arange(self.q_levels, dtype=np.float64)).astype(np.float32)

    @cached_property
    def scaled_codes(self) -> Float32[np.ndarray, " q_levels"]:
        """Every code, scaled to [-1, 1) as in the official code."""
        return ((np.arange(self.q_levels) - self.silence) / self.silence).astype(np.float32)

    @property
    def inputs(self) -> Float32[np.ndarray, " q_levels"]:
        """Real value of every code that a network takes, in [-1, 1]."""
        return self.amplitudes

    def encode(self, wave: Float[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
        """Round amplitudes to codes in [0, q_levels).

        Raises:
            ValueError: If a sample is outside [-1, 1] or not finite.
        """
        raise NotImplementedError

    def decode(self, codes: Integer[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
        """Return the amplitude of each code, in [-1, 1].

        Raises:
            ValueError: If a code is outside [0, q_levels).
        """
        check_codes(codes, self.q_levels)
        return self.amplitudes[codes]

    def _amplitudes(self, codes: Float[np.ndarray, " q_levels"]) -> Float[np.ndarray, " q_levels"]:
        raise NotImplementedError


@dataclass(frozen=True)
class LinearQuantizer(Quantizer):
    """Equal steps of amplitude: code c covers the amplitudes from ``2 c / q - 1`` to the next step.

    A code decodes to the middle of its step.
    Networks take the lower edge, ``2 c / q - 1``, as in the official code. Differs: the official
    code writes codes as sound, stretched to ±0.475 file by file. Decoding to the lower edge would
    add a constant of half a step to every clip (-48 dB relative to full scale at 256 codes).

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
        # With the margin, a lower edge that was rounded to float32 gets the code above the edge.
        codes = np.floor((wave.astype(np.float64) + 1) * self.silence + _margin(self.q_levels))
        return np.clip(codes, 0, self.q_levels - 1).astype(np.int64)

    @property
    def inputs(self) -> Float32[np.ndarray, " q_levels"]:
        """Lower edge of every code, in [-1, 1)."""
        return self.scaled_codes

    def _amplitudes(self, codes: Float[np.ndarray, " q_levels"]) -> Float[np.ndarray, " q_levels"]:
        return (2 * codes + 1) / self.q_levels - 1


@dataclass(frozen=True)
class DualQuantizer(LinearQuantizer):
    """Linear quantisation to 16 bits, with codes that split into a coarse and a fine byte."""

    q_levels: int = FINE_LEVELS * FINE_LEVELS

    def __post_init__(self) -> None:
        """Check that a code has two bytes."""
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
        """Return the 16-bit codes of coarse and fine codes."""
        return coarse * FINE_LEVELS + fine


@dataclass(frozen=True)
class MuLawQuantizer(Quantizer):
    """μ-law: F(x) = sign(x) ln(1 + μ|x|) / ln(1 + μ), μ = q - 1, in μ equal steps from -1 to 1.

    The definition is that of torchaudio and of the audio benchmarks of S4, so that bits can be
    compared. The first code decodes to -1, the last to 1. No code decodes to 0: the code of
    amplitude 0, q/2, decodes to F⁻¹(1/μ), 0.00009 at 256 codes, and q/2 - 1 to -F⁻¹(1/μ).
    Differs: the official SampleRNN code truncates. Its silence is off by one, and its last code
    decodes to 0.957.
    """

    @property
    def name(self) -> str:
        """Name in configurations."""
        return "mulaw"

    def encode(self, wave: Float[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
        """Compand, then round to the nearest of the steps."""
        check_amplitude(wave)
        companded = compand(wave, self.q_levels - 1)
        return np.floor((companded + 1) / 2 * (self.q_levels - 1) + 0.5).astype(np.int64)

    def _amplitudes(self, codes: Float[np.ndarray, " q_levels"]) -> Float[np.ndarray, " q_levels"]:
        mu = self.q_levels - 1
        return _expand(2 * codes / mu - 1, mu)


@dataclass(frozen=True)
class MuLawMidtreadQuantizer(Quantizer):
    """μ-law in q steps of 2/q from -1, for models that were trained before :class:`MuLawQuantizer`.

    The code of amplitude 0 decodes to exactly 0, and decoding is odd about it; the last code
    decodes to 0.957 at 256 codes.
    """

    @property
    def name(self) -> str:
        """Name in configurations."""
        return "mulaw-midtread"

    def encode(self, wave: Float[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
        """Compand, then round to the nearest step; amplitude 1 takes the last code."""
        check_amplitude(wave)
        companded = compand(wave, self.q_levels - 1)
        codes = np.floor(companded * self.silence + 0.5).astype(np.int64) + self.silence
        return np.clip(codes, 0, self.q_levels - 1)

    def _amplitudes(self, codes: Float[np.ndarray, " q_levels"]) -> Float[np.ndarray, " q_levels"]:
        return _expand((codes - self.silence) / self.silence, self.q_levels - 1)


KINDS = {
    "linear": LinearQuantizer,
    "mulaw": MuLawQuantizer,
    "mulaw-midtread": MuLawMidtreadQuantizer,
    "dual": DualQuantizer,
}


def make_quantizer(name: str, q_levels: int) -> Quantizer:
    """Return the quantiser with a name and a number of codes.

    Raises:
        ValueError: If no quantiser has the name, or it cannot have so many codes.
    """
    if name not in KINDS:
        raise ValueError(f"quantizer = {name!r} must be one of {', '.join(KINDS)}")
    return KINDS[name](q_levels)


def _margin(q_levels: int) -> float:
    """Return half a float32 rounding error at full scale, in steps; 0 where steps are exact."""
    is_power_of_two = q_levels & (q_levels - 1) == 0
    return 0.0 if is_power_of_two else q_levels * 2.0**-25


def compand(wave: Float[np.ndarray, "*shape"], mu: int = 255) -> Float64[np.ndarray, "*shape"]:
    """Return F of :class:`MuLawQuantizer` of amplitudes in [-1, 1]."""
    x = wave.astype(np.float64)
    return np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu)


def _expand(steps: Float[np.ndarray, " q_levels"], mu: int) -> Float[np.ndarray, " q_levels"]:
    return np.sign(steps) * np.expm1(np.abs(steps) * np.log1p(mu)) / mu
