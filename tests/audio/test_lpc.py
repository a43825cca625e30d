import numpy as np
import pytest
import torch

from samplewise.audio import lpc
from samplewise.audio.lpc import (
    FULL_SCALE,
    Prediction,
    excitation,
    levinson,
    predict,
    synthesize,
)
from samplewise.audio.mel import SILENCE, mel_spectrogram
from samplewise.config.conditioning import ConditioningConfig, MelConfig

RATE = 16000
CONFIG = MelConfig()


def voice(samples=8 * CONFIG.hop, seed=0):
    """Noise through a resonance at 1000 Hz, and what drives it."""
    drive = 0.01 * np.random.default_rng(seed).standard_normal(samples)
    wave = np.zeros(samples + 2)
    angle, radius = 2 * np.pi * 1000 / RATE, 0.95
    for t in range(samples):
        wave[t + 2] = drive[t] + 2 * radius * np.cos(angle) * wave[t + 1] - radius**2 * wave[t]
    return wave[2:], drive


def filters(wave, order, parts=4):
    mel = mel_spectrogram(torch.from_numpy(wave).float(), CONFIG, RATE).numpy()
    return predict(np.concatenate([mel, mel[-1:]]), CONFIG, RATE, order, parts)


@pytest.mark.parametrize("order", [1, 5, 64, 192])  # of parts of 64 samples
def test_a_sound_comes_back_from_its_excitation(order):
    wave, _ = voice()
    past = np.random.default_rng(1).standard_normal(order) / 1000
    found = filters(wave, order)
    assert found.weights.shape == (8 * 4, order)
    excited = excitation(np.concatenate([past, wave]), found)
    assert 0 < np.abs(excited).max() < 1
    np.testing.assert_allclose(synthesize(excited, found, past), wave, atol=1e-6)


def test_the_excitation_is_what_the_definition_says():
    order, parts, hold = 3, 2, 4
    generator = np.random.default_rng(0)
    found = Prediction(generator.standard_normal((parts, order)), np.array([0.5, 2.0]))
    wave = generator.standard_normal(order + parts * hold)
    excited = excitation(wave, found)
    for t in range(parts * hold):
        part = t // hold
        expected = wave[order + t]
        for k in range(order):
            expected -= found.weights[part, k] * wave[order + t - 1 - k]
        expected /= FULL_SCALE * found.gain[part]
        assert excited[t] == pytest.approx(expected, abs=1e-6)


def test_sound_made_part_by_part_is_the_same_sound():
    wave, _ = voice()
    found, order = filters(wave, 100), 100
    excited = excitation(np.pad(wave, (order, 0)), found)
    whole = synthesize(excited, found, np.zeros(order))
    past, parts = np.zeros(order), []
    for index, drawn in enumerate(excited.reshape(-1, CONFIG.hop)):
        own = slice(4 * index, 4 * index + 4)
        parts.append(synthesize(drawn, Prediction(found.weights[own], found.gain[own]), past))
        past = np.concatenate([past, parts[-1]])[-order:]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def testlevinson_solves_the_normal_equations():
    generator = np.random.default_rng(0)
    spectra = np.exp(generator.standard_normal((4, 33)))
    lags = np.fft.irfft(spectra, 64)[:, :9]
    found = levinson(lags)
    for own, weights, gain in zip(lags, found.weights, found.gain, strict=True):
        matrix = own[np.abs(np.subtract.outer(np.arange(8), np.arange(8)))]
        np.testing.assert_allclose(matrix @ weights, own[1:], atol=1e-12)
        assert gain**2 == pytest.approx(own[0] - weights @ own[1:])


@pytest.mark.parametrize(("parts", "order"), [(1, 1), (5, 8), (3, 41)])
def test_the_compiled_module_gives_the_filters_and_sounds_of_numpy(parts, order, monkeypatch):
    generator = np.random.default_rng(order)
    waves = generator.standard_normal((parts, 400)).cumsum(1)
    lags = np.stack([[wave[: 400 - k] @ wave[k:] for k in range(order + 1)] for wave in waves])
    excited, past = generator.standard_normal(parts * 7) / 100, generator.standard_normal(order)
    found = []
    for is_there in (True, False):
        monkeypatch.setattr(lpc, "can_load_native", lambda is_there=is_there: is_there)
        prediction = levinson(lags)
        sound = synthesize(excited, prediction, past)
        found.append([prediction.weights, prediction.gain, sound])
    for ours, expected in zip(*found, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-9)


def test_what_drives_a_resonance_is_found():
    wave, drive = voice(64 * CONFIG.hop)
    found = filters(wave, 16)
    rest = excitation(np.pad(wave, (16, 0)), found).reshape(-1, 64) * FULL_SCALE
    inner = slice(16, -16)  # the ends are quieter than their windows say
    assert rest[inner].std() == pytest.approx(1, rel=0.15)
    sizes = (rest * found.gain[:, None])[inner].reshape(-1)
    kept = drive.reshape(-1, 64)[inner].reshape(-1)
    assert np.corrcoef(sizes, kept)[0, 1] > 0.95


def test_nearby_frames_share_their_filters_between_them():
    """The filters of a frame follow from it and the next alone, nearer to the nearer one."""
    mel = np.random.default_rng(0).uniform(-6, 0, (3, 80)).astype(np.float32)
    whole = predict(mel, CONFIG, RATE, 8, 2)
    second = predict(mel[1:], CONFIG, RATE, 8, 2)
    np.testing.assert_array_equal(whole.weights[2:], second.weights)
    np.testing.assert_array_equal(whole.gain[2:], second.gain)
    still = predict(mel[[0, 0]], CONFIG, RATE, 8, 2).weights[0]
    away = np.abs(whole.weights[:2] - still).sum(1)
    assert 0 < away[0] < away[1]


def test_silence_and_empty_bands_give_finite_filters():
    silent = np.full((2, 80), SILENCE, np.float32)
    found = predict(silent, CONFIG, RATE, 192, 4)
    assert 1e-6 < found.gain[0] < 1 / 32768
    narrow = MelConfig(n_mels=80, n_fft=64, win_length=64, hop=16, f_max=None)
    found = predict(silent, narrow, RATE, 32, 1)  # many bands lie between two bins
    assert np.isfinite(found.weights).all()
    assert np.isfinite(found.gain).all()


def test_impossible_orders_are_refused():
    with pytest.raises(ValueError, match=r"lpc_order = 513 must lie in \[0, 512\]"):
        ConditioningConfig(MelConfig(), lpc_order=513)
    with pytest.raises(ValueError, match=r"lpc_order = 1 must lie in \[0, 0\]"):
        ConditioningConfig(classes=("a",), lpc_order=1)
