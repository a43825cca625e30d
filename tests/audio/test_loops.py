import numpy as np
import pytest
import soundfile
from tests.conftest import SMOKE

from samplewise.audio.loops import close_loop, crossfade

RATE = 16000


def tone(hz, seconds=2.0):
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)


@pytest.mark.parametrize("hz", [100, 125, 400])  # whole numbers of samples
def test_a_loop_of_a_tone_repeats_it_exactly(hz):
    loop = close_loop(tone(hz), RATE)
    assert loop.similarity == pytest.approx(1)
    assert len(loop.wave) % (RATE // hz) == 0
    twice = np.tile(loop.wave, 2)
    expected = tone(hz, 6.0)[loop.start : loop.start + len(twice)]
    np.testing.assert_allclose(twice, expected, atol=1e-6)


def test_the_end_is_followed_by_what_followed_it_in_the_sound():
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, RATE).astype(np.float32)
    loop = close_loop(wave, RATE)
    end = loop.start + len(loop.wave)
    np.testing.assert_array_equal(loop.wave[1600:], wave[loop.start + 1600 : end])
    assert loop.wave[0] == wave[end]
    assert 3 / 4 * len(wave) - 2 <= len(loop.wave) < len(wave)


def test_the_join_is_where_the_ends_are_most_alike():
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, RATE)
    wave[13500:15100] = wave[:1600] + 0.01  # the only likeness
    loop = close_loop(wave, RATE)
    assert (loop.start, len(loop.wave)) == (0, 13500)
    assert loop.similarity > 0.99


@pytest.mark.parametrize("name", ["piano_0", "voice_train_0"])
def test_a_loop_of_a_recording_has_no_click(name):
    wave, rate = soundfile.read(SMOKE / "train" / f"{name}.flac", dtype="float32")
    loop = close_loop(wave, rate).wave
    around = np.concatenate([loop[-200:], loop[:200]])
    largest = np.abs(np.diff(wave, 2)).max()
    assert np.abs(np.diff(around, 2)).max() <= largest


def test_a_crossfade_keeps_the_power_of_unlike_sounds_and_like_ones():
    a, b = np.random.default_rng(1).normal(0, 0.1, (2, 4000, 100))
    powers = np.mean([np.square(crossfade(*pair)) for pair in zip(a, b, strict=True)], axis=0)
    np.testing.assert_allclose(powers, 0.01, rtol=0.15)
    np.testing.assert_allclose(crossfade(a[0], a[0]), a[0], atol=1e-12)


def test_a_crossfade_begins_with_one_and_ends_next_to_the_other():
    out, into = np.full(50, 0.2), np.full(50, 0.4)
    mixed = crossfade(out, into)
    assert mixed[0] == 0.2
    assert mixed[-1] == pytest.approx(0.2 / 50 + 0.4 * 49 / 50)


def test_silence_is_a_loop_and_what_is_too_short_is_not():
    assert not close_loop(np.zeros(1000), RATE).wave.any()
    with pytest.raises(ValueError, match="a loop needs 64 samples, but the sound has 59"):
        close_loop(np.zeros(59), RATE)
