"""Both trackers on sounds whose pitch is known, and against each other."""

import itertools
import math

import numpy as np
import pytest

from samplewise.evaluate import pitch
from samplewise.evaluate.pitch import (
    FRAME_S,
    PitchSettings,
    describe_tracker,
    mean_f0,
    mean_of_voiced,
    resolve_tracker,
    track_f0,
)

RATE = 16000
TRACKERS = ["praat", "autocorrelation"]


@pytest.fixture(params=TRACKERS)
def tracker(request):
    if request.param == "praat":
        pytest.importorskip("parselmouth", reason="the dev extra installs it")
    return request.param


def tone(hz, rate=RATE):
    """Harmonics of a frequency that may change from sample to sample; it may be constant."""
    phase = 2 * np.pi * np.cumsum(hz) / rate
    return sum(0.3 / n * np.sin(n * phase + n * n) for n in range(1, 8)).astype(np.float32)


def constant(hz, seconds=1.0, rate=RATE):
    return tone(np.full(round(seconds * rate), float(hz)), rate)


def voice(hz, seed, seconds=2.0):
    """Pulses with jitter and shimmer through two resonances, in syllables, with breath."""
    rng = np.random.default_rng(seed)
    samples = round(seconds * RATE)
    pulses, position = np.zeros(samples + RATE), 0.0
    while position < samples:
        pulses[int(position)] = 1 + 0.1 * rng.normal()
        sway = 1 + 0.08 * math.sin(2 * math.pi * 1.5 * position / RATE)
        position += RATE / (hz * sway * (1 + 0.01 * rng.normal()))
    spectrum = np.fft.rfft(pulses)
    f = np.fft.rfftfreq(len(pulses), 1 / RATE)
    shape = sum(1 / (1 + ((f - middle) / 90) ** 2) for middle in (600, 1400))
    sound = np.fft.irfft(spectrum * shape / (1 + f / 500))[:samples]
    syllables = np.sin(np.pi * np.arange(samples) / (0.25 * RATE)) ** 2
    sound = sound / np.abs(sound).max() * syllables + 0.003 * rng.normal(size=samples)
    return (np.round(sound * 100) / 128).astype(np.float32)  # as 8 bit


@pytest.mark.parametrize("rate", [4000, 8000, 16000, 44100])
@pytest.mark.parametrize("hz", [70, 97.3, 125.3, 201.8, 333])
def test_the_pitch_of_a_tone_is_found(tracker, hz, rate):
    assert mean_f0(constant(hz, 0.5, rate), rate, tracker=tracker) == pytest.approx(hz, rel=2e-3)


def test_a_glide_is_followed(tracker):
    f0 = track_f0(tone(np.linspace(100, 200, 2 * RATE)), RATE, tracker=tracker)
    assert not np.isnan(f0).any()
    edge = (2 - (len(f0) - 1) * FRAME_S) / 2  # the first frame's centre, seconds
    expected = 100 + 50 * (edge + FRAME_S * np.arange(len(f0)))
    assert np.abs(f0 - expected).max() < 1.0
    assert f0.mean() == pytest.approx(150, abs=0.3)


@pytest.mark.parametrize("hz", [85, 120, 180, 250])
def test_the_trackers_agree_about_voices(hz):
    pytest.importorskip("parselmouth", reason="the dev extra installs it")
    waves = [voice(hz, seed) for seed in range(3)]
    one, other = ([mean_f0(wave, RATE, tracker=name) for wave in waves] for name in TRACKERS)
    np.testing.assert_allclose(one, other, rtol=0.01)
    np.testing.assert_allclose(one, hz, rtol=0.05)


def test_neither_level_nor_offset_matters(tracker):
    wave = voice(140, 1)
    expected = track_f0(wave, RATE, tracker=tracker)
    found = track_f0(wave * 0.125 + 0.25, RATE, tracker=tracker)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize(
    "wave",
    [
        np.zeros(RATE, np.float32),
        np.full(RATE, 0.4, np.float32),
        (0.1 * np.random.default_rng(0).normal(size=RATE)).astype(np.float32),
        constant(150, 0.04),
        np.zeros(0, np.float32),
    ],
    ids=["silence", "offset", "noise", "too short", "nothing"],
)
def test_what_is_no_voice_has_no_pitch(tracker, wave):
    f0 = track_f0(wave, RATE, tracker=tracker)
    assert np.count_nonzero(~np.isnan(f0)) <= 0.1 * len(f0)
    assert mean_f0(wave, RATE, tracker=tracker) is None


