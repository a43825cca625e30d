"""Levels: the gain of a corpus, and the per-clip scaling of the official SampleRNN code."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

PEAK_TARGET = 0.99
"""Peak of a corpus at the level policy `keep`."""
LARGEST_GAIN = 2.0**16
"""Gain of a corpus whose samples are within half a 16-bit step of their mean."""
PAPER_Q_LEVELS = 256
PAPER_EPSILON = 1e-5
LEAST_POWER = 1e-10
"""Power of a tile that is all silence."""
LOW, HIGH = 5.0, 75.0
"""Percentiles that bound a range of levels."""
_BIN_GUARD = 2.0**-22
"""Distance kept below the next code, so that float32 rounding of x + 1 cannot reach it."""


@dataclass(frozen=True)
class LevelRange:
    """Range of the level of recordings over a second, RMS in dB relative to full scale."""

    low_db: float
    """Their 5th percentile."""
    high_db: float
    """Their 75th percentile: what is louder for long is a drift."""


def level_range(sounds: Iterable[Float[np.ndarray, " samples"]]) -> LevelRange | None:
    """Return the range over some sounds of a second; None if there are none."""
    powers = [max(LEAST_POWER, float(np.mean(np.square(sound, dtype=float)))) for sound in sounds]
    if not powers:
        return None
    low, high = np.percentile(10 * np.log10(powers), [LOW, HIGH])
    return LevelRange(float(low), float(high))


def peak_gain(peak: float, target: float = PEAK_TARGET) -> float:
    """Return the gain that brings ``peak`` to ``target``; 1 for digital silence.

    Raises:
        ValueError: If ``peak`` is negative or not finite.
    """
    if not (math.isfinite(peak) and peak >= 0):
        raise ValueError(f"peak = {peak} must be finite and not negative")
    return target / peak if peak > 0 else 1.0


def paper_min_max(wave: Float[np.ndarray, " samples"]) -> Float32[np.ndarray, " samples"]:
    """Scale one clip as the official SampleRNN code does before its linear quantiser.

    The official code maps a clip to x01 = (x - min) / (max - min) and takes the code
    floor(x01 (256 - 1e-5) + 5e-6). The result of this function, given to the linear quantiser
    with 256 levels, floor((y + 1) 128), gives exactly those codes.

    Differs: a constant clip, 0/0 in the official code, becomes silence.

    Args:
        wave: One clip at any finite level.

    Returns:
        Amplitude, full scale ±1.

    Raises:
        ValueError: If a sample is not finite.
    """
    if not np.isfinite(wave).all():
        raise ValueError("wave must be finite, but it holds NaN or infinity")
    if not wave.size:
        return np.zeros(0, np.float32)
    x = wave.astype(np.float64)
    low, high = x.min(), x.max()
    if low == high:
        return np.zeros(len(x), np.float32)
    x01 = (x - low) / (high - low)
    exact = x01 * (PAPER_Q_LEVELS - PAPER_EPSILON) + PAPER_EPSILON / 2
    half = PAPER_Q_LEVELS / 2
    floor = np.floor(exact) / half - 1
    # Rounding to float32 must not move a sample into the next code.
    return np.clip(exact / half - 1, floor, floor + 1 / half - _BIN_GUARD).astype(np.float32)
