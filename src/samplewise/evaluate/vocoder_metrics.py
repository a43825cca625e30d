"""Distances of vocoded sound from the original, and the baselines Griffin-Lim and noise."""

import math
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from samplewise.audio.lpc import FULL_SCALE, predict, synthesize
from samplewise.audio.mel import griffin_lim, mel_spectrogram
from samplewise.audio.mel_correction import as_amplitude, correct_sound
from samplewise.audio.resample import resample
from samplewise.config.conditioning import LPC_ORDER, ConditioningConfig, MelConfig
from samplewise.config.seeds import numpy_generator
from samplewise.evaluate.pitch import describe_tracker, track_f0

DB = 20 / math.log(10)
"""Decibels of a factor of e in magnitude."""
N_FFT, HOP = 1024, 256
"""Transform and hop of the log-spectral distance, in samples."""
SPECTRAL_FLOOR = 1e-3
"""Magnitude of the unscaled transform that counts as silence."""
LEAST_S = 0.5
"""Shortest sound, in seconds, that has STOI (segments of 384 ms) and PESQ."""
PESQ_HZ = 16000
"""Sample rate at which wideband PESQ is defined, Hz."""
PITCH_ERROR = 0.2
"""Relative error of a frame's pitch that counts as gross."""


@dataclass(frozen=True)
class VocodingScores:
    """Scores of a sound against its original."""

    mel_db: float
    """Mean absolute difference of the mel bands, in dB; lower is nearer."""
    spectral_db: float
    """Log-spectral distance: root mean square over frequencies, mean over time, dB."""
    f0_error: float
    """F0 frame error (Chu & Alwan 2009): share of the frames of 10 ms that are voiced in one sound
    alone, or whose pitch is off by more than a fifth, in [0, 1]."""
    stoi: float | None
    """Short-time objective intelligibility (Taal et al. 2011), up to 1; None without pystoi."""
    pesq: float | None
    """Wideband PESQ (ITU-T P.862.2), 1.0 to 4.6; None without pesq."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    def formatted(self) -> dict[str, str]:
        """Return each score as text, by its heading; a dash for an unknown one."""
        known = asdict(self)
        return {
            title: "–" if known[name] is None else format(known[name], layout)
            for name, (title, layout) in TITLES.items()
        }


TITLES = {
    "mel_db": ("Mel, dB", ".2f"),
    "spectral_db": ("Spectrum, dB", ".2f"),
    "f0_error": ("F0 error", ".1%"),
    "stoi": ("STOI", ".3f"),
    "pesq": ("PESQ", ".2f"),
}
"""Heading and number format of each score."""


def score_vocoding(
    original: Float32[np.ndarray, " samples"],
    made: Float32[np.ndarray, " samples"],
    mel: MelConfig,
    sample_rate: int,
) -> VocodingScores:
    """Compare two sounds of the same length.

    Args:
        original: The recording, full scale ±1.
        made: The sound that was generated from its mel spectrogram.
        mel: Parameters of the spectrogram.
        sample_rate: Hz.

    Raises:
        ValueError: If their lengths differ.
    """
    if len(original) != len(made):
        raise ValueError(f"the sounds have {len(original)} and {len(made)} samples, not as many")
    pair = torch.from_numpy(original), torch.from_numpy(made)
    first, second = (mel_spectrogram(wave, mel, sample_rate) for wave in pair)
    mel_db = DB * (first - second).abs().mean().item()
    gap = DB * (_log_spectrum(pair[0]) - _log_spectrum(pair[1]))
    spectral_db = gap.square().mean(1).sqrt().mean().item()
    is_long = len(original) >= LEAST_S * sample_rate
    return VocodingScores(
        mel_db,
        spectral_db,
        f0_frame_error(original, made, sample_rate),
        _stoi(original, made, sample_rate) if is_long else None,
        _pesq(original, made, sample_rate) if is_long else None,
    )


def f0_frame_error(
    original: Float32[np.ndarray, " samples"],
    made: Float32[np.ndarray, " samples"],
    sample_rate: int,
) -> float:
    """Return the F0 frame error, see :class:`VocodingScores`; 0 if there is no whole frame."""
    tracks = [track_f0(wave, sample_rate) for wave in (original, made)]
    count = min(map(len, tracks))  # the track of silence has a few frames more
    true, found = (track[:count] for track in tracks)
    both = ~np.isnan(true) & ~np.isnan(found)
    wrong = np.isnan(true) != np.isnan(found)
    wrong[both] = np.abs(found[both] / true[both] - 1) > PITCH_ERROR
    return float(wrong.mean()) if count else 0.0


def instruments() -> dict[str, str | None]:
    """Return the programs that measure pitch, STOI and PESQ; None if not installed."""
    optional = {"stoi": "pystoi", "pesq": "pesq"}
    found = {name: package if find_spec(package) else None for name, package in optional.items()}
    return {"f0": describe_tracker("auto"), **found}


def griffin_lim_of(
    wave: Float32[np.ndarray, " samples"], mel: MelConfig, sample_rate: int
) -> Float32[np.ndarray, " samples"]:
    """Return the sound that 60 iterations of Griffin-Lim make from a sound's mel spectrogram."""
    frames = mel_spectrogram(torch.from_numpy(wave), mel, sample_rate)
    made = griffin_lim(frames, mel, sample_rate).numpy()[: len(wave)]
    return as_amplitude(made)


