"""Fundamental frequency of speech, by Praat's tracker if it is installed, or by our own.

Both find the peak of a normalised autocorrelation in frames of three periods of the lowest
frequency (Boersma 1993, "Accurate short-term analysis of the fundamental frequency and the
harmonics-to-noise ratio of a sampled sound"), then the best path through the candidates of all
frames.
"""

import importlib.util
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64

from samplewise.audio.noise import is_sounding

Tracker = Literal["auto", "praat", "autocorrelation"]
"""Name of a tracker; ``auto`` is praat if parselmouth is installed (extra ``pitch``)."""
FRAME_S = 0.01
"""Seconds from one frame to the next."""
PERIODS = 3
"""Periods of the lowest frequency in a frame."""
OCTAVE_COST = 0.01
"""Cost per octave below the highest candidate, as in Praat."""
OCTAVE_JUMP_COST = 0.35
"""Cost per octave of a jump between two voiced frames, as in Praat."""
VOICING_COST = 0.14
"""Cost of a change between voiced and unvoiced, as in Praat."""
CANDIDATES = 6
"""Number of peaks that are kept of each frame."""
LAG_RATE = 32000
"""Lowest number of lags per second; autocorrelations of lower rates are interpolated."""
HARMONIC_CEILING_HZ, HARMONIC_HOP_S = 1000.0, 0.02
"""Highest fundamental frequency that harmonicity looks for, and seconds between its frames."""
BLOCK_FRAMES = 512
"""Number of frames that are transformed at once, to bound the memory."""


@dataclass(frozen=True)
class PitchSettings:
    """Range and thresholds of a pitch tracker; the thresholds are Praat's defaults."""

    floor_hz: float = 60.0
    """Lowest frequency, Hz."""
    ceiling_hz: float = 400.0
    """Highest frequency, Hz."""
    voicing_threshold: float = 0.45
    """Autocorrelation above which a frame is voiced, in [0, 1]."""
    silence_threshold: float = 0.03
    """Share of the segment's peak below which a frame needs a higher autocorrelation."""
    least_voiced_s: float = 0.2
    """Shortest voiced duration for which a segment has a mean, seconds."""

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0 < self.floor_hz < self.ceiling_hz < math.inf:
            raise ValueError(
                f"floor_hz, ceiling_hz = {self.floor_hz}, {self.ceiling_hz} must be positive "
                "and in order"
            )


READ_SPEECH = PitchSettings()
"""Settings for adults who read aloud."""


def resolve_tracker(tracker: Tracker = "auto") -> Tracker:
    """Return ``praat`` or ``autocorrelation``.

    Raises:
        ValueError: If Praat's was asked for and parselmouth is not installed.
    """
    has_praat = importlib.util.find_spec("parselmouth") is not None
    if tracker == "auto":
        return "praat" if has_praat else "autocorrelation"
    if tracker == "praat" and not has_praat:
        raise ValueError(
            "tracker = 'praat' needs parselmouth, which is not installed: "
            "pip install 'samplewise[pitch]', or use 'autocorrelation'"
        )
    return tracker


def describe_tracker(tracker: Tracker) -> str:
    """Return name and version of a tracker: ``praat 6.1.38 (parselmouth 0.4.7)``."""
    if resolve_tracker(tracker) == "autocorrelation":
        return "autocorrelation"
    import parselmouth

    return f"praat {parselmouth.PRAAT_VERSION} (parselmouth {parselmouth.__version__})"


def track_f0(
    wave: Float[np.ndarray, " samples"],
    sample_rate: int,
    settings: PitchSettings = READ_SPEECH,
    tracker: Tracker = "auto",
) -> Float64[np.ndarray, " frames"]:
    """Return the fundamental frequency of each frame of 10 ms, Hz; NaN where there is no voice.

    Args:
        wave: Amplitude; neither its level nor a constant offset matters.
        sample_rate: Hz; at least four times the ceiling.
        settings: Range and thresholds.
        tracker: Name of the tracker.

    Raises:
        ValueError: If the wave is not finite or the sample rate too low.
    """
    if sample_rate < 4 * settings.ceiling_hz:
        raise ValueError(
            f"sample_rate = {sample_rate} must be at least four times "
            f"ceiling_hz = {settings.ceiling_hz:g}; lower the ceiling"
        )
    if not np.isfinite(wave).all():
        raise ValueError("wave must be finite, but it holds NaN or infinity")
    x = wave.astype(np.float64)
    x = x - x.mean() if x.size else x
    frame = math.ceil(PERIODS * sample_rate / settings.floor_hz)
    if len(x) <= frame + 1 or not x.any():  # too short for a frame, or constant
        return np.full(max(0, round(len(x) / sample_rate / FRAME_S)), math.nan)
    if resolve_tracker(tracker) == "praat":
        return _praat(x, sample_rate, settings)
    return _autocorrelation(x, sample_rate, settings, frame)


