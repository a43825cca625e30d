"""Mel spectrograms, and their inversion to sound (Griffin & Lim 1984)."""

import math
from functools import lru_cache

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from samplewise.config.conditioning import MelConfig

FLOOR = 1e-5
"""Smallest magnitude of a band; its logarithm is the value of silence."""
SILENCE = math.log(FLOOR)
BLOCK_FRAMES = 4096
"""Frames that are transformed at once, so that memory does not grow with the length."""
BREAK_HZ, HZ_PER_MEL = 1000.0, 200.0 / 3
HTK_HZ = 700.0
"""Corner frequency of the HTK scale, on which mels are proportional to ln(1 + f / 700 Hz)."""
LOG_STEP = math.log(6.4) / 27
"""ln of the ratio of neighbouring mels above the break (Slaney 1998, Auditory Toolbox)."""


def mel_spectrogram(
    wave: Float[Tensor, " samples"], config: MelConfig, sample_rate: int, start: int = 0
) -> Float[Tensor, "frames n_mels"]:
    """Return the logarithms of the mel bands of every frame, at least :data:`SILENCE`.

    Args:
        wave: Amplitude, full scale ±1, at least one sample; beyond its ends there is silence.
        config: Windows and bands.
        sample_rate: Hz.
        start: Index of the sample on which frame 0 is centred.

    Returns:
        ceil((samples - start) / hop) frames; frame i is centred on sample start + i hop.
    """
    frames = -(-(len(wave) - start) // config.hop)
    left = config.n_fft // 2 - start
    right = (frames - 1) * config.hop + config.n_fft - left - len(wave)
    padded = torch.nn.functional.pad(wave, (left, right))  # a negative length cuts
    blocks = []
    for first in range(0, frames, BLOCK_FRAMES):
        count = min(BLOCK_FRAMES, frames - first)
        start = first * config.hop
        part = padded[start : start + (count - 1) * config.hop + config.n_fft]
        blocks.append(_log_mel(part.unfold(0, config.n_fft, config.hop), config, sample_rate))
    return torch.cat(blocks)


def griffin_lim(
    mel: Float[Tensor, "frames n_mels"],
    config: MelConfig,
    sample_rate: int,
    iterations: int = 60,
    momentum: float = 0.99,
    seed: int = 0,
) -> Float[Tensor, " samples"]:
    """Return a sound whose mel spectrogram is close to ``mel``, without training; a baseline.

    The magnitudes are the least-squares ones, clipped at 0; their phases are found by alternating
    projections (Griffin & Lim 1984), with the momentum of Perraudin et al. 2013.

    Args:
        mel: A spectrogram from :func:`mel_spectrogram`.
        config: Parameters of the spectrogram.
        sample_rate: Hz.
        iterations: Number of projections.
        momentum: In [0, 1); 0 is the plain algorithm.
        seed: Seed of the initial phases.

    Returns:
        frames x hop samples.
    """
    bank = mel_filters(config, sample_rate)
    magnitude = (torch.linalg.pinv(bank) @ mel.exp().T).clamp(min=0)  # (bins, frames)
    generator = torch.Generator().manual_seed(seed)
    phase = torch.rand(magnitude.shape, generator=generator) * 2 * math.pi
    angles, before = torch.polar(torch.ones_like(phase), phase), torch.zeros_like(magnitude)
    for _ in range(iterations):
        rebuilt = _stft(_istft(magnitude * angles, config), config)
        moved = rebuilt - (momentum / (1 + momentum)) * before
        angles, before = moved / moved.abs().clamp(min=1e-16), rebuilt
    return _istft(magnitude * angles, config)


@lru_cache
def mel_filters(
    config: MelConfig, sample_rate: int, is_htk: bool = False, has_unit_area: bool = True
) -> Float[Tensor, "n_mels bins"]:
    """Return triangular filters, evenly spaced on the mel scale of Slaney or of HTK.

    The filters have unit area or unit height.

    Raises:
        ValueError: If the lowest band would lie above half the sample rate.
    """
    high = min(config.f_max or sample_rate / 2, sample_rate / 2)
    if config.f_min >= high:
        raise ValueError(f"f_min = {config.f_min} Hz must lie below {high:g} Hz")
    hz = (_htk_edges if is_htk else _slaney_edges)(config.f_min, high, config.n_mels + 2)
    bins = torch.linspace(0, sample_rate / 2, config.n_fft // 2 + 1, dtype=torch.double)
    low, centre, top = hz[:-2, None], hz[1:-1, None], hz[2:, None]
    rising, falling = (bins - low) / (centre - low), (top - bins) / (top - centre)
    filters = torch.minimum(rising, falling).clamp(min=0)
    return (filters * 2 / (top - low) if has_unit_area else filters).float()


def _htk_edges(low: float, high: float, count: int) -> Tensor:
    low, high = (math.log1p(hz / HTK_HZ) for hz in (low, high))
    return HTK_HZ * torch.expm1(torch.linspace(low, high, count, dtype=torch.double))


def _slaney_edges(low: float, high: float, count: int) -> Tensor:
    edges = torch.linspace(_mel(low), _mel(high), count, dtype=torch.double)
    return torch.where(
        edges < BREAK_HZ / HZ_PER_MEL,
        edges * HZ_PER_MEL,
        BREAK_HZ * torch.exp(LOG_STEP * (edges - BREAK_HZ / HZ_PER_MEL)),
    )


def _mel(hz: float) -> float:
    if hz < BREAK_HZ:
        return hz / HZ_PER_MEL
    return BREAK_HZ / HZ_PER_MEL + math.log(hz / BREAK_HZ) / LOG_STEP


def _log_mel(
    windows: Float[Tensor, "frames n_fft"], config: MelConfig, sample_rate: int
) -> Float[Tensor, "frames n_mels"]:
    magnitude = torch.fft.rfft(windows * hann_window(config)).abs()
    return (magnitude @ mel_filters(config, sample_rate).T).clamp(min=FLOOR).log()


@lru_cache
def hann_window(config: MelConfig) -> Float[Tensor, " n_fft"]:
    """Return a Hann window, centred in the frame of the transform."""
    spare = config.n_fft - config.win_length
    hann = torch.hann_window(config.win_length)
    return torch.nn.functional.pad(hann, (spare // 2, spare - spare // 2))


def _stft(wave: Tensor, config: MelConfig) -> Complex[Tensor, "bins frames"]:
    spectrum = torch.stft(
        wave,
        config.n_fft,
        config.hop,
        window=hann_window(config),
        pad_mode="constant",
        return_complex=True,
    )
    return spectrum[:, : len(wave) // config.hop]


def _istft(
    spectrum: Complex[Tensor, "bins frames"], config: MelConfig
) -> Float[Tensor, " samples"]:
    """Invert the transform; a silent frame is added at the end, so that the last hop is whole."""
    longer = torch.nn.functional.pad(spectrum, (0, 1))
    length = spectrum.shape[1] * config.hop
    return torch.istft(longer, config.n_fft, config.hop, window=hann_window(config), length=length)
