import dataclasses
import math

import numpy as np
import pytest

from samplewise.audio.descriptors import describe, mel_levels_db, onset_frames

RATE = 16000
TIME = np.arange(4 * RATE) / RATE


def noise(rms=0.1, seed=0):
    return np.random.default_rng(seed).normal(0, rms, len(TIME))


def tone(hz=1000.0, amplitude=0.5):
    return amplitude * np.sin(2 * np.pi * hz * TIME)


def notes(rate, per_second=4):
    """Decaying tones of several partials, the first after an eighth of a second."""
    time = np.arange(4 * rate) / rate
    wave = np.zeros(len(time))
    for start in np.arange(0.125, 3.9, 1 / per_second):
        since = (time - start).clip(0)
        partials = sum(np.sin(2 * np.pi * hz * since) for hz in (220, 440, 880, 1760, 3520))
        wave += 0.1 * partials * np.exp(-12 * since) * (time >= start)
    return wave


def test_the_level_of_a_tone_is_its_rms_and_its_centroid_its_frequency():
    found = describe(tone() + 0.2, RATE)  # a constant does not count
    assert found.level_db == pytest.approx(20 * math.log10(0.5 / math.sqrt(2)), abs=1e-3)
    assert found.centroid_hz == pytest.approx(1000, rel=0.01)
    assert found.silence_share == 0
    assert found.dynamics_db == pytest.approx(0, abs=0.01)


def test_half_of_it_is_silent():
    wave = np.where(TIME < 2, tone(), 0.0)
    assert describe(wave, RATE).silence_share == 0.5


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("per_second", [2, 4])
def test_every_note_is_an_onset(rate, per_second):
    assert describe(notes(rate, per_second), rate).onsets_per_s == per_second


def test_onsets_lie_where_notes_begin():
    frames = np.array(onset_frames(mel_levels_db(notes(RATE, 2), RATE)))
    assert np.abs(0.02 * frames - np.arange(0.125, 3.9, 0.5)).max() <= 0.04


@pytest.mark.parametrize("wave", [noise(), tone(), np.zeros(4 * RATE)])
def test_nothing_begins_in_what_is_steady(wave):
    assert describe(wave, RATE).onsets_per_s <= 0.25  # the tone may begin


def test_silence_has_no_spectrum():
    found = dataclasses.asdict(describe(np.zeros(RATE), RATE))
    assert found["silence_share"] == 1
    undefined = {name for name, value in found.items() if math.isnan(value)}
    assert undefined == {"dynamics_db", "centroid_hz"}


def test_what_is_too_short_is_refused():
    with pytest.raises(ValueError, match="a sound of 100 samples is too short: 2048 are needed"):
        describe(np.zeros(100), RATE)
