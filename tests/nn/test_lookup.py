"""Sums of table rows: lookups in parts and products with ones and zeros are the same sums."""

import pytest
import torch

from samplewise.nn import lookup
from samplewise.nn.lookup import OneHotProduct, sum_of_rows

ROWS, WINDOW, CODES, DIM = 7, 2, 8, 4


def sums_and_gradient(function, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(CODES, (ROWS, WINDOW), generator=generator)
    table = torch.randn(WINDOW * CODES, DIM, generator=generator, dtype=torch.float64)
    table = table.to(dtype).requires_grad_()
    weights = torch.randn(ROWS, DIM, generator=generator, dtype=torch.float64).to(dtype)
    sums = function(codes, table)
    return sums, torch.autograd.grad((sums * weights).sum(), table)[0], codes, table


def test_each_place_of_a_window_has_its_own_rows():
    sums, _, codes, table = sums_and_gradient(sum_of_rows)
    torch.testing.assert_close(sums, table[codes[:, 0]] + table[CODES + codes[:, 1]])


@pytest.mark.parametrize("most", [3 * DIM, ROWS * DIM])
def test_lookups_in_parts_equal_one_in_a_whole(most, monkeypatch):
    whole, of_whole, *_ = sums_and_gradient(sum_of_rows)
    monkeypatch.setattr(lookup, "MAX_ELEMENTS", most)
    sums, gradient, *_ = sums_and_gradient(sum_of_rows)
    assert torch.equal(sums, whole)
    torch.testing.assert_close(gradient, of_whole)


@pytest.mark.parametrize("rows", [1, 3, ROWS])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.bfloat16, 2e-2)])
def test_a_product_with_ones_and_zeros_gives_the_same(rows, dtype, tolerance, monkeypatch):
    monkeypatch.setattr(lookup, "ONE_HOT_ELEMENTS", rows * WINDOW * CODES)
    wanted, found = (sums_and_gradient(f, dtype) for f in (sum_of_rows, OneHotProduct.apply))
    torch.testing.assert_close(found[0], wanted[0], rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(found[1], wanted[1], rtol=tolerance, atol=tolerance)
