"""Change of sample rate with soxr, in blocks or at once; both give the same samples."""

import numpy as np
from jaxtyping import Float32

QUALITY = "HQ"
"""soxr's 20-bit setting: a tone above the new Nyquist frequency comes back below -140 dB."""


class Resampler:
    """Resamples a mono signal that arrives in blocks; memory does not grow with its length."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        """Prepare for a stream.

        Args:
            from_rate: Hz, of what is pushed.
            to_rate: Hz, of what comes back; equal to ``from_rate`` passes everything unchanged.

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
        """Take a block in and give out what is ready; ``last`` flushes the rest."""
        if self._stream is None:
            return block
        return self._stream.resample_chunk(block, last=last)


def resample(
    wave: Float32[np.ndarray, " samples"], from_rate: int, to_rate: int
) -> Float32[np.ndarray, " resampled"]:
    """Resample a whole mono signal from ``from_rate`` to ``to_rate``, both in Hz."""
    return Resampler(from_rate, to_rate).push(wave, last=True)
