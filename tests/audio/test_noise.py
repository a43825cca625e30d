import math

import numpy as np
import pytest

from samplewise.audio.noise import Noise, measure_noise, noise_range

RATE = 16000
TIME = np.arange(4 * RATE) / RATE


def noise(rms=0.1, seed=0):
    return np.random.default_rng(seed).normal(0, rms, len(TIME))


def tone(hz=1000.0, amplitude=0.5):
    return amplitude * np.sin(2 * np.pi * hz * TIME)


@pytest.mark.parametrize("colour", [0.0, 0.9, -0.9])
def test_noise_of_any_colour_is_all_noise(colour):
    wave = np.convolve(noise(), [1, colour])[: len(TIME)]
    assert measure_noise(wave, RATE).noisiness_db == pytest.approx(-0.25, abs=0.25)


def test_the_flatness_of_white_noise_is_that_of_an_exponential_distribution():
    assert measure_noise(noise(), RATE).flatness_db == pytest.approx(-2.51, abs=0.1)


@pytest.mark.parametrize("below_db", [10, 20, 30])
def test_noise_under_a_tone_is_measured(below_db):
    rms = 0.5 / math.sqrt(2) * 10 ** (-below_db / 20)
    found = measure_noise(tone() + noise(rms), RATE)
    share = -10 * math.log10(1 + 10 ** (below_db / 10))
    assert found.noisiness_db == pytest.approx(share, abs=0.5)
    assert found.noise_floor_db == pytest.approx(20 * math.log10(rms) - 1.4, abs=0.3)  # too


def test_the_noise_floor_is_that_of_the_quiet_moments():
    bursts = np.where(TIME % 1 < 0.5, noise(0.1), noise(0.001))
    assert measure_noise(bursts, RATE).noise_floor_db == pytest.approx(
        -60 - 0.7, abs=0.3
    )  # a quantile


def test_silence_has_a_floor_but_no_spectrum():
    found = measure_noise(np.zeros(RATE), RATE)
    assert found.noise_floor_db == -200
    assert math.isnan(found.flatness_db)
    assert math.isnan(found.noisiness_db)


def test_a_long_sound_is_measured_in_parts_and_like_one(monkeypatch):
    whole = measure_noise(noise() + tone(), RATE)
    monkeypatch.setattr("samplewise.audio.noise.BLOCK_FRAMES", 7)
    assert measure_noise(noise() + tone(), RATE) == whole


def test_a_range_lies_between_the_outer_twentieths_of_what_sounds():
    sounds = [Noise(float(i), float(-i), float(2 * i)) for i in range(101)]
    silence = Noise(math.nan, math.nan, -200.0)
    found = noise_range([*sounds, silence])
    assert found is not None
    assert found.flatness_db == (5.0, 95.0)
    assert found.noisiness_db == (-95.0, -5.0)
    assert found.noise_floor_db == (10.0, 190.0)
    assert noise_range([silence, silence, sounds[0]]) is None
