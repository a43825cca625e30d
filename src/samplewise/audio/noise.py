"""Noise in a sound: its flatness, the power between the partials, and its floor."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Float64
from numpy.lib.stride_tricks import sliding_window_view

SILENT_DB = -55.0
"""Below this RMS (dB relative to full scale, without the mean) a frame is silent."""
WINDOW_S = 0.128
"""Length of a frame: long enough to part the partials of a low note, seconds."""
BLOCK_FRAMES = 512
"""Frames that are transformed at once: the memory does not grow with the length."""
BAND_BINS, BANDS_PER_OCTAVE = 16, 3
"""Narrowest band in bins of the transform, and bands in an octave."""
VALLEY = 0.25
"""Quantile of the bins of a band that counts as noise."""
VALLEY_OF_NOISE = -math.log(1 - VALLEY)
"""That quantile of the power of noise, relative to its mean (an exponential distribution)."""
QUIETEST = 0.1
"""Quantile over time of the power between the partials that is the noise floor."""
FLAT_FLOOR = 1e-6
"""Power relative to the largest of a spectrum that is added to it before its flatness is taken."""
EPSILON = 1e-20
"""Power that is added before a logarithm."""
NOISE_VERSION = 1
LOW, HIGH = 5.0, 95.0
"""Percentiles that bound a range."""


@dataclass(frozen=True)
class Noise:
    """How noisy a sound is; NaN where it is silent."""

    flatness_db: float
    """Median spectral flatness, dB; white noise: -2.5."""
    noisiness_db: float
    """Median power between the partials relative to all power, dB; noise of any colour: 0."""
    noise_floor_db: float
    """Power between the partials that is exceeded nine tenths of the time, dB re full scale."""


@dataclass(frozen=True)
class NoiseRange:
    """Ranges of the figures of :class:`Noise` in recordings: their 5th and 95th percentile."""

    flatness_db: tuple[float, float]
    noisiness_db: tuple[float, float]
    noise_floor_db: tuple[float, float]
    version: int = NOISE_VERSION
    """Version of the definitions; ranges of another one are not used."""


def noise_range(sounds: Iterable[Noise]) -> NoiseRange | None:
    """Return the ranges over some sounds; None if fewer than two of them are not silent."""
    defined = [noise for noise in sounds if not math.isnan(noise.noisiness_db)]
    if len(defined) < 2:
        return None
    ranges = {}
    for field in fields(Noise):
        values = [getattr(noise, field.name) for noise in defined]
        low, high = np.percentile(values, [LOW, HIGH]).tolist()
        ranges[field.name] = round(low, 2), round(high, 2)
    return NoiseRange(**ranges)


def measure_noise(wave: Float[np.ndarray, " samples"], sample_rate: int) -> Noise:
    """Return how noisy a sound is.

    Args:
        wave: Amplitude, full scale ±1, at least one frame of 128 ms.
        sample_rate: Hz.
    """
    floors, flatness, noisiness = [], [], []
    for frames in frame_blocks(wave, sample_rate):
        power, sounds = power_spectra(frames), is_sounding(frames)
        noise = noise_powers(power)
        floors.append(noise)
        flatness.append(flatness_db(power[sounds]))
        noisiness.append(noisiness_db(noise[sounds], power[sounds]))
    floor = np.quantile(np.concatenate(floors), QUIETEST, axis=0).sum()
    return Noise(
        median(np.concatenate(flatness)), median(np.concatenate(noisiness)), decibels(float(floor))
    )


def frame_length(sample_rate: int) -> int:
    """Return the length of a frame: a power of two near 128 ms."""
    return 2 ** round(math.log2(WINDOW_S * sample_rate))


def frame_blocks(
    wave: Float[np.ndarray, " samples"], sample_rate: int
) -> Iterable[Float64[np.ndarray, "frames samples"]]:
    """Yield the frames of a sound, half a frame apart, some at a time, in double precision."""
    length = frame_length(sample_rate)
    frames = sliding_window_view(wave, length)[:: length // 2]
    for start in range(0, len(frames), BLOCK_FRAMES):
        yield frames[start : start + BLOCK_FRAMES].astype(np.float64)


def is_sounding(frames: Float64[np.ndarray, "frames samples"]) -> Bool[np.ndarray, " frames"]:
    """Return which frames are not silent."""
    return frames.std(axis=1) >= 10 ** (SILENT_DB / 20)


def power_spectra(
    frames: Float64[np.ndarray, "frames samples"],
) -> Float64[np.ndarray, "frames bins"]:
    """Return the one-sided power spectra of frames; the bins of a frame add up to its power."""
    window = np.hanning(frames.shape[1])
    centred = frames - frames.mean(axis=1, keepdims=True)
    scale = 2 / (len(window) * np.square(window).sum())
    return scale * np.abs(np.fft.rfft(centred * window, axis=1)) ** 2


def flatness_db(power: Float64[np.ndarray, "frames bins"]) -> Float64[np.ndarray, " frames"]:
    """Return the geometric over the arithmetic mean of each power spectrum, dB."""
    power = power[:, 2:-1]  # without the lowest bins, where the mean was
    power = power + FLAT_FLOOR * power.max(axis=1, keepdims=True)
    return 10 * np.log10(power).mean(axis=1) - 10 * np.log10(power.mean(axis=1))


def noise_powers(
    power: Float64[np.ndarray, "frames bins"],
) -> Float64[np.ndarray, "frames bands"]:
    """Return the power between the partials of each spectrum, in bands.

    Bands are a third of an octave wide, and 16 bins at least. The lower quartile of the bins of a
    band is scaled to what it would be in noise, so that noise of any colour keeps its power.
    """
    edges = band_edges(power.shape[1])
    noise = []
    for low, high in pairwise(edges):
        band = power[:, low:high]
        valley = np.quantile(band, VALLEY, axis=1) / VALLEY_OF_NOISE
        noise.append(np.minimum(valley, band.mean(axis=1)) * (high - low))
    return np.stack(noise, axis=1)


def noisiness_db(
    noise: Float64[np.ndarray, "frames bands"], power: Float64[np.ndarray, "frames bins"]
) -> Float64[np.ndarray, " frames"]:
    """Return the power between the partials relative to all power, dB (Peeters et al. 2011)."""
    return 10 * np.log10((noise.sum(axis=1) + EPSILON) / (power[:, 2:-1].sum(axis=1) + EPSILON))


def band_edges(bins: int) -> list[int]:
    """Return the first bins of the bands of the noise floor, and the end of the last one."""
    edges = [2]
    while edges[-1] < bins - 1:
        following = max(edges[-1] + BAND_BINS, round(edges[-1] * 2 ** (1 / BANDS_PER_OCTAVE)))
        is_last = following + BAND_BINS > bins - 1
        edges.append(bins - 1 if is_last else following)
    return edges


def median(values: Float64[np.ndarray, " frames"]) -> float:
    """Return the median; NaN of nothing."""
    return float(np.median(values)) if len(values) else math.nan


def decibels(power: float) -> float:
    """Return 10 log10 of a power."""
    return 10 * math.log10(power + EPSILON)
