"""Control of the level: the temperature falls while a clip is louder than recordings are.

A mixture around a linear prediction scales with what it was fed, so the level of a clip wanders
and can end at full scale. Bits per sample are no measure of that: they depend on the level.
"""

import numpy as np
from jaxtyping import Float, Float64, Int64

from samplewise.audio.level import LevelRange
from samplewise.generate.temperature_control import TemperatureControl

MEMORY_S = 0.5
"""Time constant over which the power is averaged, in seconds."""
GAIN = 0.01
"""Change of the log temperature per dB outside of the range."""
LOWEST, HIGHEST = 0.9, 1.05
"""Bounds of the factor of the temperature."""


class LevelControl(TemperatureControl):
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
        middle = 10 ** ((level.low_db + level.high_db) / 20)
        super().__init__(middle, MEMORY_S, clips, sample_rate)
        self._level, self._powers = level, amplitudes.astype(np.float64) ** 2

    @property
    def factor(self) -> Float64[np.ndarray, " clips"]:
        """Factor of each clip's temperature, now."""
        level = 10 * np.log10(self._mean + 1e-12)
        above = np.maximum(level - self._level.high_db, 0)
        below = np.maximum(self._level.low_db - level, 0)
        return np.clip(np.exp(GAIN * (below - above)), LOWEST, HIGHEST)

    def _total(
        self,
        codes: Int64[np.ndarray, "clips samples"],
        log_probs: Float64[np.ndarray, "clips samples"],
    ) -> Float64[np.ndarray, " clips"]:
        return self._powers[codes].sum(1)
