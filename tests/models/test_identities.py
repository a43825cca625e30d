"""What must hold for every autoregressive model."""

from functools import cache

import numpy as np
import pytest
import torch
from tests.models.conftest import CONFIGS, built
from tests.models.told import told as vectors

from samplewise.models.segment_model import SegmentModel
from samplewise.models.step_model import StepModel
from samplewise.nn.state import map_tensors, to_tensors

BATCH, TIME = 3, 29
SYMBOLS = {"wavernn": (256, 2), "subscale-wavernn": (256, 2), "fused-subscale-wavernn": (16, 4)}
"""Base and number of the symbols of a code of 16 bits."""


def time_of(model):
    """About TIME samples; whole segments for a model that knows no less."""
    segment = 1 if isinstance(model, StepModel) else model.config.top_frame
    return -(-TIME // segment) * segment


def codes_of(model):
    time = time_of(model)
    return torch.randint(model.q_levels, (BATCH, time), generator=torch.Generator().manual_seed(2))


def targets_of(model, codes):
    """What follows each code: models that draw in stages look at it."""
    last = torch.randint(model.q_levels, (BATCH, 1), generator=torch.Generator().manual_seed(3))
    return torch.cat([codes[:, 1:], last], 1)


@pytest.fixture
def codes(model):
    return codes_of(model)


@pytest.fixture
def targets(model, codes):
    return targets_of(model, codes)


@pytest.fixture
def told(model):
    return vectors(model, BATCH, TIME)


def between(told, start=None, stop=None):
    return None if told is None else told[:, start:stop]


@cache
def whole_pass(name):
    """Return a model, what it is given and what it makes of it; they are shared: do not change."""
    model = built(name)
    codes = codes_of(model)
    targets, told = targets_of(model, codes), vectors(model, BATCH, TIME)
    return model, codes, targets, told, *model(codes, model.initial_state(BATCH), targets, told)


def assert_states_equal(left, right):
    assert left.clock == right.clock
    torch.testing.assert_close(to_tensors(left), to_tensors(right))


@torch.no_grad()
def test_forward_equals_repeated_step(stepwise, model, codes, targets, told):
    whole, last = model(codes, model.initial_state(BATCH), targets, told)
    state, stepped = model.initial_state(BATCH), []
    for t in range(TIME):
        logits, state = model.step(
            codes[:, t], state, targets[:, t], None if told is None else told[:, t]
        )
        stepped.append(logits)
    torch.testing.assert_close(torch.stack(stepped, 1), whole)
    assert_states_equal(state, last)


@torch.no_grad()
@pytest.mark.parametrize("cut", range(1, TIME))
@pytest.mark.parametrize("name", CONFIGS)
def test_state_carries_across_a_cut_at_any_sample(name, cut):
    model, codes, targets, told, whole, last = whole_pass(name)
    if isinstance(model, SegmentModel) and cut % model.config.top_frame:
        pytest.skip("a segment cannot be cut")
    head, state = model(
        codes[:, :cut], model.initial_state(BATCH), targets[:, :cut], between(told, 0, cut)
    )
    tail, state = model(codes[:, cut:], state, targets[:, cut:], between(told, cut))
    torch.testing.assert_close(torch.cat([head, tail], 1), whole)
    assert_states_equal(state, last)


@torch.no_grad()
@pytest.mark.parametrize("t", [0, 1, 7, 8, 15, TIME - 5])
@pytest.mark.parametrize("name", CONFIGS)
def test_no_output_sees_a_later_sample_and_every_output_sees_its_own(name, t):
    model, codes, targets, told, before, _ = whole_pass(name)
    if isinstance(model, SegmentModel):
        pytest.skip("its samples depend on later ones")
    changed = codes.clone()
    changed[:, t] = (changed[:, t] + 1) % model.q_levels
    after, _ = model(changed, model.initial_state(BATCH), targets, told)
    torch.testing.assert_close(before[:, :t], after[:, :t], rtol=0, atol=0)
    seen = t
    independent = getattr(model.config, "sample_input", None) == "none"
    if independent and not model.config.lp_order:
        # Multi-Softmax: the samples of a frame are independent given the frames before it.
        frame = model.config.frame_sizes[1]
        seen = -(-t // frame) * frame
        assert torch.equal(before[:, t:seen], after[:, t:seen])
    assert not torch.equal(before[:, seen], after[:, seen])


@torch.no_grad()
def test_memory_reaches_beyond_the_frames(model, codes, targets, told):
    changed, other = codes.clone(), targets.clone()
    changed[:, 0] = (changed[:, 0] + 5) % model.q_levels
    if isinstance(model, SegmentModel):  # such a model takes what came before from the targets
        other[:, 0] = (other[:, 0] + 4097) % model.q_levels
    before, _ = model(codes, model.initial_state(BATCH), targets, told)
    after, _ = model(changed, model.initial_state(BATCH), other, told)
    assert not torch.isclose(before[:, -1], after[:, -1], rtol=1e-9, atol=0).all()


@torch.no_grad()
def test_rows_of_a_batch_do_not_mix(model, codes, targets, told):
    whole, _ = model(codes, model.initial_state(BATCH), targets, told)
    alone, _ = model(
        codes[1:2], model.initial_state(1), targets[1:2], None if told is None else told[1:2]
    )
    torch.testing.assert_close(alone, whole[1:2])


@torch.no_grad()
def test_reset_rows_start_anew_and_the_others_go_on(model, codes, targets, told):
    length = model.config.top_frame
    _, state = model(
        codes[:, :length], model.initial_state(BATCH), targets[:, :length], between(told, 0, length)
    )
    mask = torch.tensor([False, True, False])
    logits, _ = model(
        codes[:, length:], model.reset(state, mask), targets[:, length:], between(told, length)
    )
    carried, _ = model(codes[:, length:], state, targets[:, length:], between(told, length))
    fresh, _ = model(
        codes[:, length:], model.initial_state(BATCH), targets[:, length:], between(told, length)
    )
    torch.testing.assert_close(logits[1], fresh[1])
    torch.testing.assert_close(logits[[0, 2]], carried[[0, 2]])


@torch.no_grad()
def test_a_row_cannot_start_in_the_middle_of_a_frame(stepwise, model, codes, targets, told):
    if model.config.top_frame == 1:
        pytest.skip("a frame of one sample has no middle")
    first = between(told, 0, 1)
    _, state = model(codes[:, :1], model.initial_state(BATCH), targets[:, :1], first)
    with pytest.raises(ValueError, match="clock = 1 must be a multiple of the top frame"):
        model.reset(state, torch.ones(BATCH, dtype=torch.bool))


def test_every_parameter_has_a_gradient_even_without_a_reset(model, codes, targets, told):
    length = model.config.top_frame
    state = map_tensors(model.initial_state(BATCH), torch.detach)
    state = model.reset(state, torch.zeros(BATCH, dtype=torch.bool))
    logits, _ = model(
        codes[:, : 2 * length], state, targets[:, : 2 * length], between(told, 0, 2 * length)
    )
    logits.sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@torch.no_grad()
def test_folding_weight_norm_changes_nothing(model, codes, targets, told):
    from samplewise.nn.linear import fold_weight_norm

    before, _ = model(codes, model.initial_state(BATCH), targets, told)
    fold_weight_norm(model)
    assert not any(name.endswith(".g") for name, _ in model.named_parameters())
    after, _ = model(codes, model.initial_state(BATCH), targets, told)
    torch.testing.assert_close(after, before)


@torch.no_grad()
def test_a_model_can_start_at_the_frequencies_of_codes(model, codes, targets, told):
    if model.head.is_density:
        assert list(model.output_maps()) == []
        return
    if getattr(model.config, "lp_order", 0):
        pytest.skip("starts at the prediction, tests/models/test_predictor.py")
    if getattr(model.config, "head", None) == "mol":
        assert list(model.output_maps()) == []
        return
    counts = np.random.default_rng(0).integers(0, 9, model.q_levels)
    model.start_at(counts)
    for linear, _ in model.output_maps():
        linear.weight.scale(0.0)
    params, _ = model(codes, model.initial_state(BATCH), targets, told)
    base, places = SYMBOLS.get(model.config.family, (model.q_levels, 1))
    expected = 0.0
    for divisor in base ** np.arange(places):
        symbols = np.arange(model.q_levels) // divisor % base
        occurred = np.bincount(symbols, counts, base) + 0.1
        expected -= np.log(occurred / occurred.sum())[targets.numpy() // divisor % base]
    nll = model.head.nll(params, targets).double()
    torch.testing.assert_close(nll, torch.tensor(expected), rtol=1e-5, atol=0)
