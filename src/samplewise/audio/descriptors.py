"""Descriptors of a sound: level, silence, spectrum, noise floor, onsets.

All are computed from the samples alone, at any rate, and mean the same at every length.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from numpy.lib.stride_tricks import sliding_window_view

from samplewise.audio.mel import mel_spectrogram
from samplewise.config.conditioning import MelConfig

SILENT_DB = -55.0
"""Below this RMS (dB relative to full scale, without the mean) a frame is silent."""
LEVEL_FRAME_S = 0.05
"""Length of the frames in which levels are measured, seconds."""
SPECTRUM_S = 0.128
"""Length of the window of a spectrum: long enough to part the partials of a low note, seconds."""
BAND_BINS, BANDS_PER_OCTAVE = 16, 3
"""Narrowest band of the noise floor in bins of the transform, and bands in an octave."""
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
N_MELS, MEL_WINDOW_S, MEL_HOP_S = 40, 0.064, 0.02
MEL_FLOOR_DB = -60.0
"""Level of a mel band that counts as silence, dB."""
FLUX_LAG, ONSET_GAP = 2, 3
"""Frames over which the rise of an onset is measured, and to either side of its peak."""
ONSET_CONTEXT = 12
"""Frames to either side whose median rise is the background of an onset."""
ONSET_DB = 3.0
"""Mean rise of the mel bands above the background that makes an onset, dB."""


@dataclass(frozen=True)
class Descriptors:
    """Descriptors of one sound; NaN where it is silent."""

    level_db: float
    """RMS without the mean, dB relative to full scale."""
    silence_share: float
    """Share of frames of 50 ms below -55 dB."""
    dynamics_db: float
    """95th minus 10th percentile of the levels of frames that are not silent."""
    centroid_hz: float
    """Median spectral centroid, Hz."""
    flatness_db: float
    """Median spectral flatness, dB; white noise: -2.5."""
    noisiness_db: float
    """Median power between the partials relative to all power, dB; noise of any colour: 0."""
    noise_floor_db: float
    """Power between the partials that is exceeded nine tenths of the time, dB re full scale."""
    onsets_per_s: float
    """Number of onsets in a second."""


def describe(wave: Float[np.ndarray, " samples"], sample_rate: int) -> Descriptors:
    """Return the descriptors of a sound.

    Args:
        wave: Amplitude, full scale ±1.
        sample_rate: Hz.

    Raises:
        ValueError: If the wave is shorter than the window of a spectrum.
    """
    window = spectrum_window(sample_rate)
    if len(wave) < window:
        raise ValueError(
            f"a sound of {len(wave)} samples is too short: {window} are needed ({SPECTRUM_S} s)"
        )
    x = wave.astype(np.float64)
    levels = frame_levels_db(x, round(LEVEL_FRAME_S * sample_rate))
    loud = levels[levels >= SILENT_DB]
    low, high = np.quantile(loud, [0.10, 0.95]) if len(loud) else (math.nan, math.nan)
    frames = sliding_window_view(x, window)[:: window // 2]
    everything = power_spectra(frames)
    noise = noise_powers(everything)
    sounds = is_sounding(frames)
    power = everything[sounds]
    hz = np.arange(power.shape[1]) * sample_rate / window
    onsets = onset_frames(mel_levels_db(wave, sample_rate))
    return Descriptors(
        level_db=_db(float(x.var())),
        silence_share=float((levels < SILENT_DB).mean()),
        dynamics_db=float(high - low),
        centroid_hz=_median(centroids(power, hz)),
        flatness_db=_median(flatness_db(power)),
        noise_floor_db=_db(float(np.quantile(noise, QUIETEST, axis=0).sum())),
        noisiness_db=_median(noisiness_db(noise[sounds], power)),
        onsets_per_s=len(onsets) * sample_rate / len(wave),
    )


def spectrum_window(sample_rate: int) -> int:
    """Return the length of the window of a spectrum: a power of two near 128 ms."""
    return 2 ** round(math.log2(SPECTRUM_S * sample_rate))


def frame_levels_db(
    wave: Float64[np.ndarray, " samples"], frame: int
) -> Float64[np.ndarray, " frames"]:
    """Return the RMS of each whole frame about its mean, dB relative to full scale."""
    frames = wave[: len(wave) // frame * frame].reshape(-1, frame)
    return 10 * np.log10(frames.var(axis=1) + EPSILON)


def power_spectra(
    frames: Float64[np.ndarray, "frames samples"],
) -> Float64[np.ndarray, "frames bins"]:
    """Return the one-sided power spectra of frames; the bins of a frame add up to its power."""
    window = np.hanning(frames.shape[1])
    centred = frames - frames.mean(axis=1, keepdims=True)
    scale = 2 / (len(window) * np.square(window).sum())
    return scale * np.abs(np.fft.rfft(centred * window, axis=1)) ** 2


def is_sounding(frames: Float64[np.ndarray, "frames samples"]) -> Bool[np.ndarray, " frames"]:
    """Return which frames are not silent."""
    return frames.std(axis=1) >= 10 ** (SILENT_DB / 20)


def centroids(
    power: Float64[np.ndarray, "frames bins"], hz: Float64[np.ndarray, " bins"]
) -> Float64[np.ndarray, " frames"]:
    """Return the mean frequency of each spectrum, weighted with the magnitude, Hz."""
    magnitude = np.sqrt(power)
    return magnitude @ hz / magnitude.sum(axis=1)


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


def mel_levels_db(
    wave: Float[np.ndarray, " samples"], sample_rate: int
) -> Float64[np.ndarray, "frames n_mels"]:
    """Return the level of 40 mel bands every 20 ms, dB, with a soft floor at -60 dB."""
    n_fft = 2 ** round(math.log2(MEL_WINDOW_S * sample_rate))
    config = MelConfig(
        N_MELS, n_fft, win_length=n_fft, hop=round(MEL_HOP_S * sample_rate), f_max=None
    )
    mel = mel_spectrogram(torch.from_numpy(wave.astype(np.float32)), config, sample_rate)
    return 10 * np.log10(np.exp(2 * mel.numpy().astype(np.float64)) + 10 ** (MEL_FLOOR_DB / 10))


def onset_frames(mel_db: Float64[np.ndarray, "frames n_mels"]) -> list[int]:
    """Return the frames at which something begins.

    The spectral flux is the mean rise of the bands within 40 ms. An onset is a peak of it that
    exceeds the median of its surroundings by 3 dB.
    """
    if len(mel_db) <= FLUX_LAG:
        return []
    flux = np.maximum(mel_db[FLUX_LAG:] - mel_db[:-FLUX_LAG], 0).mean(axis=1)
    around = np.pad(flux, ONSET_CONTEXT, mode="edge")
    background = np.median(sliding_window_view(around, 2 * ONSET_CONTEXT + 1), axis=1)
    near = np.pad(flux, ONSET_GAP, constant_values=-math.inf)
    highest = sliding_window_view(near, 2 * ONSET_GAP + 1).max(axis=1)
    is_onset = (flux == highest) & (flux - background >= ONSET_DB)
    return [int(frame) + FLUX_LAG // 2 for frame in np.flatnonzero(is_onset)]


def _median(values: Float64[np.ndarray, " frames"]) -> float:
    return float(np.median(values)) if len(values) else math.nan


def _db(power: float) -> float:
    return 10 * math.log10(power + EPSILON)
