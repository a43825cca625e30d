import numpy as np
import pytest
from tests.evaluate.small import make_corpus

from samplewise.data.corpus import Corpus
from samplewise.data.excerpts import cut, moments, read_wave


@pytest.fixture
def corpus() -> Corpus:
    return make_corpus()


@pytest.mark.parametrize("level", ["keep", "paper"])
def test_moments_are_those_of_all_samples_together(corpus, level):
    clips = cut(corpus.split("train"), 100)
    wave = np.concatenate([read_wave(corpus, clip, level) for clip in clips]).astype(np.float64)
    assert moments(corpus, clips, level) == pytest.approx((wave.mean(), wave.std()), rel=1e-9)
