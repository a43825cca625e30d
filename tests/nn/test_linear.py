"""A matrix with gains and a mask: which of its weights count, move and come back."""

import pytest
import torch

from samplewise.nn.linear import Linear, Weight


@pytest.fixture(params=[True, False])
def weight(request):
    torch.manual_seed(0)
    weight = Weight(torch.randn(8, 12, dtype=torch.double), weight_norm=request.param)
    if weight.g is not None:
        with torch.no_grad():
            weight.g.mul_(1 + torch.rand(8))
    return weight


def some_blocks():
    kept = torch.zeros(4, 3, dtype=torch.bool)  # of 2 x 4
    kept[0, 1] = kept[1, 0] = kept[1, 2] = kept[3, 1] = True  # nothing of rows 4 and 5
    return kept


def elements(kept, rows=2, columns=4):
    """Written out, element by element."""
    return torch.tensor(
        [
            [bool(kept[i // rows, j // columns]) for j in range(kept.shape[1] * columns)]
            for i in range(kept.shape[0] * rows)
        ]
    )


def test_with_and_without_gradients_the_matrix_is_the_same():
    weight = Weight(torch.randn(8, 12, dtype=torch.double), weight_norm=True)
    assert weight.g is not None
    with torch.no_grad():
        weight.g.mul_(1 + torch.rand(8))
        expected = weight()
        assert torch.equal(expected, weight.v * (weight.g / weight.v.norm(dim=1)).unsqueeze(1))
    torch.testing.assert_close(weight(), expected)

    def matrix(v, g):
        return torch.func.functional_call(weight, {"v": v, "g": g}, ())

    assert torch.autograd.gradcheck(matrix, (weight.v, weight.g))


def test_pruning_zeroes_whole_blocks_and_leaves_every_other_weight_as_it_was(weight):
    before = weight().detach().clone()
    weight.prune(some_blocks())
    torch.testing.assert_close(weight(), before * elements(some_blocks()))
    assert weight.block == (2, 4)
    assert torch.equal(weight() != 0, elements(some_blocks()))
    fewer = some_blocks()
    fewer[1, 2] = False
    weight.prune(fewer)
    torch.testing.assert_close(weight(), before * elements(fewer))


def test_what_is_pruned_gets_no_gradient_and_the_rest_that_of_the_masked_matrix(weight):
    weight.prune(some_blocks())
    other = torch.randn(8, 12, dtype=torch.double)
    (weight() * other).sum().backward()
    assert torch.equal(weight.v.grad != 0, elements(some_blocks()))
    # A gain scales its row: what the row would change by, per unit of gain.
    if weight.g is not None:
        norm = weight.v.detach().norm(dim=1)
        share = (weight.v.detach() * other).sum(1) / torch.where(norm > 0, norm, 1.0)
        torch.testing.assert_close(weight.g.grad, share)
        # Weight normalisation: no gradient along a row's own direction.
        along = (weight.v.grad * weight.v.detach()).sum(1)
        torch.testing.assert_close(along, torch.zeros_like(along))


def test_a_pruning_mask_and_a_structural_one_hold_both(weight):
    structure = torch.ones(8, 12, dtype=torch.bool)
    structure[:, 5] = False
    weight.mask = structure
    weight.prune(some_blocks())
    assert torch.equal(weight() != 0, elements(some_blocks()) & structure)


def test_a_folded_matrix_is_the_same_and_multiplies_no_mask_any_more(weight):
    weight.prune(some_blocks())
    before = weight().detach().clone()
    weight.fold()
    torch.testing.assert_close(weight(), before)
    assert weight() is weight.v
    assert torch.equal(weight.kept, some_blocks())


def test_a_product_with_a_pruned_map_is_that_with_the_dense_matrix_of_zeros():
    torch.manual_seed(1)
    layer = Linear(torch.randn(8, 12, dtype=torch.double))
    x = torch.randn(5, 12, dtype=torch.double)
    dense = layer.weight().detach() * elements(some_blocks())
    layer.weight.prune(some_blocks())
    torch.testing.assert_close(layer(x), x @ dense.T + layer.bias)


@pytest.mark.parametrize("shape", [(3, 3), (4, 5), (0, 3), (16, 3)])
def test_blocks_that_do_not_tile_the_matrix_are_refused(weight, shape):
    with pytest.raises(ValueError, match="8 x 12 is not a whole number of blocks"):
        weight.prune(torch.ones(shape, dtype=torch.bool))


def test_blocks_do_not_come_back(weight):
    weight.prune(some_blocks())
    more = some_blocks()
    more[2, 0] = True
    with pytest.raises(ValueError, match="cannot come back, nor change their size"):
        weight.prune(more)
    with pytest.raises(ValueError, match="cannot come back, nor change their size"):
        weight.prune(some_blocks().repeat_interleave(2, 1))