def noise_of(
    wave: Float32[np.ndarray, " samples"],
    conditioning: ConditioningConfig,
    sample_rate: int,
    corrections: int,
) -> Float32[np.ndarray, " samples"]:
    """Return white noise, filtered and corrected by the mel spectrogram of a sound; a baseline.

    Noise takes the place of the excitation that a model generates. Filters and corrections are
    those of a vocoder.
    """
    mel = conditioning.mel
    assert mel is not None
    frames = mel_spectrogram(torch.from_numpy(wave), mel, sample_rate).numpy()
    order = conditioning.lpc_order or min(LPC_ORDER, mel.n_fft // 2)
    followed = np.concatenate([frames, frames[-1:]])
    found = predict(followed, mel, sample_rate, order, conditioning.upsampling)
    noise = numpy_generator(0, "noise").standard_normal(len(frames) * mel.hop)
    sound = as_amplitude(synthesize(noise / FULL_SCALE, found, np.zeros(order)))
    return correct_sound(sound, frames, mel, sample_rate, corrections)[: len(wave)]


def mean_scores(scores: list[VocodingScores]) -> VocodingScores:
    """Return the mean of each score over the sounds for which it is known."""
    rows = [asdict(score) for score in scores]
    means: dict[str, Any] = {}
    for name in TITLES:
        known = [row[name] for row in rows if row[name] is not None]
        means[name] = float(np.mean(known)) if known else None
    return VocodingScores(**means)


def _log_spectrum(wave: Float[Tensor, " samples"]) -> Float[Tensor, "frames bins"]:
    padded = torch.nn.functional.pad(wave, (0, N_FFT))
    windows = padded.unfold(0, N_FFT, HOP) * torch.hann_window(N_FFT)
    return torch.fft.rfft(windows).abs().clamp(min=SPECTRAL_FLOOR).log()


def _stoi(original: np.ndarray, made: np.ndarray, sample_rate: int) -> float | None:
    try:
        from pystoi import stoi
    except ModuleNotFoundError:
        return None
    return float(stoi(original.astype(float), made.astype(float), sample_rate))


def _pesq(original: np.ndarray, made: np.ndarray, sample_rate: int) -> float | None:
    try:
        # pesq is in no extra, because its sources require an old NumPy (docs/vocode.md).
        from pesq import NoUtterancesError, pesq  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        return None
    reference, degraded = (resample(wave, sample_rate, PESQ_HZ) for wave in (original, made))
    try:
        return float(pesq(PESQ_HZ, reference, degraded, "wb"))
    except NoUtterancesError:  # silence
        return None
