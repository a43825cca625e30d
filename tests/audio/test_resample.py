from itertools import pairwise

import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st

from samplewise.audio.resample import Resampler, resample


@given(
    st.sampled_from([(44100, 16000), (8000, 16000), (48000, 22050), (16000, 16000)]),
    st.lists(st.integers(0, 5000), max_size=6),
)
def test_blocks_give_the_same_samples_as_one_shot(rates, cuts):
    wave = np.random.default_rng(0).standard_normal(9000).astype(np.float32)
    stream = Resampler(*rates)
    edges = sorted({0, *[min(cut, 9000) for cut in cuts], 9000})
    parts = [stream.push(wave[a:b]) for a, b in pairwise(edges)]
    parts.append(stream.push(np.zeros(0, np.float32), last=True))
    whole = wave if rates[0] == rates[1] else soxr.resample(wave, *rates, quality="HQ")
    assert np.array_equal(np.concatenate(parts), whole)


def test_a_tone_above_the_new_nyquist_frequency_disappears():
    t = np.arange(44100) / 44100
    tone = np.sin(2 * np.pi * 8100 * t).astype(np.float32)
    middle = resample(tone, 44100, 16000)[2000:-2000]
    assert 20 * np.log10(np.abs(middle).max()) < -120


def test_the_same_rate_changes_nothing():
    wave = np.random.default_rng(1).standard_normal(100).astype(np.float32)
    assert np.array_equal(resample(wave, 16000, 16000), wave)


@pytest.mark.parametrize("rates", [(0, 16000), (16000, -1)])
def test_a_rate_that_is_not_positive_is_refused(rates):
    with pytest.raises(ValueError, match="must be positive"):
        Resampler(*rates)
