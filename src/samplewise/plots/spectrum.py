"""Spectrograms as arrays: a short-time Fourier transform in NumPy."""

import math

import numpy as np
from jaxtyping import Float

FLOOR_DB, TOP_DB = -80.0, -15.0
"""Levels of white and of full ink, dB of a full-scale sine; fixed, so that plots compare."""
MAX_COLUMNS = 1100
"""Largest number of columns of a picture."""


def spectrogram_db(
    wave: Float[np.ndarray, " samples"], sample_rate: int, window: int | None = None
) -> tuple[
    Float[np.ndarray, " columns"], Float[np.ndarray, " bins"], Float[np.ndarray, "columns bins"]
]:
    """Return the times (s), the frequencies (Hz) and the level (dB) of a Hann spectrogram.

    Frames are centred on their time and a quarter of a window apart. Where that would make more
    columns than ``MAX_COLUMNS``, neighbouring frames are averaged in power.

    Args:
        wave: Amplitude, full scale ±1.
        sample_rate: Hz.
        window: Length in samples; None for the power of two nearest to 64 ms.

    Returns:
        Times, frequencies and levels; a full-scale sine on a bin has 0 dB, silence -200 dB.

    Raises:
        ValueError: If a sample is not finite.
    """
    if not np.isfinite(wave).all():
        raise ValueError("wave holds NaN or infinity and cannot be drawn; mend or skip it")
    if window is None:
        window = 1 << max(2, round(math.log2(0.064 * sample_rate)))
    hop = window // 4
    frames = len(wave) // hop + 1
    pool = -(-frames // MAX_COLUMNS)
    columns = -(-frames // pool)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    padded = np.concatenate([np.zeros(window // 2), wave, np.zeros(window)])
    views = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop][:frames]
    power = np.empty((columns, window // 2 + 1))
    for column in range(columns):  # one column at a time, so that long waves need no second copy
        block = np.fft.rfft(views[column * pool : (column + 1) * pool] * hann, axis=1)
        power[column] = (block.real**2 + block.imag**2).mean(0)
    power *= (2 / hann.sum()) ** 2
    times = (np.arange(columns) * pool + (pool - 1) / 2) * hop / sample_rate
    frequencies = np.fft.rfftfreq(window, 1 / sample_rate)
    return times, frequencies, 10 * np.log10(np.maximum(power, 1e-20))
