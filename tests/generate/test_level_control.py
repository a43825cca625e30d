"""Control of the level of what is drawn."""

import math

import numpy as np
import pytest
from tests.generate.test_surprise import load

from samplewise.audio.level import LevelRange
from samplewise.generate.backend import Backend
from samplewise.generate.clips import control_of, generate_clips, level_of, stream_chunks
from samplewise.generate.level_control import GAIN, LOWEST, MEMORY_S, LevelControl
from samplewise.generate.surprise import SurpriseControl

RATE = 1000
LEVEL = {"low_db": -40.0, "high_db": -20.0}
AMPLITUDES = np.array([0.0, 0.001, 0.05, 1.0])  # silence, -60, -26 and 0 dB


def test_the_factor_follows_the_mean_power():
    control = LevelControl(LevelRange(**LEVEL), AMPLITUDES, 4, RATE)
    assert control.block == 32
    mean, expected = np.full(4, 1e-3), np.ones(4)
    for _ in range(60):
        np.testing.assert_allclose(control.factor, expected)
        for part in (5, 27):
            codes = np.repeat(np.arange(4)[:, None], part, 1)
            control.observe(codes, np.zeros(codes.shape))
        mean += (1 - math.exp(-0.032 / MEMORY_S)) * (AMPLITUDES**2 - mean)
        level = 10 * np.log10(mean + 1e-12)
        outside = np.maximum(-40 - level, 0) - np.maximum(level + 20, 0)
        expected = np.exp(GAIN * outside).clip(LOWEST, 1.05)
    assert control.factor[:2].min() > control.factor[2] == 1.0 > control.factor[3]


def test_mixtures_around_a_prediction_keep_the_level_of_their_recordings():
    told = {"level": LEVEL, "valid_bits": 2.5}
    assert level_of(load("predictor-mol", **told), "auto") == LevelRange(**LEVEL)
    assert isinstance(control_of(load("predictor-mol", **told), "auto", 2), LevelControl)
    assert isinstance(control_of(load("predictor", **told), "auto", 2), SurpriseControl)
    for name, provenance, target in (
        ("predictor-mol", told, None),
        ("predictor-mol", {"valid_bits": 2.5}, "auto"),
        ("predictor-mol", {"level": {"low_db": -40.0}}, "auto"),
        ("mol", told, "auto"),
    ):
        assert level_of(load(name, **provenance), target) is None
        assert control_of(load(name, **provenance), target, 2) is None


def test_clips_come_nearer_to_the_range():
    def loudness(low, high):
        told = load("predictor-mol", level={"low_db": low, "high_db": high})
        clips = generate_clips(told, 3, 2.0, seed=1)
        return sum(np.square(clip.samples.astype(float)).mean() for clip in clips)

    assert loudness(-71.0, -70.0) < loudness(-100.0, 0.0) < loudness(30.0, 31.0)


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_a_clip_depends_on_its_own_level_alone(backend):
    loaded, backend = load("predictor-mol", level=LEVEL), Backend(backend, weights="f32")
    together = generate_clips(loaded, 3, 0.2, seed=1, backend=backend)
    [alone] = generate_clips(loaded, 1, 0.2, seed=1, first_index=2, backend=backend)
    assert np.array_equal(alone.codes, together[2].codes)
    chunks = stream_chunks(loaded, 1, samples=200, index=2, chunk_s=0.019, backend=backend)
    assert np.array_equal(np.concatenate(list(chunks)), alone.samples)
