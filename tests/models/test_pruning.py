"""Which blocks go, in which matrices of which models."""

import pytest
import torch
from tests.models.conftest import CONFIGS

from samplewise.config.models import HybridConfig, RNNConfig, SampleRNNConfig, WaveNetConfig
from samplewise.models.base import AutoregressiveModel
from samplewise.models.build import build_model
from samplewise.models.pruning import (
    apply_masks,
    block_magnitudes,
    keep_largest,
    masks_of,
    prune_model,
    zero_share,
)
from samplewise.models.wavernn import WaveRNN, WaveRNNConfig

SIZES = {"dim": 16, "q_levels": 16, "emb_size": 5}
WIDE = {
    "samplernn": SampleRNNConfig(frame_sizes=(2, 2, 8), **SIZES),
    "skips": SampleRNNConfig(
        frame_sizes=(4, 4, 8), n_rnn=2, skip=True, weight_norm=False, cell="lstm", **SIZES
    ),
    "rnn": RNNConfig(n_rnn=2, **SIZES),
    "gmm": RNNConfig(sample_input="real", head="gmm", **SIZES),
    "wavenet": WaveNetConfig(blocks=1, layers=3, channels=8, skip_channels=16, q_levels=16),
    "hybrid": HybridConfig(
        dim=16, frame_size=6, blocks=1, layers=3, channels=8, skip_channels=16, q_levels=16
    ),
    "wavernn": WaveRNNConfig(dim=16),
}


@pytest.fixture(params=WIDE)
def wide(request):
    model = build_model(WIDE[request.param], seed=2)
    model.prepare_to_prune()
    return model


def written_out(matrix, block, bands):
    """Mean magnitude of each block of each band: loops, smallest first."""
    height, found = len(matrix) // bands, []
    for band in range(bands):
        means = []
        for top in range(band * height, (band + 1) * height, block[0]):
            for left in range(0, matrix.shape[1], block[1]):
                tile = matrix[top : top + block[0], left : left + block[1]]
                means.append((float(tile.abs().mean()), top, left))
        found.append(sorted(means))
    return found


@pytest.mark.parametrize("block", [(4, 4), (8, 1), (1, 1)])
def test_in_every_gate_the_blocks_of_smallest_mean_magnitude_go(wide, block):
    before = {part.name: part.weight().detach().clone() for part in wide.prunable()}
    prune_model(wide, 0.6, block)
    for part in wide.prunable():
        expected = before[part.name].clone()
        for blocks in written_out(expected, block, part.bands):
            for _, top, left in blocks[: round(0.6 * len(blocks))]:
                expected[top : top + block[0], left : left + block[1]] = 0
        torch.testing.assert_close(part.weight().detach(), expected)


def test_pruning_in_steps_never_gives_a_block_back_and_ends_where_one_step_would(wide):
    once = build_model(wide.config, seed=2)
    once.prepare_to_prune()
    prune_model(once, 0.75, (4, 4))
    pruned = {}
    for share in (0.0, 0.3, 0.3, 0.5, 0.75):
        prune_model(wide, share, (4, 4))
        for name, kept in masks_of(wide).items():
            assert not (kept & ~pruned.get(name, kept)).any()
            pruned[name] = kept
    torch.testing.assert_close(masks_of(wide), masks_of(once))
    torch.testing.assert_close(dict(wide.named_parameters()), dict(once.named_parameters()))
    # What was zeroed stays the smallest, even if everything else is smaller than it would be.
    with torch.no_grad():
        for part in wide.prunable():
            part.weight.v.mul_(1e-30)
    prune_model(wide, 0.8, (4, 4))
    assert all(not (kept & ~pruned[name]).any() for name, kept in masks_of(wide).items())
    blocks = [
        len(p.weight.kept.view(-1)) // p.bands for p in wide.prunable() for _ in range(p.bands)
    ]
    exact = sum(round(0.8 * n) * 16 for n in blocks) / sum(n * 16 for n in blocks)
    assert zero_share(wide) == pytest.approx(exact)


