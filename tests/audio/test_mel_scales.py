"""Scales of other programs: each is converted back to ours, and recognised without being named."""

import math

import numpy as np
import pytest
import torch

from samplewise.audio.mel import SILENCE, mel_filters, mel_spectrogram
from samplewise.audio.mel_scales import convert, doubt, measure, usual_statistics
from samplewise.config.conditioning import MelConfig
from samplewise.config.mel_scale import MelScale

CONFIG, RATE = MelConfig(), 16000


def noise(seed, seconds=1.0):
    """Noise with the tilt, the syllables and the pauses of speech, ln of amplitudes."""
    generator = np.random.default_rng(seed)
    wave = generator.normal(size=round(seconds * RATE))
    wave = np.convolve(wave, 0.9 ** np.arange(60))[: len(wave)]
    wave *= 0.03 * np.exp(2 * np.sin(np.arange(len(wave)) / 800 + seed))
    wave[len(wave) // 2 :][:3000] = 0
    return mel_spectrogram(torch.from_numpy(wave.clip(-1, 1)).float(), CONFIG, RATE).numpy()


MEL = noise(0).astype(np.float64)
TRAINED = measure([noise(seed) for seed in range(1, 5)])
DB, AMPLITUDE = MEL * 20 / math.log(10), np.exp(MEL)
AREAS = mel_filters(CONFIG, RATE).sum(1).numpy()
POWER = AMPLITUDE**2 / AREAS
SCALES = {
    "log10": (MEL / math.log(10), MelScale("log10"), "--mel-scale log10"),
    "db": (DB, MelScale("db"), "--mel-scale db"),
    "[0, 1]": ((DB + 80) / 100, MelScale("db", 100.0, -80.0), "--mel-factor 100 --mel-shift -80"),
    "[-4, 4]": (DB / 12.5 + 2.4, MelScale("db", 12.5, -30.0), "--mel-factor 12.5 --mel-shift -30"),
    "16 bit": (MEL + 10.397, MelScale(shift=-10.397), "--mel-shift -10.397"),
    "amplitude": (AMPLITUDE, MelScale("amplitude"), "--mel-scale amplitude, or power if of powers"),
    "power": (POWER, MelScale("power"), "--mel-scale power, or amplitude if of amplitudes"),
    "ln-power": (np.log(POWER), MelScale("ln-power"), None),
    "log10-power": (np.log10(POWER), MelScale("log10-power"), None),
    "db-power": (10 * np.log10(POWER), MelScale("db-power"), "db-power if of powers"),
}


@pytest.mark.parametrize("name", SCALES)
def test_every_scale_is_converted_to_ours(name):
    values, scale, _ = SCALES[name]
    found = convert(values.astype(np.float32), scale, CONFIG, RATE)
    np.testing.assert_allclose(found, MEL, atol=2e-4)


@pytest.mark.parametrize("name", [name for name in SCALES if SCALES[name][2]])
def test_another_scale_is_recognised_and_named(name):
    values, _, flags = SCALES[name]
    found = doubt(values, TRAINED, CONFIG, RATE)
    assert found is not None
    assert flags in found[1]


@pytest.mark.parametrize("name", [name for name in SCALES if SCALES[name][2] and name != "log10"])
def test_without_statistics_it_is_doubted_all_the_same(name):
    assert doubt(SCALES[name][0], usual_statistics(80), CONFIG, RATE) is not None


def test_ours_is_not_doubted_loud_or_quiet_short_or_silent():
    for mel in (MEL, (MEL - 3).clip(SILENCE), MEL + 0.7, MEL[10:14], np.full((5, 80), SILENCE)):
        assert doubt(mel, TRAINED, CONFIG, RATE) is None
        assert not (doubt(mel, usual_statistics(80), CONFIG, RATE) or [False])[0]


def test_a_lower_floor_is_named():
    words = doubt(np.where(MEL.min() == MEL, -23.0, MEL), TRAINED, CONFIG, RATE)
    assert words is not None
    assert "with a lower floor: --mel-scale ln" in words[1]


@pytest.mark.parametrize("scale", [MelScale(bands="htk", norm="none"), MelScale(f_min=80.0)])
def test_other_bands_are_converted_exactly_where_the_spectrum_is_flat(scale):
    own = MelConfig(f_min=scale.f_min or 0.0)
    theirs = mel_filters(own, RATE, scale.bands == "htk", scale.norm == "slaney").sum(1)
    found = convert(theirs.log().numpy()[None], scale, CONFIG, RATE)
    np.testing.assert_allclose(found[0], np.log(AREAS), atol=1e-5)


def test_htk_bands_are_even_on_their_scale_and_of_unit_height():
    filters = mel_filters(MelConfig(n_mels=20, n_fft=16384), RATE, True, False)
    peaks = filters.argmax(1) * RATE / 16384
    steps = np.diff(2595 * np.log10(1 + peaks.numpy() / 700))
    np.testing.assert_allclose(steps, 2840.02 / 21, rtol=0.02)
    assert filters.max(1).values.min() > 0.97
