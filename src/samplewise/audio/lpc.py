"""Linear prediction that follows from a mel spectrogram, and the excitation that it leaves.

Every sample is predicted from those before it by an all-pole filter; what remains, divided by how
large it should be, is the excitation. The filter gives a sound its formants and, from an order of
about a hundred, its harmonics; both come from the spectrogram alone, so a vocoder that draws
excitations knows them too (filter from a spectrum: Valin & Skoglund 2019, section 3.2; a network
that draws the excitation: Song et al. 2019, ExcitNet).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float32, Float64
from numpy.lib.stride_tricks import sliding_window_view

from samplewise.audio.mel import mel_filters
from samplewise.config.conditioning import MelConfig

FULL_SCALE = 32.0
"""Excitation, in units of its expected size, at amplitude 1; what is larger is clipped. The largest
of eight recordings of speech was 14."""
LAG_WINDOW_HZ = 2.0
"""Every spectral line is made about so wide, as a Gaussian's deviation."""
WHITE_NOISE = 1e-6
"""Share of the power that is added as white noise, -60 dB: no filter rings for ever."""
HANN_POWER = 0.375
"""Mean square of a Hann window."""


@dataclass(frozen=True)
class Prediction:
    """Filters that stay in force for a part of a frame each."""

    weights: Float64[np.ndarray, "parts order"]
    """Of the sample before, the one before that, and so on."""
    gain: Float64[np.ndarray, " parts"]
    """Expected root mean square of what remains, in amplitude."""


def predict(
    mel: Float32[np.ndarray, "frames n_mels"],
    config: MelConfig,
    sample_rate: int,
    order: int,
    parts: int,
) -> Prediction:
    """Return the filters of every frame but the last, which only leads to the one before it.

    They are the same bits whether frames come two by two or at once.

    Bands are interpolated between frames, and the power between the centres of two bands, both on a
    logarithmic scale. The transform of the power is the autocorrelation; Levinson's recursion does
    the rest.

    Args:
        mel: As :func:`samplewise.audio.mel.mel_spectrogram` gives it.
        config: Its parameters.
        sample_rate: Hz.
        order: Samples that a prediction looks back, at most half of n_fft.
        parts: Filters of each frame.
    """
    to_bins, areas = interpolation(config, sample_rate)
    share = ((np.arange(parts) + 0.5) / parts)[:, None]
    between = mel[:-1, None] * (1 - share) + mel[1:, None] * share
    levels = between[..., areas > 0] - np.log(areas[areas > 0])
    # A product for each frame: its rounding may depend on how many rows it has.
    power = np.exp(2 * np.concatenate([own @ to_bins for own in levels]))
    lags = np.fft.irfft(power, config.n_fft)[:, : order + 1]
    lags /= HANN_POWER * config.win_length
    width = 2 * np.pi * LAG_WINDOW_HZ / sample_rate
    lags *= np.exp(-0.5 * (width * np.arange(order + 1)) ** 2)
    lags[:, 0] *= 1 + WHITE_NOISE
    return _levinson(lags)


def excitation(
    wave: Float[np.ndarray, " samples"], prediction: Prediction
) -> Float32[np.ndarray, " excited"]:
    """Return what the predictions leave, as an amplitude: ±1 is :data:`FULL_SCALE` gains.

    Args:
        wave: Amplitude; the first ``order`` samples are those before the first predicted one, and
            the number of the others is a multiple of the number of parts.
        prediction: Filters.
    """
    parts, order = prediction.weights.shape
    hold = (len(wave) - order) // parts
    pasts = sliding_window_view(wave, order)[:-1].reshape(parts, hold, order)
    predicted = (pasts @ prediction.weights[:, ::-1, None])[..., 0]
    rest = wave[order:].reshape(parts, hold) - predicted
    scaled = rest / (FULL_SCALE * prediction.gain[:, None])
    return scaled.clip(-1, 1).astype(np.float32).reshape(-1)


def synthesize(
    excited: Float[np.ndarray, " excited"],
    prediction: Prediction,
    past: Float64[np.ndarray, " order"],
) -> Float64[np.ndarray, " excited"]:
    """Return the sound with this excitation: the inverse of :func:`excitation`.

    Args:
        excited: Amplitude of the excitation.
        prediction: Filters.
        past: The last ``order`` samples of the sound so far.
    """
    parts, order = prediction.weights.shape
    hold = len(excited) // parts
    oldest_first = np.ascontiguousarray(prediction.weights[:, ::-1])
    rests = excited * (FULL_SCALE * prediction.gain).repeat(hold)
    sound = np.concatenate([past, rests])
    for t in range(len(rests)):
        sound[order + t] += oldest_first[t // hold] @ sound[t : order + t]
    return sound[order:]


def _levinson(lags: Float64[np.ndarray, "parts lags"]) -> Prediction:
    """Solve the normal equations of every part side by side (Levinson & Durbin)."""
    order = lags.shape[1] - 1
    weights = np.zeros((len(lags), order))
    error = lags[:, 0].copy()
    for i in range(order):
        known = weights[:, :i].copy()
        reflection = (lags[:, i + 1] - (known * lags[:, i:0:-1]).sum(1)) / error
        weights[:, :i] -= reflection[:, None] * known[:, ::-1]
        weights[:, i] = reflection
        error *= 1 - reflection**2
    return Prediction(weights, np.sqrt(error))


@lru_cache
def interpolation(
    config: MelConfig, sample_rate: int
) -> tuple[Float64[np.ndarray, "used bins"], Float64[np.ndarray, " n_mels"]]:
    """Return what interpolates over the bands that are not empty, and the area of every band."""
    bank = mel_filters(config, sample_rate).double().numpy()
    areas, bins = bank.sum(1), np.arange(bank.shape[1], dtype=float)
    used = bank[areas > 0]
    centres = used @ bins / used.sum(1)
    return np.stack([np.interp(bins, centres, row) for row in np.eye(len(used))]), areas
