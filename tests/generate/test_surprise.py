"""Control of the bits per sample of what is drawn."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.generate.conftest import make_model
from tests.models.conftest import CONFIGS

from samplewise.generate.backend import Backend
from samplewise.generate.clips import generate_clips, stream_chunks, target_of
from samplewise.generate.drawing import Drawing
from samplewise.generate.surprise import DEADBAND, GAIN, MEMORY_S, SurpriseControl
from samplewise.generate.temperature import parse_envelope
from samplewise.models.io import AudioFormat, LoadedModel


def load(name, **provenance):
    audio = AudioFormat(1000, 1.0, "keep")
    return LoadedModel(make_model(CONFIGS[name]), audio, provenance, Path("made-up"))


def test_the_factor_follows_the_mean_of_the_bits():
    control = SurpriseControl(3.0, 2, 1000)
    assert control.block == 32
    bits = np.array([1.0, 3.05])
    expected, mean = np.ones(2), np.full(2, 3.0)
    for _ in range(10):
        np.testing.assert_allclose(control.factor, expected)
        for part in (5, 27):
            nats = np.repeat(bits[:, None] * math.log(2), part, 1)
            control.observe(np.zeros(nats.shape, np.int64), -nats)
        mean += (1 - math.exp(-0.032 / MEMORY_S)) * (bits - mean)
        lacking = np.array([max(0.0, 3.0 - mean[0] - DEADBAND), 0.0])  # within the deadband
        expected = np.exp(GAIN * lacking)
    assert control.factor[0] > 1.0


class Recorder:
    """A sampler whose first clip surprises too little and whose second too much."""

    name, lookahead, max_batch = "recorder", 0, 2
    prefill = teacher_force = print  # not called
    nats = np.array([[0.1], [3.0]])

    def __init__(self):
        self.temperatures = []

    def start(self, clips, after=None):
        return after

    def draw(self, sampler_state, uniforms, temperature=None, conditioning=None):
        self.temperatures.append(temperature)
        codes = np.zeros(uniforms.shape, np.int64)
        return codes, -np.repeat(self.nats, uniforms.shape[1], 1), sampler_state


def test_the_temperature_is_that_of_the_envelope_times_the_factor_of_each_clip():
    sampler, control, expected = Recorder(), SurpriseControl(2.0, 2, 1000), []
    envelope = parse_envelope("0:0.5,1:1.5")
    drawing = Drawing(sampler, 1, range(2), 1000, envelope, control=SurpriseControl(2.0, 2, 1000))
    for samples in (20, 50, 314):
        drawing.draw(samples)
    for begin in range(0, 384, control.block):
        expected.append(control.factor[:, None] * envelope.at(begin, control.block, 1000))
        nats = np.repeat(sampler.nats, control.block, 1)
        control.observe(np.zeros(nats.shape, np.int64), -nats)
    np.testing.assert_allclose(np.concatenate(sampler.temperatures, 1), np.concatenate(expected, 1))
    assert control.factor[0] > 1.0 > control.factor[1]


@pytest.mark.parametrize("target", [1.0, 3.5])
def test_clips_come_near_the_target(target):
    loaded = load("3-tier")
    free = generate_clips(loaded, 4, 4.0, seed=1, target_bits=None)
    kept = generate_clips(loaded, 4, 4.0, seed=1, target_bits=target)
    for before, after in zip(free, kept, strict=True):
        assert abs(after.bits_per_sample - target) < abs(before.bits_per_sample - target)


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_a_clip_depends_on_its_own_bits_alone(backend):
    loaded, backend = load("predictor"), Backend(backend, weights="f32")
    together = generate_clips(loaded, 3, 0.2, seed=1, target_bits=1.0, backend=backend)
    [alone] = generate_clips(loaded, 1, 0.2, 1, first_index=2, target_bits=1.0, backend=backend)
    assert np.array_equal(alone.codes, together[2].codes)
    chunks = stream_chunks(
        loaded, 1, samples=200, index=2, chunk_s=0.019, target_bits=1.0, backend=backend
    )
    assert np.array_equal(np.concatenate(list(chunks)), alone.samples)


def test_only_models_with_a_predictor_are_kept_by_default():
    assert target_of(load("predictor", valid_bits=2.5), "auto") == 2.5
    assert target_of(load("predictor"), "auto") is None
    assert target_of(load("3-tier", valid_bits=2.5), "auto") is None
    assert target_of(load("predictor", valid_bits=2.5), None) is None
    assert target_of(load("3-tier"), 2.0) == 2.0


def test_impossible_targets_are_refused():
    with pytest.raises(ValueError, match=r"target_bits = -1"):
        target_of(load("3-tier"), -1.0)
    subscale = replace(load("3-tier"), model=make_model(CONFIGS["subscale"]))
    with pytest.raises(ValueError, match="one sample after the other"):
        target_of(subscale, 2.0)
