import math

import numpy as np
import pytest
import soundfile
from tests.conftest import SMOKE

from samplewise.audio.descriptors import mel_levels_db
from samplewise.evaluate.copying import PASSAGE, nearest_passages, passages

RATE = 16000


def real(name):
    return soundfile.read(SMOKE / name, dtype="float32")[0]


def mel(wave):
    return mel_levels_db(wave, RATE)


def test_a_passage_is_found_wherever_it_stands_and_however_soft_it_is():
    training = [mel(real("train/piano_0.flac")), mel(real("train/voice_train_0.flac"))]
    other = mel(real("test/piano_4.flac"))
    for start in (0, 12345):
        copy = 0.7 * real("train/voice_train_0.flac")[start : start + 3 * RATE]
        found, unlike = nearest_passages([mel(copy), other], training)
        assert found > 0.95
        assert unlike < 0.9


def test_the_best_correlation_is_that_of_all_pairs():
    clip, training = mel(real("test/voice_test_0.flac")), mel(real("train/voice_train_0.flac"))
    every_half_second = passages(clip)[::1]
    expected = max(
        float(a @ b) for a in passages(clip, hop=PASSAGE // 2) for b in passages(training)
    )
    assert nearest_passages([clip], [training]) == [pytest.approx(expected, rel=1e-5)]
    np.testing.assert_allclose(np.linalg.norm(every_half_second, axis=1), 1, rtol=1e-5)


def test_noise_silence_and_short_sounds_have_no_passages():
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * RATE)
    waves = [noise, np.zeros(3 * RATE), real("train/voice_train_0.flac")[: RATE // 2]]
    found = nearest_passages([mel(wave) for wave in waves], [mel(real("train/voice_train_0.flac"))])
    assert all(map(math.isnan, found))


def test_loudness_alone_is_no_pattern():
    random = np.random.default_rng(2)
    loudness = random.normal(-30, 10, (100, 1)) * np.ones((1, 40))
    assert len(passages(loudness)) == 0
    assert len(passages(loudness + random.normal(0, 10, (100, 40)))) == 26


def test_passages_with_pauses_are_left_out():
    levels = np.random.default_rng(2).normal(-30, 10, (100, 40))
    levels[40:56] = -60.0  # eight steps of 40 ms
    pauses = [len(set(range(20, 28)) & set(range(s, s + PASSAGE))) for s in range(26)]
    assert len(passages(levels)) == sum(count <= 0.2 * PASSAGE for count in pauses)
