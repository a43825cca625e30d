"""SampleRNN with a linear predictor, and costs at a part of the samples."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.models.conftest import CONFIGS, built

from samplewise.config.samplernn import SampleRNNConfig
from samplewise.models.build import build_model
from samplewise.nn.state import to_tensors

LANES, TIME = 2, 72
CONFIG = CONFIGS["predictor"]


def lanes_of(model):
    generator = torch.Generator().manual_seed(5)
    codes = torch.randint(model.q_levels, (LANES, TIME + 1), generator=generator)
    mask = torch.arange(TIME) < torch.tensor([[TIME], [TIME - 13]])
    return codes[:, :-1], codes[:, 1:], mask


@pytest.mark.parametrize("name", ["predictor", "3-tier", "4-tier-lstm"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_costs_at_every_phase_sum_to_the_whole_cost(name, stride):
    model = built(name)
    previous, target, mask = lanes_of(model)
    state = model.initial_state(LANES)
    params, after = model(previous, state)
    whole = model.nll(params, target).masked_fill(~mask, 0.0).sum()
    estimates = []
    for phase in range(stride):
        # A phase is chosen by the clock. TIME is a whole number of top frames, so nothing else is.
        begun = replace(state, clock=phase * TIME)
        estimate, end = model.strided_nll(previous, begun, target, mask, stride)
        estimates.append(estimate)
        kept, expected = to_tensors(end), to_tensors(after)
        for part in kept.keys() - {"conditions.0"}:  # of a frame that is over
            torch.testing.assert_close(kept[part], expected[part])
    torch.testing.assert_close(torch.stack(estimates).mean(), whole)
    assert len({estimate.item() for estimate in estimates}) == stride


def test_an_untrained_model_predicts_the_logistic_distribution():
    model = build_model(replace(CONFIG, quantizer="mulaw", q_levels=256), seed=0)
    model.start_at(np.ones(256, np.int64))
    wave = 0.3 * np.sin(0.2 * np.arange(2000)) + 0.003 * np.random.default_rng(0).normal(size=2000)
    codes = torch.from_numpy(model.quantizer.encode(wave))[None]
    with torch.no_grad():
        params, _ = model(codes[:, :-1], model.initial_state(1))
    bits = model.nll(params, codes[:, 1:]) / np.log(2)
    assert bits[0, 200:].mean() < 6  # no code is likelier than another without the prediction: 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lp_order": -1}, "lp_order = -1"),
        ({"lp_order": 200}, "lp_window = 128"),
        ({"lp_hop": 0}, "lp_hop = 0"),
        ({"lp_noise": 0.0}, "lp_noise = 0"),
        ({"lp_errors": 129}, "lp_errors = 129"),
        ({"mlp_maps": 4}, "mlp_maps = 4"),
        ({"head": "gmm", "sample_input": "real"}, "categorical or mol"),
        ({"lp_method": "burg", "lp_order": 120, "lp_tilt": (0.5,) * 8}, "lp_window = 128"),
        ({"lp_method": "burg", "lp_tilt": (1e3,)}, "lp_tilt"),
        (
            {"lp_tilt": (0.5,)},
            'lp_tilt of 1 weights needs lp_method = "burg"',
        ),
        ({"lp_damping": 0.2}, "lp_damping = 0.2"),
        ({"lp_largest_error": 0.0}, "lp_largest_error = 0"),
    ],
)
def test_impossible_sizes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes)


def test_two_maps_express_what_three_do():
    sizes = {"frame_sizes": (2, 2, 4), "dim": 6, "emb_size": 5, "q_levels": 16}
    three = build_model(SampleRNNConfig(**sizes), seed=3).double()
    two = build_model(SampleRNNConfig(mlp_maps=2, weight_norm=False, **sizes), seed=4).double()
    three.fold()
    with torch.no_grad():
        first, hidden, last = list(three.sample_level.mlp)
        for new, old in zip(two.frame_levels, three.frame_levels, strict=True):
            new.load_state_dict(old.state_dict())
        up = two.tiers[0].upsample
        up.weight.v.copy_(torch.block_diag(*[first.weight.v] * 2) @ up.weight.v)
        up.bias.copy_((up.bias.view(2, -1) @ first.weight.v.T + first.bias).flatten())
        two.sample_level.embedding.copy_(three.sample_level.embedding)
        two.sample_level.input.v.copy_(first.weight.v @ three.sample_level.input.v)
        for new, old in zip(two.sample_level.mlp, (hidden, last), strict=True):
            new.load_state_dict(old.state_dict())
    codes = torch.randint(16, (2, 40), generator=torch.Generator().manual_seed(0))
    expected, _ = three(codes, three.initial_state(2))
    found, _ = two(codes, two.initial_state(2))
    torch.testing.assert_close(found, expected)
