"""Control of the surprise: the temperature follows the bits of what is drawn.

A model that is fed its own samples drifts: small errors add up, and a take fades to silence or
grows into noise. Both show in the bits per sample of what is drawn. Small changes of the
temperature keep them near a target, as Mirostat does for text (Basu et al. 2021).
"""

import math

import numpy as np
from jaxtyping import Float64, Int64

BLOCK_S = 0.032
"""Seconds between two changes of the temperature."""
MEMORY_S = 2.0
"""Time constant over which bits are averaged, in seconds."""
DEADBAND, GAIN = 0.1, 0.5
"""Deviation in bits that is left alone; change of the log temperature per further bit."""
LOWEST, HIGHEST = 0.85, 1.6
"""Bounds of the factor of the temperature."""


class SurpriseControl:
    """Keeps the bits per sample of each clip near a target.

    Args:
        target: Bits per sample, as the model scores them at temperature 1.
        clips: Number of clips.
        sample_rate: Hertz.
    """

    def __init__(self, target: float, clips: int, sample_rate: int):
        self.block = max(1, round(BLOCK_S * sample_rate))
        """Samples between two changes."""
        self._target = target
        self._step = -math.expm1(-self.block / (MEMORY_S * sample_rate))
        self._mean = np.full(clips, target)
        self._nats = np.zeros(clips)
        self._count = 0

    @property
    def left(self) -> int:
        """Samples until the next change."""
        return self.block - self._count

    @property
    def factor(self) -> Float64[np.ndarray, " clips"]:
        """Factor of each clip's temperature, now."""
        lacking = self._target - self._mean
        lacking = np.sign(lacking) * np.maximum(np.abs(lacking) - DEADBAND, 0)
        return np.clip(np.exp(GAIN * lacking), LOWEST, HIGHEST)

    def observe(
        self,
        codes: Int64[np.ndarray, "clips samples"],
        log_probs: Float64[np.ndarray, "clips samples"],
    ) -> None:
        """Take in what was drawn, at most :attr:`left` samples of each clip.

        Args:
            codes: What was drawn: not used.
            log_probs: Log-probability of each sample at temperature 1, in nats.
        """
        self._nats -= log_probs.sum(1)
        self._count += log_probs.shape[1]
        if self._count == self.block:
            bits = self._nats / self.block / math.log(2)
            self._mean += self._step * (bits - self._mean)
            self._nats, self._count = np.zeros_like(self._nats), 0
