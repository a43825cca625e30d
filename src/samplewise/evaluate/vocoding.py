"""How near a vocoder's sound is to the original, and to what Griffin-Lim makes of the same mels."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from samplewise.audio.mel import griffin_lim, mel_spectrogram
from samplewise.config.conditioning import MelConfig

DB = 20 / math.log(10)
"""Decibels of a magnitude that is e times as large."""
N_FFT, HOP = 1024, 256
"""Of the log-spectral distance, in samples."""
SPECTRAL_FLOOR = 1e-3
"""Magnitude, of an unscaled transform, that counts as silence."""
STOI_LEAST_S = 0.5
"""Shorter sounds have no STOI: it looks at 384 ms at a time."""


@dataclass(frozen=True)
class VocodingScores:
    """One sound against its original."""

    mel_db: float
    """Mean absolute difference of the mel bands that the vocoder was told, dB; lower is nearer."""
    spectral_db: float
    """Log-spectral distance: root mean square over frequencies, mean over time, dB."""
    stoi: float | None
    """Short-time objective intelligibility (Taal et al. 2011), up to 1; None without pystoi."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def score_vocoding(
    original: Float32[np.ndarray, " samples"],
    made: Float32[np.ndarray, " samples"],
    mel: MelConfig,
    sample_rate: int,
) -> VocodingScores:
    """Compare two sounds of the same length.

    Args:
        original: The recording, full scale ±1.
        made: What was made of its mel spectrogram.
        mel: Parameters of that.
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
    return VocodingScores(mel_db, spectral_db, _stoi(original, made, sample_rate))


def griffin_lim_of(
    wave: Float32[np.ndarray, " samples"], mel: MelConfig, sample_rate: int
) -> Float32[np.ndarray, " samples"]:
    """Return what 60 iterations of Griffin-Lim make of the mel spectrogram of a sound."""
    frames = mel_spectrogram(torch.from_numpy(wave), mel, sample_rate)
    made = griffin_lim(frames, mel, sample_rate).numpy()[: len(wave)]
    return np.clip(made, -1, 1).astype(np.float32)


def mean_scores(scores: list[VocodingScores]) -> VocodingScores:
    """Return the mean of each score over several sounds."""
    known = [score.stoi for score in scores if score.stoi is not None]
    return VocodingScores(
        float(np.mean([score.mel_db for score in scores])),
        float(np.mean([score.spectral_db for score in scores])),
        float(np.mean(known)) if known else None,
    )


def _log_spectrum(wave: Float[Tensor, " samples"]) -> Float[Tensor, "frames bins"]:
    padded = torch.nn.functional.pad(wave, (0, N_FFT))
    windows = padded.unfold(0, N_FFT, HOP) * torch.hann_window(N_FFT)
    return torch.fft.rfft(windows).abs().clamp(min=SPECTRAL_FLOOR).log()


def _stoi(original: np.ndarray, made: np.ndarray, sample_rate: int) -> float | None:
    if len(original) < STOI_LEAST_S * sample_rate:
        return None
    try:
        from pystoi import stoi
    except ModuleNotFoundError:
        return None
    return float(stoi(original.astype(float), made.astype(float), sample_rate))