def mean_f0(
    wave: Float[np.ndarray, " samples"],
    sample_rate: int,
    settings: PitchSettings = READ_SPEECH,
    tracker: Tracker = "auto",
) -> float | None:
    """Return the mean fundamental frequency of a segment over its voiced frames, Hz.

    The result is None for silence, noise or whispering: if less than ``settings.least_voiced_s``
    is voiced. See :func:`track_f0`.
    """
    return mean_of_voiced(track_f0(wave, sample_rate, settings, tracker), settings)


def mean_of_voiced(f0: Float64[np.ndarray, " frames"], settings: PitchSettings) -> float | None:
    """Return the mean of the frames that are not NaN, Hz; None if they are too few."""
    voiced = f0[~np.isnan(f0)]
    is_enough = len(voiced) * FRAME_S >= settings.least_voiced_s and len(voiced) > 0
    return float(voiced.mean()) if is_enough else None


def harmonicity(wave: Float[np.ndarray, " samples"], sample_rate: int) -> float:
    """Return the median autocorrelation at the best period of each frame that sounds, in [0, 1].

    Boersma 1993: r of a period, so that 10 log10(r / (1 - r)) is the harmonics-to-noise ratio.
    NaN if nothing sounds.

    Args:
        wave: Amplitude, full scale ±1.
        sample_rate: Hz.
    """
    settings = PitchSettings(ceiling_hz=min(HARMONIC_CEILING_HZ, sample_rate / 4))
    frame = math.ceil(PERIODS * sample_rate / settings.floor_hz)
    if len(wave) < frame:
        return math.nan
    hop = max(1, round(HARMONIC_HOP_S * sample_rate))
    frames = np.lib.stride_tricks.sliding_window_view(wave.astype(np.float64), frame)[::hop]
    frames = frames[is_sounding(frames)]
    frames = frames - frames.mean(1, keepdims=True)
    best = [
        _periods(frames[start : start + BLOCK_FRAMES], sample_rate, settings)[1].max(1)
        for start in range(0, len(frames), BLOCK_FRAMES)
    ]
    return float(np.median(np.concatenate(best).clip(0, 1))) if best else math.nan


def _praat(
    x: Float64[np.ndarray, " samples"], sample_rate: int, settings: PitchSettings
) -> Float64[np.ndarray, " frames"]:
    import parselmouth

    pitch = parselmouth.Sound(x, float(sample_rate)).to_pitch_ac(
        time_step=FRAME_S,
        pitch_floor=settings.floor_hz,
        pitch_ceiling=settings.ceiling_hz,
        voicing_threshold=settings.voicing_threshold,
        silence_threshold=settings.silence_threshold,
        octave_cost=OCTAVE_COST,
        octave_jump_cost=OCTAVE_JUMP_COST,
        voiced_unvoiced_cost=VOICING_COST,
    )
    f0 = np.asarray(pitch.selected_array["frequency"], np.float64)
    return np.where(f0 > 0, f0, math.nan)


def _autocorrelation(
    x: Float64[np.ndarray, " samples"], sample_rate: int, settings: PitchSettings, frame: int
) -> Float64[np.ndarray, " frames"]:
    hop = max(1, round(FRAME_S * sample_rate))
    frames = np.lib.stride_tricks.sliding_window_view(x, frame)[::hop]
    peak = float(np.abs(x).max())
    blocks = [
        _candidates(frames[start : start + BLOCK_FRAMES], sample_rate, settings, peak)
        for start in range(0, len(frames), BLOCK_FRAMES)
    ]
    hz, strength = (np.concatenate(part) for part in zip(*blocks, strict=True))
    return _best_path(hz, strength)


