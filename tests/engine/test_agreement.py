"""The native engine against the reference: the same numbers, the same codes."""

import copy

import numpy as np
import pytest
import torch
from tests.engine.conftest import EXTRA
from tests.generate.conftest import make_model

from samplewise.engine.sampler import NativeSampler
from samplewise.generate.backend import Backend
from samplewise.generate.uniforms import uniforms
from samplewise.heads.dual_softmax import DualSoftmaxHead
from samplewise.heads.mixture import GaussianMixtureHead, LogisticMixtureHead
from samplewise.native import native_module

ISAS = native_module().isas()
MIXTURES = (GaussianMixtureHead, LogisticMixtureHead)
TOLERANCE = {"f32": 1e-4, "f16": 0.05, "int8x16": 0.6, "int8": 1.2}
"""Largest difference of a logit; these weights are random, and their logits' deviation about 3."""


def reference_logits(model, codes):
    """In double precision."""
    silence = np.full((len(codes), 1), model.quantizer.silence)
    previous = torch.from_numpy(np.concatenate([silence, codes[:, :-1]], 1))
    double = copy.deepcopy(model).double()
    with torch.inference_mode():
        logits, _ = double(previous, double.initial_state(len(codes)), torch.from_numpy(codes))
    return logits.numpy()


def random_codes(model, clips=3, samples=75):
    return np.random.default_rng(0).integers(0, model.q_levels, (clips, samples))


def outside(model, codes, numbers, temperatures=None, prompt=(), min_p=0.0):
    """Return how far each random number lies outside the share of the code that was drawn with it.

    The shares are the reference's, in double precision, after the same past. A code of two stages
    has a share of its stage's share.
    """
    past = np.tile(np.array(prompt, np.int64), (len(codes), 1))
    logits = reference_logits(model, np.concatenate([past, codes], 1))[:, len(prompt) :]
    if isinstance(model.head, MIXTURES):
        return beyond_mixture(model.head, logits, codes, numbers, temperatures, min_p)
    if temperatures is not None:
        logits = logits / temperatures[:, None]
    return beyond(logits, isinstance(model.head, DualSoftmaxHead), codes, numbers, min_p)


def score_tolerance(model):
    return 0.02 if isinstance(model.head, LogisticMixtureHead) else 1e-4


def beyond_mixture(head, params, codes, numbers, temperatures, min_p):
    """Return 1 where the code lies outside those of nearly the same random numbers, else 0."""
    rows = torch.from_numpy(params).flatten(0, 1)
    near = numbers.astype(np.float64) + np.array([-TIE_OF_PLACES, 0, TIE_OF_PLACES])[:, None, None]
    if temperatures is not None:
        temperatures = torch.from_numpy(np.broadcast_to(temperatures, codes.shape).flatten())
    drawn = [
        head.sample(rows, torch.from_numpy(own.clip(0, 1).flatten()), temperatures, min_p).numpy()
        for own in near
    ]
    low, high = np.min(drawn, 0), np.max(drawn, 0)
    return ((codes.flatten() < low) | (codes.flatten() > high)).astype(float)


