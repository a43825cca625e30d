"""WaveRNN in the native engine: blocks left out, conditioning, what is refused."""

import copy

import numpy as np
import pytest
import torch
from tests.generate.conftest import make_model

from samplewise.config.models import WaveRNNConfig
from samplewise.engine import sampler as sampler_module
from samplewise.engine.sampler import NativeSampler
from samplewise.engine.weights import pack
from samplewise.generate.uniforms import uniforms
from samplewise.native import native_module

WIDTH, HOLD, SAMPLES, CLIPS = 5, 7, 40, 3
VECTORS = -(-SAMPLES // HOLD)


def reference_logits(model, codes, state=None):
    """In double precision; returns the state after them as well."""
    state, previous = state or (model.initial_state(len(codes)), None)
    if previous is None:
        previous = torch.full((len(codes),), model.quantizer.silence)
    codes = torch.from_numpy(codes)
    with torch.inference_mode():
        shifted = torch.cat([previous[:, None], codes[:, :-1]], 1)
        logits, state = model(shifted, state, codes)
    return logits.numpy(), (state, codes[:, -1])


def random_codes(clips=CLIPS, samples=SAMPLES):
    return np.random.default_rng(0).integers(0, 65536, (clips, samples))


@pytest.fixture(scope="module")
def small():
    return make_model(WaveRNNConfig(dim=70))


@pytest.mark.parametrize(("weights", "tolerance"), [("f32", 1e-4), ("f16", 0.05), ("int8", 0.6)])
def test_exactly_the_blocks_that_are_not_zero_are_multiplied(weights, tolerance):
    model, generator = make_model(WaveRNNConfig(dim=192)), torch.Generator().manual_seed(0)
    kept = 0
    for name in ("rnn.layers.0.recurrent.v", *(f"o{number}.weight.v" for number in range(1, 5))):
        matrix = model.get_parameter(name)
        rows, columns = matrix.shape
        blocks = torch.rand(rows // 16, columns // 4, generator=generator) > 0.9
        matrix.mul_(blocks.repeat_interleave(16, 0).repeat_interleave(4, 1))
        kept += 64 * int(blocks.sum())
    codes = random_codes()
    expected, _ = reference_logits(copy.deepcopy(model).double(), codes)
    sampler = NativeSampler(model, CLIPS, weights)
    assert sampler.packed.macs_per_sample == pytest.approx(kept)
    assert np.abs(sampler.logits(codes) - expected).max() < tolerance


@pytest.fixture
def conditioned(small, monkeypatch):
    """A model whose gates see vectors, their map and its description."""
    random = np.random.default_rng(1)
    condition = random.normal(size=(3 * small.config.dim, WIDTH)).astype(np.float32)
    description = pack(small) | {"condition_width": WIDTH, "hold": HOLD}
    description["arrays"]["wavernn.condition"] = condition
    monkeypatch.setattr(sampler_module, "pack", lambda model: description)
    vectors = random.normal(size=(CLIPS, VECTORS, WIDTH)).astype(np.float32)
    return small, condition, vectors


def conditioned_logits(model, condition, vectors, codes):
    """One vector after the other in the bias of a model without conditioning, clip by clip."""
    result = []
    for row, own in zip(codes, vectors, strict=True):
        state, parts = None, []
        for start, vector in zip(range(0, SAMPLES, HOLD), own, strict=True):
            shifted = copy.deepcopy(model).double()
            shifted.layer.input.bias.add_(torch.from_numpy(condition.astype(float) @ vector))
            logits, state = reference_logits(shifted, row[None, start : start + HOLD], state)
            parts.append(logits)
        result.append(np.concatenate(parts, 1))
    return np.concatenate(result)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("weights", "tolerance"), [("f32", 1e-4), ("f16", 0.05), ("int8", 0.6)])
def test_a_vector_is_a_bias_for_as_long_as_it_is_held(conditioned, weights, tolerance, threads):
    model, condition, vectors = conditioned
    codes = random_codes()
    expected = conditioned_logits(model, condition, vectors, codes)
    sampler = NativeSampler(model, CLIPS, weights, threads, pace="alternate")
    found = sampler.logits(codes, conditioning=vectors)
    assert np.abs(found - expected).max() < tolerance
    # They matter by more than that.
    wrong = conditioned_logits(model, condition, vectors[:, ::-1], codes)
    assert np.abs(found - wrong).max() > tolerance


@pytest.mark.parametrize("cut", [1, 3, 7, 10])
def test_chunks_and_prompts_take_the_vectors_of_their_samples(conditioned, cut, monkeypatch):
    model, _, vectors = conditioned
    sampler = NativeSampler(model, CLIPS, "f32")
    numbers = uniforms(1, range(CLIPS), 0, SAMPLES)
    expected, scores, _ = sampler.draw(sampler.start(CLIPS), numbers, conditioning=vectors)
    sampler_state, parts = sampler.start(CLIPS), []
    for start in range(0, SAMPLES, cut):
        end = min(start + cut, SAMPLES)
        own = vectors[:, start // HOLD : (end - 1) // HOLD + 1]
        part, _, sampler_state = sampler.draw(
            sampler_state, numbers[:, start:end], conditioning=own
        )
        parts.append(part)
    np.testing.assert_array_equal(np.concatenate(parts, 1), expected)
    # A prompt is heard in pieces too.
    monkeypatch.setattr(sampler_module, "PROMPT_CHUNK", cut)
    heard = sampler.prefill(expected[0, :20], conditioning=vectors[:1, : 19 // HOLD + 1])
    rest = vectors[:1, 20 // HOLD :]
    codes, _, _ = sampler.draw(sampler.start(1, heard), numbers[:1, 20:], conditioning=rest)
    np.testing.assert_array_equal(codes, expected[:1, 20:])
    forced = sampler.teacher_force(
        sampler.start(CLIPS), expected[:, :20], conditioning=vectors[:, : 19 // HOLD + 1]
    )
    found, _ = sampler.log_probs(expected[:, 20:], forced, conditioning=vectors[:, 20 // HOLD :])
    np.testing.assert_allclose(found, scores[:, 20:], atol=1e-12)


def test_conditioning_that_does_not_fit_is_refused(conditioned, small):
    _, _, vectors = conditioned
    sampler, codes = NativeSampler(small, CLIPS), random_codes()
    with pytest.raises(ValueError, match="the model needs conditioning"):
        sampler.logits(codes)
    with pytest.raises(ValueError, match="conditioning has 5 vectors, but samples 0 to 39 need 6"):
        sampler.logits(codes, conditioning=vectors[:, :-1])
    with pytest.raises(ValueError, match="conditioning has 4 entries along axis 2, not 5"):
        sampler.logits(codes, conditioning=vectors[..., :-1])
    state, forced = sampler.start(CLIPS).state, codes.astype(np.int32)
    with pytest.raises(ValueError, match="conditioning has 2 entries along axis 0, not 3"):
        sampler.engine.run(state, SAMPLES, forced=forced, conditioning=vectors[:2])


def test_a_model_that_sees_no_vectors_refuses_them(small):
    vectors = np.zeros((CLIPS, 1, WIDTH), np.float32)
    with pytest.raises(ValueError, match="the model takes no conditioning"):
        NativeSampler(small, CLIPS).logits(random_codes(), conditioning=vectors)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": 69}, "dim = 69 must be even: half of the units are for the coarse 8 bits"),
        ({"dim": 72}, "wavernn.recurrent is 210 x 70, not 216 x 72"),
        ({"condition_width": -1}, r"condition_width = -1 must lie in \[0, 65536\]"),
        ({"condition_width": 3}, r"hold = 0 must lie in \[1, 2147483647\]"),
        ({"condition_width": 3, "hold": 2}, "array wavernn.condition is missing"),
    ],
)
def test_a_description_that_does_not_fit_itself_is_refused(small, changes, message):
    with pytest.raises(ValueError, match=message):
        native_module().Model(**pack(small) | {"format": "f32"} | changes)


@pytest.mark.parametrize(
    "changes",
    [{"cell": "gru"}, {"n_rnn": 2}, {"skip": True}, {"frame_sizes": [1]}, {"dilations": [1]}],
)
def test_what_describes_another_family_is_refused(small, changes):
    with pytest.raises(TypeError, match="incompatible function arguments"):
        native_module().Model(**pack(small) | {"format": "f32"} | changes)


def test_fewer_codes_than_two_stages_make_are_refused(small):
    changes = {"q_levels": 256, "silence": 128}
    with pytest.raises(ValueError, match=r"q_levels = 256 must lie in \[65536, 65536\]"):
        native_module().Model(**pack(small) | {"format": "f32"} | changes)
