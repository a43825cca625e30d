"""Sample rate conversion with soxr; blocks and whole signals give the same samples."""

import numpy as np
from jaxtyping import Float32

QUALITY = "HQ"
"""soxr's 20-bit setting: aliases of tones above the new Nyquist frequency are below -140 dB."""


class Resampler:
    """A resampler of a mono signal in blocks; memory does not grow with the length."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        """Start a stream.

        Args:
            from_rate: Sample rate of the input, Hz.
            to_rate: Sample rate of the output, Hz; if equal, samples pass unchanged.

        Raises:
            ValueError: If a rate is not positive.
        """
        if from_rate <= 0 or to_rate <= 0:
            raise ValueError(f"from_rate, to_rate = {from_rate}, {to_rate} must be positive")
        self._stream = None
        if from_rate != to_rate:
            import soxr

            self._stream = soxr.ResampleStream(
                from_rate, to_rate, 1, dtype="float32", quality=QUALITY
            )

    def push(
        self, block: Float32[np.ndarray, " samples"], last: bool = False
    ) -> Float32[np.ndarray, " resampled"]:
        """Add a block and return the samples that are ready; ``last`` flushes the rest."""
        if self._stream is None:
            return block
        return self._stream.resample_chunk(block, last=last)


def resample(
    wave: Float32[np.ndarray, " samples"], from_rate: int, to_rate: int
) -> Float32[np.ndarray, " resampled"]:
    """Resample a whole mono signal from ``from_rate`` to ``to_rate``, both in Hz."""
    return Resampler(from_rate, to_rate).push(wave, last=True)
