import numpy as np
import pytest
import torch

from samplewise.generate import reference
from samplewise.generate.batch_invariance import plan_rows
from samplewise.generate.reference import ReferenceSampler
from samplewise.generate.uniforms import uniforms
from samplewise.heads.dual_softmax import DualSoftmaxHead
from samplewise.heads.mixture import LogisticMixtureHead

CLIPS, DRAWN = 3, 37


def teacher_forced(model, codes):
    """-ln p of each code of (clips, time), after silence."""
    silence = torch.full((len(codes), 1), model.quantizer.silence)
    target = torch.from_numpy(codes)
    previous = torch.cat([silence, target[:, :-1]], 1)
    logits, _ = model(previous, model.initial_state(len(codes)), target)
    if model.head.is_density:
        return -model.head.log_density(logits, model.real_values[target]).numpy()
    if isinstance(model.head, LogisticMixtureHead):
        flat = model.head.log_prob(logits.flatten(0, 1), target.flatten())
        return -flat.view(target.shape).numpy()
    stages = [(logits, target)]
    if isinstance(model.head, DualSoftmaxHead):
        coarse, fine = logits.chunk(2, -1)
        stages = [(coarse, target // 256), (fine, target % 256)]
    nats = sum(
        torch.nn.functional.cross_entropy(part.mT, code, reduction="none") for part, code in stages
    )
    return nats.numpy()


def draw(model, prompt=None, temperature=None, seed=5, clips=CLIPS, count=DRAWN):
    sampler = ReferenceSampler(model, clips)
    assert sampler.max_batch >= 1
    parts = []
    for first in range(0, clips, sampler.max_batch):
        group = range(first, min(first + sampler.max_batch, clips))
        sampler_state = sampler.start(
            len(group), None if prompt is None else sampler.prefill(prompt)
        )
        temperatures = None if temperature is None else np.full(count, temperature)
        parts.append(sampler.draw(sampler_state, uniforms(seed, group, 0, count), temperatures)[:2])
    codes, log_probs = (np.concatenate(part) for part in zip(*parts, strict=True))
    return codes, log_probs


def test_log_probs_of_what_is_drawn_are_those_of_a_teacher_forced_pass(any_model):
    codes, log_probs = draw(any_model, temperature=0.7)
    np.testing.assert_allclose(-log_probs, teacher_forced(any_model, codes), rtol=1e-9)


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 24, 50])
def test_a_prompt_of_any_length_warms_every_tier(any_model, length, monkeypatch):
    monkeypatch.setattr(reference, "PROMPT_CHUNK", 20)
    prompt = np.random.default_rng(length).integers(0, any_model.q_levels, length)
    codes, log_probs = draw(any_model, prompt, count=20)  # two top frames and more
    whole = np.concatenate([np.tile(prompt, (CLIPS, 1)), codes], 1)
    expected = teacher_forced(any_model, whole)[:, length:]
    np.testing.assert_allclose(-log_probs, expected, rtol=1e-9)


def test_a_prompt_makes_a_difference(loaded):
    model = loaded.model
    assert not np.array_equal(draw(model)[0], draw(model, np.array([0]))[0])
    early = np.full(40, model.quantizer.silence)
    late = early.copy()
    late[0] = 0  # beyond every frame: only the recurrent state remembers it
    assert not np.array_equal(draw(model, early)[1], draw(model, late)[1])


def test_chunks_equal_one_go(any_model, monkeypatch):
    monkeypatch.setattr(reference, "SCORE_CHUNK", 5)
    sampler = ReferenceSampler(any_model)
    numbers, temperatures = uniforms(1, [0], 0, DRAWN), np.linspace(0.5, 1.5, DRAWN)
    codes, log_probs, _ = sampler.draw(sampler.start(1), numbers, temperatures)
    sampler_state, parts = sampler.start(1), []
    for part in (slice(0, 1), slice(1, 14), slice(14, 14), slice(14, DRAWN)):
        *drawn, sampler_state = sampler.draw(sampler_state, numbers[:, part], temperatures[part])
        parts.append(drawn)
    together = [np.concatenate(column, 1) for column in zip(*parts, strict=True)]
    assert np.array_equal(together[0], codes)
    assert np.array_equal(together[1], log_probs)


def test_going_on_twice_from_the_same_place_gives_the_same(loaded):
    sampler = ReferenceSampler(loaded.model)
    _, _, sampler_state = sampler.draw(sampler.start(1), uniforms(1, [0], 0, 11))
    first, _, _ = sampler.draw(sampler_state, uniforms(1, [0], 11, 20))
    sampler.draw(sampler.start(1), uniforms(2, [0], 0, 20))
    second, _, _ = sampler.draw(sampler_state, uniforms(1, [0], 11, 20))
    assert np.array_equal(first, second)


def test_temperature_applies_to_its_own_sample_alone(loaded):
    sampler = ReferenceSampler(loaded.model)
    numbers, temperatures = np.full((1, 40), 0.9, np.float32), np.ones(40)
    plain, _, _ = sampler.draw(sampler.start(1), numbers, temperatures)
    temperatures[23] = 0.01
    cold, cold_scores, _ = sampler.draw(sampler.start(1), numbers, temperatures)
    assert np.array_equal(plain[:, :23], cold[:, :23])
    assert plain[0, 23] != cold[0, 23]
    # Near temperature 0 the likeliest code is drawn, and still scored at temperature 1.
    with torch.inference_mode():
        previous = [loaded.model.quantizer.silence, *cold[0, :23]]
        logits, _ = loaded.model(torch.tensor([previous]), loaded.model.initial_state(1))
    assert cold[0, 23] == logits[0, -1].argmax()
    expected = logits[0, -1].double().log_softmax(-1).max().item()
    assert cold_scores[0, 23] == pytest.approx(expected, rel=1e-5)


def test_codes_outside_the_quantiser_are_refused_in_a_prompt(loaded):
    with pytest.raises(ValueError, match=r"range from 0 to 256, not within \[0, 256\)"):
        ReferenceSampler(loaded.model).prefill(np.array([0, 256]))


def test_folding_for_inference_changes_nothing(any_model):
    codes, log_probs = draw(any_model)
    any_model.fold()
    folded_codes, folded = draw(any_model)
    assert np.array_equal(codes, folded_codes)
    np.testing.assert_allclose(folded, log_probs, rtol=1e-9)


def test_scores_agree_with_the_training_loss(loaded):
    codes, log_probs = draw(loaded.model, clips=1)
    target = torch.from_numpy(codes)
    previous = torch.cat([torch.full((1, 1), 128), target[:, :-1]], 1)
    logits, _ = loaded.model(previous, loaded.model.initial_state(1))
    nll = loaded.model.head.nll(logits, target).numpy()
    np.testing.assert_allclose(-log_probs, nll, rtol=1e-4, atol=1e-5)


def test_a_plan_has_one_size_for_few_and_one_for_many(loaded):
    plan = plan_rows(loaded.model, 21)
    assert plan.fewest <= plan.max_batch
    assert {plan.rows(clips) for clips in range(1, plan.max_batch + 1)} == {
        plan.fewest,
        plan.max_batch,
    }
    with pytest.raises(ValueError, match="clips = 0"):
        plan.rows(0)
    with pytest.raises(ValueError, match="batch = 0"):
        plan_rows(loaded.model, 0)
