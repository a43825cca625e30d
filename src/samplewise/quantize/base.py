"""What every quantiser is: amplitudes in [-1, 1] to integer codes in [0, q) and back."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32, Int, Integer


def check_amplitude(wave: Float[np.ndarray, "*shape"]) -> None:
    """Refuse what is not an amplitude.

    Raises:
        ValueError: If a sample is outside [-1, 1] or not finite.
    """
    peak = float(np.abs(wave).max()) if wave.size else 0.0
    if not peak <= 1.0:  # also true for NaN
        raise ValueError(
            f"wave must lie in [-1, 1], but its peak is {peak:.4g}; normalise it first"
        )


def check_codes(codes: Int[np.ndarray, "*shape"], q_levels: int) -> None:
    """Refuse codes that do not exist.

    Raises:
        ValueError: If one is outside [0, q_levels).
    """
    if codes.size and not 0 <= codes.min() <= codes.max() < q_levels:
        raise ValueError(
            f"codes range from {codes.min()} to {codes.max()}, not within [0, {q_levels})"
        )


@dataclass(frozen=True)
class Quantizer:
    """Base of the quantisers: ``q_levels`` codes, of which ``silence`` stands for amplitude 0.

    For every code ``encode(decode(code)) == code``; a larger amplitude never has a smaller code.
    Two values belong to a code: what is heard (:attr:`amplitudes`), and what a network sees in its
    place (:attr:`inputs`).
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
        """Amplitude of every code, ascending, in [-1, 1]: what :meth:`decode` returns."""
        return self._amplitudes(np.arange(self.q_levels, dtype=np.float64)).astype(np.float32)

    @cached_property
    def places(self) -> Float32[np.ndarray, " q_levels"]:
        """Place of every code in its range, in [-1, 1), as the official code scales codes."""
        return ((np.arange(self.q_levels) - self.silence) / self.silence).astype(np.float32)

    @property
    def inputs(self) -> Float32[np.ndarray, " q_levels"]:
        """Real value of every code for a network, in [-1, 1]."""
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
        if codes.size and (codes.min() < 0 or codes.max() >= self.q_levels):
            low, high = codes.min(), codes.max()
            raise ValueError(f"codes range from {low} to {high}, not within [0, {self.q_levels})")
        return self.amplitudes[codes]

    def _amplitudes(self, codes: Float[np.ndarray, " q_levels"]) -> Float[np.ndarray, " q_levels"]:
        raise NotImplementedError
