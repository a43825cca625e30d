"""Codes that are fed instead of drawn, on both back ends."""

import numpy as np
import pytest
from tests.generate.test_reference import teacher_forced

from samplewise.engine.sampler import NativeSampler
from samplewise.generate.reference import ReferenceSampler
from samplewise.generate.uniforms import uniforms

CLIPS, DRAWN = 3, 37


def samplers(model, clips=CLIPS):
    return [ReferenceSampler(model, clips), NativeSampler(model, clips, "f32")]


@pytest.fixture(params=["reference", "f32", "int8"])
def sampler(request, loaded):
    if request.param == "reference":
        return ReferenceSampler(loaded.model, CLIPS)
    return NativeSampler(loaded.model, CLIPS, request.param, threads=2, pace="all")


def random_codes(model, length, clips=CLIPS):
    return np.random.default_rng(length).integers(0, model.q_levels, (clips, length))


@pytest.mark.parametrize("cut", [0, 1, 5, 8, 37])
def test_what_was_drawn_forced_leaves_the_same_bits(sampler, cut):
    numbers = uniforms(1, range(CLIPS), 0, 2 * DRAWN)
    drawn, _, sampler_state = sampler.draw(sampler.start(CLIPS), numbers[:, :DRAWN])
    expected = sampler.draw(sampler_state, numbers[:, DRAWN:])
    forced = sampler.teacher_force(sampler.start(CLIPS), drawn[:, :cut])
    forced = sampler.teacher_force(forced, drawn[:, cut:])
    found = sampler.draw(forced, numbers[:, DRAWN:])
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("length", [1, 7, 8, 30])
def test_scores_after_forcing_are_those_of_a_teacher_forced_pass(any_model, length):
    sampler = ReferenceSampler(any_model, 1)
    forced = random_codes(any_model, length, clips=1)
    sampler_state = sampler.teacher_force(sampler.start(1), forced)
    codes, log_probs, _ = sampler.draw(sampler_state, uniforms(2, [0], 0, 20))
    expected = teacher_forced(any_model, np.concatenate([forced, codes], 1))[:, length:]
    np.testing.assert_allclose(-log_probs, expected, rtol=1e-9)


def test_each_clip_hears_its_own_row(sampler):
    codes, numbers = random_codes(sampler_model(sampler), 20), uniforms(3, [0], 0, DRAWN)
    together = sampler.teacher_force(sampler.start(CLIPS), codes)
    found = sampler.draw(together, np.repeat(numbers, CLIPS, 0))[0]
    for row in range(CLIPS):
        alone = sampler.teacher_force(sampler.start(1), codes[row : row + 1])
        np.testing.assert_array_equal(found[row : row + 1], sampler.draw(alone, numbers)[0])
    assert len(np.unique(found, axis=0)) == CLIPS


def test_the_native_engine_goes_on_as_the_reference_does(loaded):
    model = loaded.model
    codes, numbers = random_codes(model, 50), uniforms(4, range(CLIPS), 0, DRAWN)
    reference, native = (
        s.draw(s.teacher_force(s.start(CLIPS), codes), numbers) for s in samplers(model)
    )
    np.testing.assert_array_equal(native[0], reference[0])
    np.testing.assert_allclose(native[1], reference[1], atol=1e-4)


def test_voices_stay_valid(sampler):
    sampler_state, numbers = sampler.start(1), uniforms(1, [0], 0, DRAWN)
    before = sampler.draw(sampler_state, numbers)
    sampler.teacher_force(sampler_state, np.zeros((1, 9), np.int64))
    np.testing.assert_array_equal(sampler.draw(sampler_state, numbers)[1], before[1])


def test_codes_that_do_not_exist_are_refused(sampler):
    with pytest.raises(ValueError, match=r"codes range from 0 to 256, not within \[0, 256\)"):
        sampler.teacher_force(sampler.start(1), np.array([[0, 256]]))


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_every_clip_needs_its_row(sampler, rows):
    with pytest.raises(ValueError, match=r"(codes have|forced has) \d (rows|entries)"):
        sampler.teacher_force(sampler.start(2), np.zeros((rows, 5), np.int64))


def sampler_model(sampler):
    """Whatever tells how many codes there are."""
    return sampler.model if isinstance(sampler, ReferenceSampler) else sampler
