"""Linear prediction from a mel spectrogram, and the excitation.

An all-pole filter predicts every sample from the samples before it. The excitation is the error of
the prediction divided by its expected size. The filter contains the formants of a sound and, from
an order of about a hundred, its harmonics. Both come from the spectrogram alone, so a vocoder needs
to generate only the excitation (filter from a spectrum: Valin & Skoglund 2019, section 3.2; a
network that generates the excitation: Song et al. 2019, ExcitNet).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float32, Float64
from numpy.lib.stride_tricks import sliding_window_view

from samplewise.audio.mel import mel_filters
from samplewise.config.conditioning import MelConfig
from samplewise.native import can_load_native, native_module

FULL_SCALE = 32.0
"""Excitation at amplitude 1, in units of its expected size; larger values are clipped. The largest
value in eight recordings of speech was 14."""
LAG_WINDOW_HZ = 2.0
"""Width to which every spectral line is smoothed, the standard deviation of a Gaussian."""
WHITE_NOISE = 1e-6
"""Share of the power that is added as white noise, -60 dB, so that every filter decays."""
HANN_POWER = 0.375
"""Mean square of a Hann window."""


@dataclass(frozen=True)
class Prediction:
    """Prediction filters, each for one part of a frame."""

    weights: Float64[np.ndarray, "parts order"]
    """Weights of the previous samples, the latest first."""
    gain: Float64[np.ndarray, " parts"]
    """Expected root mean square of the prediction error, in amplitude."""


def predict(
    mel: Float32[np.ndarray, "frames n_mels"],
    config: MelConfig,
    sample_rate: int,
    order: int,
    parts: int,
) -> Prediction:
    """Return the filters of every frame but the last; the last frame serves for interpolation.

    The result has the same bits whether frames are passed in pairs or all at once.

    Bands are interpolated between frames, and powers between the centres of two bands, both on a
    logarithmic scale. The Fourier transform of the power is the autocorrelation, from which
    Levinson's recursion computes the filters.

    Args:
        mel: A spectrogram from :func:`samplewise.audio.mel.mel_spectrogram`.
        config: Parameters of the spectrogram.
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
    return levinson(lags)


def excitation(
    wave: Float[np.ndarray, " samples"], prediction: Prediction
) -> Float32[np.ndarray, " excited"]:
    """Return the excitation of a sound as an amplitude: ±1 is :data:`FULL_SCALE` gains.

    Args:
        wave: Amplitude; the first ``order`` samples precede the first predicted one, and the
            number of the others is a multiple of the number of parts.
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

    The compiled module does the work where it is there.

    Args:
        excited: Amplitude of the excitation.
        prediction: Filters.
        past: The last ``order`` samples of the sound so far.
    """
    parts, order = prediction.weights.shape
    hold = len(excited) // parts
    rests = excited * (FULL_SCALE * prediction.gain).repeat(hold)
    sound = np.concatenate([past, rests])
    if can_load_native():
        native_module().run_synthesis(prediction.weights, sound)
        return sound[order:]
    oldest_first = np.ascontiguousarray(prediction.weights[:, ::-1])
    for t in range(len(rests)):
        sound[order + t] += oldest_first[t // hold] @ sound[t : order + t]
    return sound[order:]


def levinson(lags: Float64[np.ndarray, "parts lags"]) -> Prediction:
    """Solve the normal equations of all parts (Levinson & Durbin).

    The compiled module does the work where it is there.
    """
    parts, order = len(lags), lags.shape[1] - 1
    if can_load_native():
        found, power = np.empty((parts, order)), np.empty(parts)
        native_module().run_levinson(np.ascontiguousarray(lags), found, power)
        return Prediction(found, np.sqrt(power))
    # One row per delay. A single column would be summed in another order: two at least.
    rows = np.repeat(lags.T, 2 if parts == 1 else 1, axis=1)
    weights, products = np.zeros((2, order, rows.shape[1]))
    error = rows[0].copy()
    for i in range(order):
        known, product = weights[:i], products[:i]
        np.multiply(known, rows[i:0:-1], out=product)
        reflection = (rows[i + 1] - product.sum(0)) / error
        np.multiply(known[::-1], reflection, out=product)
        known -= product
        weights[i] = reflection
        error *= 1 - reflection**2
    return Prediction(np.ascontiguousarray(weights[:, :parts].T), np.sqrt(error[:parts]))


@lru_cache
def interpolation(
    config: MelConfig, sample_rate: int
) -> tuple[Float64[np.ndarray, "used bins"], Float64[np.ndarray, " n_mels"]]:
    """Return the interpolation from non-empty bands to bins, and the area of every band."""
    bank = mel_filters(config, sample_rate).double().numpy()
    areas, bins = bank.sum(1), np.arange(bank.shape[1], dtype=float)
    used = bank[areas > 0]
    centres = used @ bins / used.sum(1)
    return np.stack([np.interp(bins, centres, row) for row in np.eye(len(used))]), areas