def test_masks_go_from_one_model_to_another_and_to_no_stranger(wide):
    prune_model(wide, 0.5, (4, 4))
    other = build_model(wide.config, seed=9)
    apply_masks(other, masks_of(wide))
    for part, copy in zip(wide.prunable(), other.prunable(), strict=True):
        assert torch.equal(part.weight() == 0, copy.weight() == 0)
    with pytest.raises(ValueError, match=r"nowhere is no matrix of this model"):
        apply_masks(other, {"nowhere": torch.ones(1, 1, dtype=torch.bool)})


def test_equals_go_in_order_and_shares_are_rounded():
    kept = keep_largest(torch.ones(2, 3), 0.5)
    assert kept.tolist() == [[False, False, False], [True, True, True]]
    assert keep_largest(torch.ones(2, 3), 0.58).sum() == 3
    assert keep_largest(torch.ones(2, 3), 0.59).sum() == 2
    assert block_magnitudes(torch.tensor([[1.0, -3.0], [0.0, 2.0]]), (2, 1)).tolist() == [
        [0.5, 2.5]
    ]


def test_blocks_that_learned_to_be_zero_do_not_go_in_place_of_those_that_went_before():
    model = WaveRNN(WaveRNNConfig(dim=32), seed=0)
    weight = model.o1.weight  # 16 blocks
    prune_model(model, 0.5, (4, 4))
    assert weight.kept is not None
    with torch.no_grad():
        for place in weight.kept.nonzero()[:4]:
            row, column = (4 * int(index) for index in place)
            weight.v[row : row + 4, column : column + 4] = 0
    prune_model(model, 9 / 16, (4, 4))
    assert weight.kept.sum() == 7


def test_the_wide_matrices_are_nearly_all_of_the_papers_models():
    """Section 3.1 and 5.2: R by gates, O1 to O4; biases, I* and h0 are what is left."""
    model = WaveRNN(WaveRNNConfig(), seed=None)
    bands = {part.name: part.bands for part in model.prunable()}
    assert bands == {
        "rnn.layers.0.recurrent": 3,
        **{f"o{i}.weight": 1 for i in range(1, 5)},
    }
    assert sum(p.weight.v.numel() for p in model.prunable()) == 3_045_952 - 3 * (3 * 896 - 448)
    # Three tiers: everything but the embedding, what frames come in by, and the folded map.
    three = build_model(SampleRNNConfig(), seed=None)
    names = {part.name: part.bands for part in three.prunable()}
    assert names == {
        "frame_levels.0.rnn.layers.0.recurrent": 3,
        "frame_levels.0.rnn.layers.0.input.weight": 3,
        "frame_levels.0.upsample.weight": 1,
        "frame_levels.1.rnn.layers.0.recurrent": 3,
        "frame_levels.1.upsample.weight": 1,
        "sample_level.mlp.1.weight": 1,
        "sample_level.mlp.2.weight": 1,
    }


def test_a_first_map_that_is_the_identity_leaves_its_input_alone():
    model = build_model(WIDE["samplernn"], seed=3).double()
    model.prepare_to_prune()
    first, x = model.sample_level.mlp[0], torch.randn(3, 16, dtype=torch.double)
    torch.testing.assert_close(first(x), x)
    with torch.no_grad():
        first.weight.v.add_(1.0)
    assert torch.equal(first.weight() != 0, torch.eye(16, dtype=torch.bool))
    model.prepare_to_prune()  # again: as before
    torch.testing.assert_close(first(x), x)


def test_a_block_that_does_not_fit_is_refused_with_the_matrix_it_does_not_fit():
    model = build_model(CONFIGS["wavernn"], seed=0)
    message = r"block = 16x4 does not divide rnn.layers.0.recurrent, 3 times 8 x 8; choose another"
    with pytest.raises(ValueError, match=message):
        prune_model(model, 0.5, (16, 4))
    with pytest.raises(ValueError, match=r"block = 4x3 does not divide .* 3 times 8 x 8"):
        prune_model(model, 0.5, (4, 3))
    with pytest.raises(ValueError, match=r"share = 1.5 must lie in \[0, 1\]"):
        prune_model(model, 1.5, (4, 4))
    model.wide_weights = lambda: AutoregressiveModel.wide_weights(model)
    with pytest.raises(ValueError, match="a model of the family wavernn has nothing to prune"):
        prune_model(model, 0.5, (4, 4))
