"""Control of the level: the temperature falls while a clip is louder than recordings are.

A mixture around a linear prediction scales with what it was fed, so the level of a clip wanders
and can end at full scale. Bits per sample are no measure of that: they depend on the level.
"""

import math

import numpy as np
from jaxtyping import Float, Float64, Int64

from samplewise.audio.level import LevelRange

BLOCK_S = 0.032
"""Seconds between two changes of the temperature."""
MEMORY_S = 0.5
"""Time constant over which the power is averaged, in seconds."""
GAIN = 0.01
"""Change of the log temperature per dB outside of the range."""
LOWEST, HIGHEST = 0.9, 1.05
"""Bounds of the factor of the temperature."""


class LevelControl:
    """Keeps the level of each clip near the range of recordings.

    Args:
        level: The range.
        amplitudes: Amplitude of every code.
        clips: Number of clips.
        sample_rate: Hertz.
    """

    def __init__(
        self,
        level: LevelRange,
        amplitudes: Float[np.ndarray, " q_levels"],
        clips: int,
        sample_rate: int,
    ):
        self.block = max(1, round(BLOCK_S * sample_rate))
        """Samples between two changes."""
        self._level, self._powers = level, amplitudes.astype(np.float64) ** 2
        self._step = -math.expm1(-self.block / (MEMORY_S * sample_rate))
        self._mean = np.full(clips, 10 ** ((level.low_db + level.high_db) / 20))
        self._sum = np.zeros(clips)
        self._count = 0

    @property
    def left(self) -> int:
        """Samples until the next change."""
        return self.block - self._count

    @property
    def factor(self) -> Float64[np.ndarray, " clips"]:
        """Factor of each clip's temperature, now."""
        level = 10 * np.log10(self._mean + 1e-12)
        above = np.maximum(level - self._level.high_db, 0)
        below = np.maximum(self._level.low_db - level, 0)
        return np.clip(np.exp(GAIN * (below - above)), LOWEST, HIGHEST)

    def observe(
        self,
        codes: Int64[np.ndarray, "clips samples"],
        log_probs: Float64[np.ndarray, "clips samples"],
    ) -> None:
        """Take in what was drawn, at most :attr:`left` samples of each clip.

        Args:
            codes: What was drawn.
            log_probs: Not used; :class:`samplewise.generate.surprise.SurpriseControl` does.
        """
        self._sum += self._powers[codes].sum(1)
        self._count += codes.shape[1]
        if self._count == self.block:
            self._mean += self._step * (self._sum / self.block - self._mean)
            self._sum, self._count = np.zeros_like(self._sum), 0