def _candidates(
    frames: Float64[np.ndarray, "frames samples"],
    sample_rate: int,
    settings: PitchSettings,
    peak: float,
) -> tuple[Float64[np.ndarray, "frames candidates"], Float64[np.ndarray, "frames candidates"]]:
    """Return frequencies and strengths of each frame's candidates; the first, NaN, is unvoiced."""
    centred = frames - frames.mean(1, keepdims=True)
    hz, height = _periods(centred, sample_rate, settings)
    height = height - OCTAVE_COST * np.log2(settings.floor_hz / hz)
    best = np.argsort(-height, axis=1)[:, :CANDIDATES]
    loudness = np.abs(centred).max(1) / peak
    quiet = 2 - loudness * (1 + settings.voicing_threshold) / settings.silence_threshold
    unvoiced = settings.voicing_threshold + np.maximum(0, quiet)
    frequencies = np.take_along_axis(hz, best, 1)
    strengths = np.take_along_axis(height, best, 1)
    return (
        np.concatenate([np.full((len(frames), 1), math.nan), frequencies], 1),
        np.concatenate([unvoiced[:, None], strengths], 1),
    )


def _periods(
    centred: Float64[np.ndarray, "frames samples"], sample_rate: int, settings: PitchSettings
) -> tuple[Float64[np.ndarray, "frames lags"], Float64[np.ndarray, "frames lags"]]:
    """Return frequency and autocorrelation at each lag; -inf but at peaks within the range."""
    fine = math.ceil(LAG_RATE / sample_rate)
    r = _normalised(centred, math.ceil(fine * sample_rate / settings.floor_hz) + 1, fine)
    is_peak, lag, height = _peaks(r)
    hz = fine * sample_rate / np.maximum(lag, 0.5)
    is_candidate = is_peak & (hz >= settings.floor_hz) & (hz <= settings.ceiling_hz)
    return hz, np.where(is_candidate, height, -math.inf)


def _best_path(
    hz: Float64[np.ndarray, "frames candidates"], strength: Float64[np.ndarray, "frames candidates"]
) -> Float64[np.ndarray, " frames"]:
    """Return the path of frequencies with the largest sum of strengths minus costs."""
    octave = np.log2(hz)
    total, came_from = strength[0], []
    for frame in range(1, len(hz)):
        jump = OCTAVE_JUMP_COST * np.abs(octave[frame - 1][:, None] - octave[frame])
        cost = np.where(np.isnan(jump), VOICING_COST, jump)
        cost[0, 0] = 0.0  # silence to silence
        reached = total[:, None] - cost
        came_from.append(reached.argmax(0))
        total = reached.max(0) + strength[frame]
    path = [int(total.argmax())]
    for back in reversed(came_from):
        path.append(int(back[path[-1]]))
    return np.take_along_axis(hz, np.array(path[::-1])[:, None], 1)[:, 0]


def _normalised(
    frames: Float64[np.ndarray, "frames samples"], lags: int, fine: int
) -> Float64[np.ndarray, "frames {lags}+1"]:
    """Return the autocorrelation of each frame divided by that of its window; 1 at lag 0.

    Lags are in 1 / ``fine`` of a sample: zeros after the power spectrum interpolate exactly.
    """
    samples = frames.shape[1]
    window = np.hanning(samples + 2)[1:-1]
    size = 2 ** math.ceil(math.log2(samples + lags / fine + 1))
    stacked = np.concatenate([frames * window, window[None]])
    power = np.abs(np.fft.rfft(stacked, size)) ** 2
    r = np.fft.irfft(power, size * fine)[:, : lags + 1]
    energy = r[:, :1]
    r = np.divide(r, energy, out=np.zeros_like(r), where=energy > 0)
    return r[:-1] / r[-1]


def _peaks(
    r: Float64[np.ndarray, "frames lags"],
) -> tuple[
    Bool[np.ndarray, "frames lags-2"],
    Float64[np.ndarray, "frames lags-2"],
    Float64[np.ndarray, "frames lags-2"],
]:
    """Return where the peaks are, and their lags and heights by parabolic interpolation."""
    left, middle, right = r[:, :-2], r[:, 1:-1], r[:, 2:]
    is_peak = (middle > left) & (middle >= right)
    bend = np.where(is_peak, np.minimum(left - 2 * middle + right, -1e-12), -1.0)
    slope = (right - left) / 2
    shift = -slope / bend
    return is_peak, np.arange(1, r.shape[1] - 1) + shift, middle - slope**2 / (2 * bend)
