"""Descriptors of a sound: level, silence, spectral centroid, onsets.

All are computed from the samples alone, at any rate, and mean the same at every length.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy.lib.stride_tricks import sliding_window_view

from samplewise.audio.mel import mel_spectrogram
from samplewise.audio.noise import (
    EPSILON,
    SILENT_DB,
    WINDOW_S,
    decibels,
    frame_blocks,
    frame_length,
    is_sounding,
    median,
    power_spectra,
)
from samplewise.config.conditioning import MelConfig

LEVEL_FRAME_S = 0.05
"""Length of the frames in which levels are measured, seconds."""
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
    onsets_per_s: float
    """Number of onsets in a second."""


def describe(wave: Float[np.ndarray, " samples"], sample_rate: int) -> Descriptors:
    """Return the descriptors of a sound.

    Args:
        wave: Amplitude, full scale ±1.
        sample_rate: Hz.

    Raises:
        ValueError: If the wave is shorter than a frame of 128 ms.
    """
    length = frame_length(sample_rate)
    if len(wave) < length:
        raise ValueError(
            f"a sound of {len(wave)} samples is too short: {length} are needed ({WINDOW_S} s)"
        )
    x = wave.astype(np.float64)
    levels = frame_levels_db(x, round(LEVEL_FRAME_S * sample_rate))
    loud = levels[levels >= SILENT_DB]
    low, high = np.quantile(loud, [0.10, 0.95]) if len(loud) else (math.nan, math.nan)
    hz = np.arange(length // 2 + 1) * sample_rate / length
    centres = [
        centroids(power_spectra(frames[is_sounding(frames)]), hz)
        for frames in frame_blocks(wave, sample_rate)
    ]
    onsets = onset_frames(mel_levels_db(wave, sample_rate))
    return Descriptors(
        level_db=decibels(float(x.var())),
        silence_share=float((levels < SILENT_DB).mean()),
        dynamics_db=float(high - low),
        centroid_hz=median(np.concatenate(centres)),
        onsets_per_s=len(onsets) * sample_rate / len(wave),
    )


def frame_levels_db(
    wave: Float64[np.ndarray, " samples"], frame: int
) -> Float64[np.ndarray, " frames"]:
    """Return the RMS of each whole frame about its mean, dB relative to full scale."""
    frames = wave[: len(wave) // frame * frame].reshape(-1, frame)
    return 10 * np.log10(frames.var(axis=1) + EPSILON)


def centroids(
    power: Float64[np.ndarray, "frames bins"], hz: Float64[np.ndarray, " bins"]
) -> Float64[np.ndarray, " frames"]:
    """Return the mean frequency of each spectrum, weighted with the magnitude, Hz."""
    magnitude = np.sqrt(power)
    return magnitude @ hz / magnitude.sum(axis=1)


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
