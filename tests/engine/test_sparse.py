"""Pruned models in the engine: the same numbers, and only the blocks that are left."""

import copy

import numpy as np
import pytest
import torch
from tests.engine.test_agreement import TOLERANCE, random_codes

from samplewise.config.models import RNNConfig, SampleRNNConfig
from samplewise.engine.sampler import NativeSampler
from samplewise.models.build import build_model
from samplewise.models.pruning import prune_model

SIZES = {"dim": 64, "q_levels": 64, "emb_size": 5}
CONFIGS = {
    "3-tier": SampleRNNConfig(frame_sizes=(2, 2, 8), cell="gru-reset-after", **SIZES),
    "skips": SampleRNNConfig(frame_sizes=(4, 4, 16), n_rnn=2, skip=True, cell="lstm", **SIZES),
    "rnn": RNNConfig(n_rnn=2, **SIZES),
}


def sparse_model(config, share, block):
    model = build_model(config, seed=1).eval().requires_grad_(False)
    model.prepare_to_prune()
    torch.manual_seed(1)
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    prune_model(model, share, block)
    return model


def reference_logits(model, codes):
    silence = np.full((len(codes), 1), model.quantizer.silence)
    previous = torch.from_numpy(np.concatenate([silence, codes[:, :-1]], 1))
    double = copy.deepcopy(model)
    double.fold()  # from here on plain matrices, with zeros in them
    double = double.double()
    with torch.inference_mode():
        return double(previous, double.initial_state(len(codes)))[0].numpy()


@pytest.mark.parametrize("weights", ["f32", "int8"])
@pytest.mark.parametrize("kind", CONFIGS)
def test_the_sparse_product_is_that_with_the_dense_matrix_of_zeros(kind, weights):
    model = sparse_model(CONFIGS[kind], 0.8, (16, 4))
    codes = random_codes(model)
    found = NativeSampler(model, 3, weights, threads=1).logits(codes)
    assert np.abs(found - reference_logits(model, codes)).max() < TOLERANCE[weights]


@pytest.mark.parametrize(("weights", "block"), [("int8", (16, 4)), ("f16", (16, 1))])
@pytest.mark.parametrize("kind", ["3-tier", "rnn"])
def test_the_engine_multiplies_the_blocks_that_are_left_and_no_more(kind, weights, block):
    """For SampleRNN too, of which pairs of maps are multiplied out when it is packed."""
    dense = build_model(CONFIGS[kind], seed=1)
    whole = NativeSampler(dense, 1, weights).packed.macs_per_sample
    for share in (0.5, 0.75):
        model = sparse_model(CONFIGS[kind], share, block)
        macs = NativeSampler(model, 1, weights).packed.macs_per_sample
        assert macs == pytest.approx((1 - share) * whole, rel=1e-12)
