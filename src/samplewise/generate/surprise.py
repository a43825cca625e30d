"""Control of the surprise: the temperature follows the bits of what is drawn.

A model that is fed its own samples drifts: small errors add up, and a take fades to silence or
grows into noise. Both show in the bits per sample of what is drawn. Small changes of the
temperature keep them near a target, as Mirostat does for text (Basu et al. 2021).
"""

import math

import numpy as np
from jaxtyping import Float64, Int64

from samplewise.generate.temperature_control import TemperatureControl

MEMORY_S = 2.0
"""Time constant over which bits are averaged, in seconds."""
DEADBAND, GAIN = 0.1, 0.5
"""Deviation in bits that is left alone; change of the log temperature per further bit."""
LOWEST, HIGHEST = 0.85, 1.6
"""Bounds of the factor of the temperature."""


class SurpriseControl(TemperatureControl):
    """Keeps the bits per sample of each clip near a target.

    Args:
        target: Bits per sample, as the model scores them at temperature 1.
        clips: Number of clips.
        sample_rate: Hertz.
    """

    _unit = math.log(2)

    def __init__(self, target: float, clips: int, sample_rate: int):
        super().__init__(target, MEMORY_S, clips, sample_rate)
        self._target = target

    @property
    def factor(self) -> Float64[np.ndarray, " clips"]:
        """Factor of each clip's temperature, now."""
        lacking = self._target - self._mean
        lacking = np.sign(lacking) * np.maximum(np.abs(lacking) - DEADBAND, 0)
        return np.clip(np.exp(GAIN * lacking), LOWEST, HIGHEST)

    def _total(
        self,
        codes: Int64[np.ndarray, "clips samples"],
        log_probs: Float64[np.ndarray, "clips samples"],
    ) -> Float64[np.ndarray, " clips"]:
        return -log_probs.sum(1)
