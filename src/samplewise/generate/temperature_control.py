"""What controls of the temperature share: a mean over time of what each clip draws."""

import math
from abc import ABC, abstractmethod

import numpy as np
from jaxtyping import Float64, Int64

BLOCK_S = 0.032
"""Seconds between two changes of the temperature."""


class TemperatureControl(ABC):
    """Follows a figure of each clip and says by how much its temperature changes.

    Args:
        mean: The figure at the start.
        memory_s: Time constant over which it is averaged, in seconds.
        clips: Number of clips.
        sample_rate: Hertz.
    """

    _unit = 1.0
    """Unit of the mean, in that of :meth:`_total`."""

    def __init__(self, mean: float, memory_s: float, clips: int, sample_rate: int):
        self.block = max(1, round(BLOCK_S * sample_rate))
        """Samples between two changes."""
        self._step = -math.expm1(-self.block / (memory_s * sample_rate))
        self._mean = np.full(clips, mean)
        self._sum = np.zeros(clips)
        self._count = 0

    @property
    def left(self) -> int:
        """Samples until the next change."""
        return self.block - self._count

    @property
    @abstractmethod
    def factor(self) -> Float64[np.ndarray, " clips"]:
        """Factor of each clip's temperature, now."""

    @abstractmethod
    def _total(
        self,
        codes: Int64[np.ndarray, "clips samples"],
        log_probs: Float64[np.ndarray, "clips samples"],
    ) -> Float64[np.ndarray, " clips"]:
        """Return the figure of each clip, summed over its samples."""

    def observe(
        self,
        codes: Int64[np.ndarray, "clips samples"],
        log_probs: Float64[np.ndarray, "clips samples"],
    ) -> None:
        """Take in what was drawn, at most :attr:`left` samples of each clip.

        Args:
            codes: What was drawn.
            log_probs: Log-probability of each sample at temperature 1, in nats.
        """
        self._sum += self._total(codes, log_probs)
        self._count += codes.shape[1]
        if self._count == self.block:
            self._mean += self._step * (self._sum / self.block / self._unit - self._mean)
            self._sum, self._count = np.zeros_like(self._sum), 0