def test_pauses_do_not_count(tracker):
    wave = np.concatenate([constant(110), np.zeros(2 * RATE, np.float32)])
    assert mean_f0(wave, RATE, tracker=tracker) == pytest.approx(110, rel=2e-3)
    voiced = np.count_nonzero(~np.isnan(track_f0(wave, RATE, tracker=tracker))) * FRAME_S
    assert voiced == pytest.approx(1.0, abs=0.06)


def test_what_is_far_below_the_peak_is_silence(tracker):
    quiet = constant(200) * np.float32(0.003)
    wave = np.concatenate([constant(100), quiet])
    assert mean_f0(wave, RATE, tracker=tracker) == pytest.approx(100, rel=0.02)
    assert mean_f0(quiet, RATE, tracker=tracker) == pytest.approx(200, rel=2e-3)


def test_the_range_is_kept(tracker):
    narrow = PitchSettings(floor_hz=150.0, ceiling_hz=400.0)
    f0 = track_f0(constant(100), RATE, narrow, tracker)
    assert np.nanmin(f0, initial=150) >= 150
    f0 = track_f0(constant(350), RATE, PitchSettings(ceiling_hz=200.0), tracker)
    assert np.nanmax(f0, initial=0) <= 200


def test_a_mean_needs_enough_voice():
    f0 = np.array([100.0] * 19 + [math.nan] * 50)
    assert mean_of_voiced(f0, PitchSettings()) is None
    assert mean_of_voiced(np.append(f0, 120.0), PitchSettings()) == pytest.approx(101)
    assert mean_of_voiced(np.array([math.nan]), PitchSettings(least_voiced_s=0.0)) is None


def test_the_best_path_is_the_best_of_all():
    rng = np.random.default_rng(3)
    for _ in range(30):
        hz = np.concatenate([np.full((5, 1), math.nan), rng.uniform(60, 400, (5, 2))], 1)
        strength = rng.uniform(0, 1, (5, 3))

        def worth(path, hz=hz, strength=strength):
            total = sum(strength[i, choice] for i, choice in enumerate(path))
            for i, (a, b) in enumerate(itertools.pairwise(path)):
                if (a == 0) != (b == 0):
                    total -= 0.14
                elif a:
                    total -= 0.35 * abs(math.log2(hz[i, a] / hz[i + 1, b]))
            return total

        best = max(itertools.product(range(3), repeat=5), key=worth)
        expected = [hz[i, choice] for i, choice in enumerate(best)]
        np.testing.assert_array_equal(pitch._best_path(hz, strength), expected)


def test_frames_do_not_depend_on_how_many_are_worked_on(monkeypatch):
    expected = track_f0(voice(130, 2), RATE, tracker="autocorrelation")
    monkeypatch.setattr(pitch, "BLOCK_FRAMES", 7)
    found = track_f0(voice(130, 2), RATE, tracker="autocorrelation")
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_without_praat_ours_is_used_and_named(monkeypatch):
    monkeypatch.setattr(pitch.importlib.util, "find_spec", lambda name: None)
    assert resolve_tracker("auto") == describe_tracker("auto") == "autocorrelation"
    with pytest.raises(ValueError, match=r"tracker = 'praat' needs .*samplewise\[pitch\]"):
        resolve_tracker("praat")


def test_with_praat_it_is_used_and_named_with_its_version():
    pytest.importorskip("parselmouth", reason="the dev extra installs it")
    assert resolve_tracker("auto") == "praat"
    assert describe_tracker("auto").startswith("praat 6.")


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"floor_hz, ceiling_hz = 300.0, 200.0 must be positive"):
        PitchSettings(300.0, 200.0)
    with pytest.raises(ValueError, match="sample_rate = 1500 must be at least four times"):
        track_f0(np.zeros(5000, np.float32), 1500)
    with pytest.raises(ValueError, match="wave must be finite"):
        track_f0(np.array([0, math.nan], np.float32), RATE)
