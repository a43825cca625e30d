import time

import pytest
import torch
from torch.nn import functional as F

from samplewise.nn import matmul as module
from samplewise.nn.matmul import faster_library, linear, product, products_by, uses_onednn

onednn = pytest.mark.skipif(module._linear is None, reason="this torch has no oneDNN product")


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("lead", [(64,), (4, 16), (3,), (0,)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_linear_and_its_gradients_are_those_of_torch(lead, has_bias):
    x, weight = normal(*lead, 512), normal(192, 512)
    bias = normal(192) if has_bias else None
    inputs = [value for value in (x, weight, bias) if value is not None]
    results = []
    for function in (linear, F.linear):
        for value in inputs:
            value.requires_grad_().grad = None
        y = function(x, weight, bias)
        (y * torch.arange(192.0)).sum().backward()
        results.append([y.detach(), *(value.grad for value in inputs)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-2)


@onednn
def test_large_float32_products_are_onednns_and_no_others():
    assert uses_onednn(normal(64, 512), 192)
    assert uses_onednn(normal(1024, 128), 192)
    assert not uses_onednn(normal(3, 4096), 4096)
    assert not uses_onednn(normal(16, 16), 16)
    assert not uses_onednn(normal(64, 512).double(), 192)
    assert not uses_onednn(torch.empty(64, 512, device="meta"), 192)
    with torch.autocast("cpu", torch.bfloat16):
        assert not uses_onednn(normal(64, 512), 192)
        assert linear(normal(64, 512), normal(192, 512)).dtype == torch.bfloat16


def test_a_block_can_leave_its_products_to_torch():
    a, b = normal(64, 512), normal(192, 512)
    before = product(a, b)
    with products_by("blas"):
        assert not uses_onednn(a, 192)
        assert torch.equal(product(a, b), a @ b.t())
    assert torch.equal(product(a, b), before)


@onednn
@pytest.mark.parametrize(("slow", "chosen"), [("onednn", "blas"), ("blas", "onednn")])
def test_the_library_that_needs_less_time_is_chosen(monkeypatch, slow, chosen):
    def multiply(a, b):
        time.sleep(0.02 if uses_onednn(a, len(b)) == (slow == "onednn") else 0.01)

    monkeypatch.setattr(module, "product", multiply)
    assert faster_library.__wrapped__() == chosen


@onednn
def test_a_row_does_not_depend_on_how_many_there_are():
    row, weight = normal(1, 320), normal(256, 320)
    expected = product(row.expand(4, -1), weight)[:1]
    for rows in (4, 5, 16, 33, 64):
        assert torch.equal(product(row.expand(rows, -1), weight), expected.expand(rows, -1))


@pytest.mark.parametrize("transposed", [True, False])
def test_strides_do_not_matter(transposed):
    a, b = normal(128, 600), normal(144, 600)
    if transposed:
        a, b = a.t().contiguous().t(), b.t().contiguous().t()
    torch.testing.assert_close(
        product(a, b), (a.double() @ b.double().t()).float(), rtol=1e-4, atol=1e-4
    )


@onednn
def test_a_product_is_the_same_every_time():
    a, b = normal(48, 160), normal(1024, 160)
    first = product(a, b)
    for offset in range(4):  # another place in memory
        shifted = torch.empty(a.numel() + offset)[offset:].view_as(a).copy_(a)
        assert torch.equal(product(shifted, b), first)


def test_without_the_operator_torch_multiplies(monkeypatch):
    monkeypatch.setattr(module, "_linear", None)
    assert faster_library.__wrapped__() == "blas"
    a, b = normal(64, 512), normal(192, 512)
    torch.testing.assert_close(product(a, b), a @ b.t())
    torch.testing.assert_close(linear(a, b), a @ b.t())
