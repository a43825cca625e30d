"""Sums of table rows, one for each place of a window: lookups, or a product with ones and zeros."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

MAX_ELEMENTS = 2**31 - 1
"""Most elements of a lookup's result: its backward pass on GPUs counts them in 32 bits."""
ONE_HOT_ELEMENTS = 2**27
"""Most ones and zeros at a time: 256 MiB in 16 bits."""


def sum_of_rows(
    codes: Int[Tensor, "rows window"], table: Float[Tensor, "window_codes dim"]
) -> Float[Tensor, "rows dim"]:
    """Return for each window the sum of the rows of ``table`` that its codes stand for.

    Args:
        codes: Windows of codes.
        table: A row for each place in the window and each code.
    """
    if table.is_cuda and table.dtype in (torch.bfloat16, torch.float16):
        return OneHotProduct.apply(codes, table)
    window = codes.shape[1]
    places = torch.arange(window, device=codes.device) * (len(table) // window)
    parts = [
        F.embedding_bag(part, table, mode="sum")
        for part in (codes + places).split(max(1, MAX_ELEMENTS // table.shape[1]))
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


class OneHotProduct(torch.autograd.Function):
    """The same as a product of matrices, which tensor cores make faster than lookups."""

    @staticmethod
    def forward(
        ctx: Any, codes: Int[Tensor, "rows window"], table: Float[Tensor, "window_codes dim"]
    ) -> Float[Tensor, "rows dim"]:
        """Return the sums."""
        ctx.save_for_backward(codes)
        ctx.size = len(table)
        out = table.new_empty(len(codes), table.shape[1])
        step = max(1, ONE_HOT_ELEMENTS // len(table))
        for start in range(0, len(codes), step):
            ones = _one_hot(codes[start : start + step], len(table), table.dtype)
            torch.mm(ones, table, out=out[start : start + step])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the gradient of the table."""
        (codes,) = ctx.saved_tensors
        step = max(1, ONE_HOT_ELEMENTS // ctx.size)
        dtype = torch.promote_types(grad.dtype, torch.float32)
        total = torch.zeros(ctx.size, grad.shape[1], dtype=dtype, device=grad.device)
        for start in range(0, len(codes), step):
            ones = _one_hot(codes[start : start + step], ctx.size, grad.dtype)
            total += ones.t() @ grad[start : start + step]
        return None, total.to(grad.dtype)


def _one_hot(
    codes: Int[Tensor, "rows window"], size: int, dtype: torch.dtype
) -> Float[Tensor, "rows {size}"]:
    levels = torch.arange(size // codes.shape[1], device=codes.device)
    return (codes.unsqueeze(-1) == levels).to(dtype).flatten(1)
