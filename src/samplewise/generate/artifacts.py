"""Flags for takes that need no listening: silence, noise, hiss, stuck loops.

The thresholds lie between synthetic faults and 775 clips of piano, speech, sneezes and crying
babies, none of which is flagged (docs/generate.md). No flag does not mean that a take is good.
"""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64

from samplewise.audio.descriptors import LEVEL_FRAME_S
from samplewise.audio.noise import (
    EPSILON,
    SILENT_DB,
    Noise,
    NoiseRange,
    frame_blocks,
    frame_length,
    is_sounding,
    measure_noise,
    power_spectra,
)

Flag = Literal["silence", "noise", "hiss", "stuck"]
BLOCK = 512
"""Frames that are looked at together: the memory does not grow with the take."""
SILENT_SHARE = 0.98
"""A take is silent when this share of its frames is."""
CLIPPED_AT = 0.98
"""Amplitude from which a sample counts as clipped."""
CLIPPED_SHARE = 0.02
"""A take is noise when this share of its samples is clipped."""
FLAT_SPECTRUM = 0.6
"""A take is noise when the spectral flatness of its sounding frames is above; white noise: 1."""
HISS_DB = {"noisiness_db": 6.0, "flatness_db": 6.0, "noise_floor_db": 15.0}
"""A take is hiss when a figure exceeds the 95th percentile of the training recordings by more;
noisiness as a ratio of noise to tones."""
MOST_NOISE = 0.999
"""Largest share of noise: a ratio of noise to tones is finite."""
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

TONE_S = 1.0
"""A take is stuck when this much of its end is one tone, seconds."""
TONE_SHARE = 0.5
"""Share of the power in one tone, in half of the frames or more."""
TONE_DB = 0.8
"""Largest standard deviation of the level of a tone that is held; notes decay."""


