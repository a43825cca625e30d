"""Scores of vocoders: what is known of tones, of the same sound, and of what is not installed."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from samplewise.config.conditioning import MelConfig
from samplewise.evaluate.vocoder_metrics import (
    DB,
    PESQ_HZ,
    VocodingScores,
    f0_frame_error,
    instruments,
    mean_scores,
    score_vocoding,
)

RATE = 16000
MEL = MelConfig(n_mels=20, f_max=None)


def tone(hz, seconds=1.0, rate=RATE):
    time = np.arange(round(seconds * rate)) / rate
    wave = sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 6))
    return (0.1 * wave).astype(np.float32)


def test_a_sound_is_nearest_to_itself_and_a_louder_one_as_far_as_it_is_louder():
    wave = tone(150) + 0.01 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    same = score_vocoding(wave, wave.copy(), MEL, RATE)
    assert (same.mel_db, same.spectral_db, same.f0_error) == (0, 0, 0)
    assert same.stoi == pytest.approx(1, abs=1e-6)
    louder = score_vocoding(wave, 2 * wave, MEL, RATE)
    assert louder.mel_db == pytest.approx(DB * np.log(2), abs=1e-3)
    assert louder.spectral_db == pytest.approx(DB * np.log(2), abs=0.05)
    assert louder.f0_error == 0


def test_frames_of_another_pitch_or_without_one_are_wrong():
    wave, silence = tone(150, 2.0), np.zeros(RATE, np.float32)
    assert f0_frame_error(wave, tone(165, 2.0), RATE) == 0
    assert f0_frame_error(wave, tone(200, 2.0), RATE) > 0.95
    half = np.concatenate([wave[:RATE], silence])
    assert f0_frame_error(wave, half, RATE) == pytest.approx(0.5, abs=0.05)
    assert f0_frame_error(half, wave, RATE) == pytest.approx(0.5, abs=0.05)
    assert f0_frame_error(silence, silence, RATE) == 0
    assert f0_frame_error(silence[:10], silence[:10], RATE) == 0


def test_means_leave_out_what_is_not_known():
    scores = [
        VocodingScores(1.0, 2.0, 0.1, 0.5, None),
        VocodingScores(3.0, 4.0, 0.3, None, None),
    ]
    mean = mean_scores(scores)
    assert mean == VocodingScores(2.0, 3.0, 0.2, 0.5, None)
    assert list(mean.formatted().values()) == ["2.00", "3.00", "20.0%", "0.500", "–"]


def test_pesq_hears_both_sounds_at_its_own_rate(monkeypatch):
    heard = []

    class NoUtterancesError(Exception):
        pass

    def fake(rate, reference, degraded, mode):
        heard.append((rate, len(reference), len(degraded), mode))
        if not reference.any():
            raise NoUtterancesError
        return 1.0 + 3.5 * float(reference.std() < degraded.std())

    module = SimpleNamespace(pesq=fake, NoUtterancesError=NoUtterancesError, __spec__=object())
    monkeypatch.setitem(sys.modules, "pesq", module)
    wave = tone(150, 1.0, 24000)
    assert score_vocoding(wave, 2 * wave, MEL, 24000).pesq == 4.5
    assert score_vocoding(2 * wave, wave, MEL, 24000).pesq == 1.0
    assert heard == [(PESQ_HZ, 16000, 16000, "wb")] * 2
    assert score_vocoding(0 * wave, wave, MEL, 24000).pesq is None
    assert score_vocoding(wave[:9000], wave[:9000], MEL, 24000).pesq is None
    assert instruments()["pesq"] == "pesq"


def test_what_is_not_installed_is_not_scored(monkeypatch):
    wave = tone(150)
    for package, score in (("pesq", "pesq"), ("pystoi", "stoi")):
        monkeypatch.setitem(sys.modules, package, None)
        assert getattr(score_vocoding(wave, wave, MEL, RATE), score) is None