def beyond(logits, is_dual, codes, numbers, min_p=0.0):
    """Return how far each random number lies outside the share that these logits give its code."""
    stages = np.split(logits, 2, -1) if is_dual else [logits]
    drawn = [codes // 256, codes % 256] if is_dual else [codes]
    below, share = np.zeros(codes.shape), np.ones(codes.shape)
    for stage, code in zip(stages, drawn, strict=True):
        own = torch.from_numpy(stage).softmax(-1).numpy()
        own = np.where(own <= min_p * own.max(-1, keepdims=True), 0, own)
        own = own / own.sum(-1, keepdims=True)
        edges = np.concatenate([np.zeros((*codes.shape, 1)), own.cumsum(-1)], -1)
        below += share * np.take_along_axis(edges, code[..., None], -1)[..., 0]
        share *= np.take_along_axis(own, code[..., None], -1)[..., 0]
    return np.maximum(below - numbers, numbers - (below + share)).clip(min=0)


TIE_OF_PLACES = 1e-5
"""What single precision moves the random numbers of a place among 65,536 codes by, at most."""
TIE = 3e-6
"""What single precision moves the edges of shares by, at most."""


@pytest.mark.parametrize("weights", TOLERANCE)
def test_logits_of_every_kind_of_model_are_the_references(any_model, weights):
    codes = random_codes(any_model)
    expected = reference_logits(any_model, codes)
    found = NativeSampler(any_model, 3, weights, threads=1).logits(codes)
    size = np.maximum(1, np.abs(expected) / 100)  # a logistic density far out is large
    if isinstance(any_model.head, LogisticMixtureHead):
        # Places among 65,536 codes have five digits in single precision, scales less than one.
        parts = np.split(expected, 3, -1)
        size = np.concatenate(
            [np.ones_like(parts[0]), (200 * np.exp(parts[2])).clip(1), np.ones_like(parts[0])], -1
        )
    assert (np.abs(found - expected) / size).max() < TOLERANCE[weights]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("weights", TOLERANCE)
def test_every_instruction_set_computes_the_same(model, weights, isa):
    codes = random_codes(model)
    expected = reference_logits(model, codes)
    sampler = NativeSampler(model, 3, weights, threads=1, isa=isa)
    assert sampler.packed.isa == isa
    assert np.abs(sampler.logits(codes) - expected).max() < TOLERANCE[weights]


@pytest.mark.parametrize("weights", TOLERANCE)
def test_threads_and_batches_do_not_change_a_bit(any_model, weights):
    codes = random_codes(any_model, clips=5)
    expected = NativeSampler(any_model, 5, weights, threads=1).logits(codes)
    for threads, pace in ((2, "all"), (3, "all"), (2, "alternate")):
        sampler = NativeSampler(any_model, 5, weights, threads=threads, pace=pace)
        for rows in (slice(None), slice(3, 4)):
            np.testing.assert_array_equal(sampler.logits(codes[rows]), expected[rows])
            used = sampler.engine.threads_used
            assert used == sampler.engine.threads if pace == "all" else used < threads


def test_codes_are_the_references_until_a_rounding_tie(any_model):
    clips, samples = 3, 150
    numbers = uniforms(seed=5, clips=range(clips), start=0, count=samples)
    temperatures = np.linspace(0.5, 1.5, samples)
    native = NativeSampler(any_model, clips, "f32")
    codes, log_probs, _ = native.draw(native.start(clips), numbers, temperatures)
    assert outside(any_model, codes, numbers, temperatures).max() < TIE
    params = torch.from_numpy(reference_logits(any_model, codes)).flatten(0, 1)
    scores = any_model.head.log_prob(params, torch.from_numpy(codes).flatten())
    np.testing.assert_allclose(log_probs.flatten(), scores.numpy(), atol=score_tolerance(any_model))


def test_improbable_codes_are_cut_off_as_in_the_reference(any_model):
    if any_model.head.is_density:
        pytest.skip("a density has no codes to cut off")
    numbers, temperatures = uniforms(seed=6, clips=range(3), start=0, count=60), np.full(60, 0.9)
    for backend in (Backend("native", "f32", min_p=0.5), Backend("reference", min_p=0.5)):
        sampler = backend.sampler(any_model, 3)
        if sampler.max_batch < 3:
            continue
        codes, log_probs, _ = sampler.draw(sampler.start(3), numbers, temperatures)
        assert outside(any_model, codes, numbers, temperatures, min_p=0.5).max() < TIE
        assert outside(any_model, codes, numbers, temperatures).max() > TIE
        params = torch.from_numpy(reference_logits(any_model, codes)).flatten(0, 1)
        scores = any_model.head.log_prob(params, torch.from_numpy(codes).flatten())
        np.testing.assert_allclose(
            log_probs.flatten(), scores.numpy(), atol=score_tolerance(any_model)
        )
    assert Backend("reference").sampler(any_model, 1).min_p == 0
    with pytest.raises(ValueError, match=r"min_p = 1.0 must lie in \[0, 1\)"):
        Backend(min_p=1.0)


@pytest.mark.parametrize("cut", [1, 2, 7, 16, 60])
def test_a_chunk_goes_on_where_the_last_one_ended(any_model, cut):
    sampler = NativeSampler(any_model, 2, "f32", threads=2, pace="all")
    numbers = uniforms(seed=1, clips=range(2), start=0, count=75)
    expected, scores, _ = sampler.draw(sampler.start(2), numbers)
    sampler_state, codes, parts = sampler.start(2), [], []
    for start in range(0, 75, cut):
        drawn, log_probs, sampler_state = sampler.draw(
            sampler_state, numbers[:, start : start + cut]
        )
        codes.append(drawn)
        parts.append(log_probs)
    np.testing.assert_array_equal(np.concatenate(codes, 1), expected)
    np.testing.assert_array_equal(np.concatenate(parts, 1), scores)


@pytest.mark.parametrize("length", [0, 1, 5, 16, 37])
def test_what_follows_a_prompt_is_what_the_reference_would_draw(any_model, length):
    prompt = random_codes(any_model, 1, length)[0]
    numbers = uniforms(seed=2, clips=range(3), start=0, count=40)
    native = NativeSampler(any_model, 3, "f32")
    codes, _, _ = native.draw(native.start(3, native.prefill(prompt)), numbers)
    assert outside(any_model, codes, numbers, prompt=prompt).max() < TIE


def test_voices_stay_valid(any_model):
    sampler = NativeSampler(any_model, 1, "int8")
    numbers = uniforms(seed=1, clips=[0], start=0, count=50)
    _, _, sampler_state = sampler.draw(sampler.start(1), numbers)
    first, _, _ = sampler.draw(sampler_state, numbers)
    second, _, _ = sampler.draw(sampler_state, numbers)
    np.testing.assert_array_equal(first, second)


def test_sixteen_bit_activations_are_closer_than_eight(any_model):
    # Against the same 8-bit weights in exact arithmetic: what is left is the activations' rounding.
    if isinstance(any_model.head, MIXTURES):
        pytest.skip("the rounding of places or of small weights hides that of the activations")
    codes = random_codes(any_model)
    exact = reference_logits(any_model, codes)
    eight, sixteen = (
        np.abs(NativeSampler(any_model, 3, weights).logits(codes) - exact).mean()
        for weights in ("int8", "int8x16")
    )
    assert sixteen < eight


def test_scores_are_those_of_the_logits(any_model):
    codes = random_codes(any_model)
    sampler = NativeSampler(any_model, 3, "int8")
    logits = torch.from_numpy(sampler.logits(codes)).flatten(0, 1)
    expected = any_model.head.log_prob(logits, torch.from_numpy(codes).flatten())
    found, sampler_state = sampler.log_probs(codes)
    np.testing.assert_allclose(found.flatten(), expected.numpy(), atol=1e-5)
    assert sampler_state.state.clock == codes.shape[1]


def test_zero_blocks_change_nothing():
    # Most blocks of the recurrent matrices are zero: the sparse products leave them out.
    model, generator = make_model(EXTRA["skips"]), torch.Generator().manual_seed(0)
    for name, matrix in model.named_parameters():
        if not name.endswith("recurrent.v"):
            continue
        rows, columns = matrix.shape
        blocks = torch.rand(-(-rows // 16), -(-columns // 4), generator=generator) > 0.7
        mask = blocks.repeat_interleave(16, 0).repeat_interleave(4, 1)
        matrix.mul_(mask[:rows, :columns])
    codes = random_codes(model)
    with torch.inference_mode():
        silence = torch.full((3, 1), model.quantizer.silence)
        previous = torch.cat([silence, torch.from_numpy(codes[:, :-1])], 1)
        expected, _ = model(previous, model.initial_state(3))
    sampler = NativeSampler(model, 3, "f32")
    dense = NativeSampler(make_model(model.config), 1, "f32")
    assert sampler.packed.macs_per_sample < dense.packed.macs_per_sample
    assert np.abs(sampler.logits(codes) - expected.numpy()).max() < 1e-4