def find_artifacts(
    wave: Float[np.ndarray, " samples"],
    sample_rate: int,
    silence: float = 0.0,
    recordings: NoiseRange | None = None,
) -> dict[Flag, str]:
    """Return what is wrong with a take, with the reason in words; usually nothing.

    Args:
        wave: Amplitude, full scale ±1; at least 0.1 s, or nothing is said.
        sample_rate: Hertz.
        silence: Amplitude that the code of digital silence decodes to.
        recordings: How noisy the training recordings are; None: no take is flagged as hiss.
    """
    frame = round(LEVEL_FRAME_S * sample_rate)
    if len(wave) < 2 * frame:
        return {}
    frames = wave[: len(wave) // frame * frame].reshape(-1, frame)
    sounding = _in_blocks(frames, is_sounding)
    means = _in_blocks(frames, lambda part: part.mean(axis=1))
    resting = ~sounding & (np.abs(means) >= 10 ** (SILENT_DB / 20) + abs(silence))
    flags: dict[Flag, str] = {}
    silent = 1 - (sounding | resting).mean()
    if silent >= SILENT_SHARE:
        return {"silence": f"{silent:.0%} of its frames are below {SILENT_DB:g} dB"}
    clipped = (np.abs(wave) >= CLIPPED_AT).mean()
    flatness = spectral_flatness(frames, sounding)
    if clipped >= CLIPPED_SHARE:
        flags["noise"] = f"{clipped:.0%} of its samples are clipped"
    elif flatness > FLAT_SPECTRUM:
        flags["noise"] = f"the flatness of its mean spectrum is {flatness:.2f}; white noise: 1"
    elif (
        recordings
        and len(wave) >= frame_length(sample_rate)
        and (reason := hiss(measure_noise(wave, sample_rate), recordings))
    ):
        flags["hiss"] = reason
    looping = max(resting.mean(), looping_share(wave, sample_rate))
    change = spectral_change_db(wave, sample_rate)
    if looping >= STUCK_SHARE:
        flags["stuck"] = f"{looping:.0%} of it loops or rests"
    elif change < STEADY_DB:
        flags["stuck"] = f"its bands change by {change:.1f} dB in {STEADY_LAG_S:g} s"
    elif hz := ending_tone_hz(wave, sample_rate):
        flags["stuck"] = f"it ends in a steady tone of {hz:.0f} Hz"
    return flags


def hiss(noise: Noise, recordings: NoiseRange) -> str | None:
    """Return how much noisier a sound is than recordings, in words; None if it is not."""
    found = []
    for name, most in HISS_DB.items():
        value, (low, high) = getattr(noise, name), getattr(recordings, name)
        above = value - high
        if name == "noisiness_db":
            above = _noise_to_tone_db(value) - _noise_to_tone_db(high)
        if above > most:
            words = name.removesuffix("_db").replace("_", " ")
            found.append(f"{words} {value:.1f} dB (recordings {low:.1f} to {high:.1f})")
    return ", ".join(found) or None


def _noise_to_tone_db(noisiness_db: float) -> float:
    """Return the power between the partials relative to that of the partials, dB."""
    share = min(10 ** (noisiness_db / 10), MOST_NOISE)
    return 10 * math.log10(share / (1 - share))


def spectral_flatness(
    frames: Float[np.ndarray, "frames samples"], sounding: Bool[np.ndarray, " frames"]
) -> float:
    """Return the geometric over the arithmetic mean of the mean power spectrum of some frames.

    Frames are brought to the same level first. White noise: 1; one tone: near 0; no frames: 0.
    """
    if not sounding.any():
        return 0.0

    def power(part: Float64[np.ndarray, "frames samples"]) -> Float64[np.ndarray, "1 bands"]:
        part = part[is_sounding(part)]
        centred = part - part.mean(axis=1, keepdims=True)
        centred /= centred.std(axis=1, keepdims=True)
        spectrum = np.abs(np.fft.rfft(centred * np.hanning(part.shape[1]), axis=1)) ** 2
        return spectrum.sum(axis=0, keepdims=True)

    mean = _in_blocks(frames, power).sum(axis=0) / sounding.sum()
    mean = mean[2:-1] + 1e-12  # without the mean of the samples, which the window spreads
    return float(np.exp(np.log(mean).mean()) / mean.mean())


def spectral_change_db(wave: Float[np.ndarray, " samples"], sample_rate: int) -> float:
    """Return how much the levels of 32 bands change within a quarter of a second, on average.

    A drone changes by 3 to 4.5 dB, piano by 5 and more, speech by 12. Silent frames do not count;
    infinite if there is too little sound, or if its two halves differ in level: a note that decays.
    """
    hop = round(STEADY_LAG_S / 8 * sample_rate)
    if len(wave) < 20 * hop:
        return math.inf
    frames = np.lib.stride_tricks.sliding_window_view(wave, 2 * hop)[::hop]
    sounding = _in_blocks(frames, is_sounding)
    pairs = sounding[8:] & sounding[:-8]
    if pairs.sum() * hop < STEADY_LEAST_S * sample_rate:
        return math.inf
    edges = np.unique(np.geomspace(2, hop, 33).astype(int))

    def bands(part: Float64[np.ndarray, "frames samples"]) -> Float64[np.ndarray, "frames bands"]:
        spectrum = np.abs(np.fft.rfft(part * np.hanning(2 * hop), axis=1)) ** 2
        return 10 * np.log10(np.add.reduceat(spectrum, edges[:-1], axis=1) + 1e-6)

    levels = _in_blocks(frames, bands)
    first, second = np.array_split(levels[:-8][pairs].mean(axis=1), 2)
    if abs(first.mean() - second.mean()) > DECAY_DB:
        return math.inf
    return float(np.abs(levels[8:] - levels[:-8]).mean(axis=1)[pairs].mean())


def ending_tone_hz(wave: Float[np.ndarray, " samples"], sample_rate: int) -> float:
    """Return the frequency of the steady tone in which a take ends; 0 if it ends otherwise.

    A model that answers itself howls: most of the power of the last second is in one partial, whose
    level stays. Partials of real notes decay.
    """
    end = wave[-round(TONE_S * sample_rate) :]
    length = frame_length(sample_rate)
    if len(end) < round(TONE_S * sample_rate) or not _in_blocks(end[None], is_sounding).all():
        return 0.0
    power = np.concatenate([power_spectra(frames) for frames in frame_blocks(end, sample_rate)])
    peak = int(power.mean(axis=0).argmax())
    width = max(2, peak // 50)
    tone = power[:, max(0, peak - width) : peak + width + 1].sum(axis=1)
    levels = 10 * np.log10(tone + EPSILON)
    is_tone = np.median(tone / (power.sum(axis=1) + EPSILON)) >= TONE_SHARE
    return peak * sample_rate / length if is_tone and levels.std() < TONE_DB else 0.0


def looping_share(wave: Float[np.ndarray, " samples"], sample_rate: int) -> float:
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
        _similarity(wave[start - high : start + window].astype(np.float64), window, low)
        >= LOOP_CORRELATION
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


def _in_blocks(
    frames: Float[np.ndarray, "frames samples"], function: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Join what ``function`` says about some frames at a time, given in double precision."""
    starts = range(0, len(frames), BLOCK)
    return np.concatenate([function(frames[i : i + BLOCK].astype(np.float64)) for i in starts])
