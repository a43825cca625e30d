"""Flags for takes that need no listening: silence, noise, stuck loops.

The thresholds lie between synthetic faults and 775 clips of piano, speech, sneezes and crying
babies, none of which is flagged (docs/generate.md). No flag does not mean that a take is good.
"""

import math
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64

Flag = Literal["silence", "noise", "stuck"]
FRAME_S = 0.05
"""Length of the frames in which levels are measured, seconds."""
SILENT_DB = -55.0
"""Below this RMS (dB relative to full scale, without the mean) a frame is silent."""
SILENT_SHARE = 0.98
"""A take is silent when this share of its frames is."""
CLIPPED_AT = 0.98
"""Amplitude from which a sample counts as clipped."""
CLIPPED_SHARE = 0.02
"""A take is noise when this share of its samples is clipped."""
FLAT_SPECTRUM = 0.6
"""A take is noise when the spectral flatness of its sounding frames is above; white noise: 1."""
LOOP_WINDOW_S = 1.0
"""Loops are looked for in windows of this length, seconds."""
LOOP_LAGS_S = (0.5, 1.5)
"""A loop is what comes back after some time in this range; a shorter one does so many times."""
LOOP_CORRELATION = 0.95
"""How alike a window and what came before it must be, level included; 1: the same."""
STUCK_SHARE = 0.3
"""A take is stuck when this share of its windows loops, or rests at a value that is not 0."""

STEADY_LAG_S = 0.25
"""Spectra so far apart are compared, seconds."""
STEADY_DB = 4.6
"""A take is stuck when its bands change by less than this, on average, over that time."""
DECAY_DB = 6.0
"""Halves that differ by more are a note that decays or swells, however steadily."""
STEADY_LEAST_S = 2.0
"""Sound that a take must hold before it can be called steady."""


def screen(wave: Float[np.ndarray, " samples"], sample_rate: int) -> tuple[Flag, ...]:
    """Return what is wrong with a take; usually nothing.

    Args:
        wave: Amplitude, full scale ±1; at least 0.1 s, or nothing is said.
        sample_rate: Hertz.
    """
    frame = round(FRAME_S * sample_rate)
    if len(wave) < 2 * frame:
        return ()
    x = wave.astype(np.float64)
    frames = x[: len(x) // frame * frame].reshape(-1, frame)
    sounding = frames.std(axis=1) >= 10 ** (SILENT_DB / 20)
    resting = ~sounding & (np.abs(frames.mean(axis=1)) >= 10 ** (SILENT_DB / 20))
    flags: list[Flag] = []
    if (sounding | resting).mean() <= 1 - SILENT_SHARE:
        return ("silence",)
    clipped = (np.abs(x) >= CLIPPED_AT).mean()
    if clipped >= CLIPPED_SHARE or spectral_flatness(frames[sounding]) > FLAT_SPECTRUM:
        flags.append("noise")
    loops = max(resting.mean(), looping_share(x, sample_rate)) >= STUCK_SHARE
    if loops or spectral_change_db(x, sample_rate) < STEADY_DB:
        flags.append("stuck")
    return tuple(flags)


def spectral_flatness(frames: Float64[np.ndarray, "frames samples"]) -> float:
    """Return the geometric over the arithmetic mean of the mean power spectrum.

    Frames are brought to the same level first. White noise: 1; one tone: near 0; no frames: 0.
    """
    if not len(frames):
        return 0.0
    centred = frames - frames.mean(axis=1, keepdims=True)
    centred = centred / centred.std(axis=1, keepdims=True)
    spectrum = np.abs(np.fft.rfft(centred * np.hanning(frames.shape[1]), axis=1)) ** 2
    power = spectrum.mean(axis=0)[2:-1] + 1e-12  # without the mean, which the window spreads
    return float(np.exp(np.log(power).mean()) / power.mean())


def spectral_change_db(wave: Float64[np.ndarray, " samples"], sample_rate: int) -> float:
    """Return how much the levels of 32 bands change within a quarter of a second, on average.

    A drone changes by 3 to 4.5 dB, piano by 5 and more, speech by 12. Silent frames do not count;
    infinite if there is too little sound, or if its two halves differ in level: a note that decays.
    """
    hop = round(STEADY_LAG_S / 8 * sample_rate)
    if len(wave) < 20 * hop:
        return math.inf
    frames = np.lib.stride_tricks.sliding_window_view(wave, 2 * hop)[::hop]
    sounding = frames.std(axis=1) >= 10 ** (SILENT_DB / 20)
    pairs = sounding[8:] & sounding[:-8]
    if pairs.sum() * hop < STEADY_LEAST_S * sample_rate:
        return math.inf
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(2 * hop), axis=1)) ** 2
    edges = np.unique(np.geomspace(2, spectrum.shape[1] - 1, 33).astype(int))
    levels = 10 * np.log10(np.add.reduceat(spectrum, edges[:-1], axis=1) + 1e-6)
    first, second = np.array_split(levels[:-8][pairs].mean(axis=1), 2)
    if abs(first.mean() - second.mean()) > DECAY_DB:
        return math.inf
    return float(np.abs(levels[8:] - levels[:-8]).mean(axis=1)[pairs].mean())


def looping_share(wave: Float64[np.ndarray, " samples"], sample_rate: int) -> float:
    """Return the share of windows that repeat what lies 0.5 s to 1.5 s before them.

    Short takes are searched with shorter windows and lags; silent windows never repeat.
    """
    scale = min(1.0, len(wave) / sample_rate / (2 * (LOOP_WINDOW_S + LOOP_LAGS_S[1])))
    window = round(scale * LOOP_WINDOW_S * sample_rate)
    low, high = (round(scale * lag * sample_rate) for lag in LOOP_LAGS_S)
    starts = range(high, len(wave) - window + 1, window)
    if not starts or low < 1:
        return 0.0
    loops = [
        _similarity(wave[start - high : start + window], window, low) >= LOOP_CORRELATION
        for start in starts
    ]
    return sum(loops) / len(loops)


def _similarity(x: Float64[np.ndarray, " samples"], window: int, low: int) -> float:
    """Return 2 <a, b> / (|a|^2 + |b|^2) of the last ``window`` samples and the best earlier ones.

    It is 1 only if both are equal, level included; ``low`` is the smallest lag.
    """
    x = x - x[-window:].mean()
    recent = x[-window:]
    energy = float(recent @ recent)
    if math.sqrt(energy / window) < 10 ** (SILENT_DB / 20):
        return 0.0
    size = 2 ** math.ceil(math.log2(len(x) + window))
    products = np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(recent, size).conj(), size)
    products = products[: len(x) - window - low + 1]  # by place; the last has the smallest lag
    squares = np.concatenate([[0.0], np.cumsum(x * x)])
    energies = squares[window : window + len(products)] - squares[: len(products)]
    return float((2 * products / (energy + energies)).max())
