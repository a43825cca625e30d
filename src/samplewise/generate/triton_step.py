"""Triton kernels of what lies between the products of one sample: a launch each.

:mod:`samplewise.generate.step_operators` has the same in operators of PyTorch, and says what each
computes. Draws are in float64, everything else in float32.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 256
"""Units of a program."""


@triton.jit
@no_type_check
def _tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit(do_not_specialize=["rows"])
@no_type_check
def values_kernel(codes, values, weights, base, out, rows, width, base_stride,
                  SIZE: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Add the product of a frame's real values to ``base``."""
    row = tl.program_id(0).to(tl.int64)
    unit = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = unit < width
    total = tl.load(base + row * base_stride + unit, mask=inside, other=0.0)
    for place in range(SIZE):
        value = tl.load(values + tl.load(codes + place * rows + row))
        total += value * tl.load(weights + place * width + unit, mask=inside, other=0.0)
    tl.store(out + row * width + unit, total, mask=inside)


@triton.jit(do_not_specialize=["rows"])
@no_type_check
def rows_kernel(codes, table, base, out, rows, q_levels, width, base_stride,
                SIZE: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Add a row of the table for each code of a window to ``base``; ReLU."""
    row = tl.program_id(0).to(tl.int64)
    unit = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = unit < width
    total = tl.load(base + row * base_stride + unit, mask=inside, other=0.0)
    for place in range(SIZE):
        code = tl.load(codes + place * rows + row) + place * q_levels
        total += tl.load(table + code * width + unit, mask=inside, other=0.0)
    tl.store(out + row * width + unit, tl.where(total < 0, 0.0, total), mask=inside)


@triton.jit
@no_type_check
def reset_kernel(gates, products, h, out, width, h_stride, BLOCK: tl.constexpr):
    """Write r h."""
    row = tl.program_id(0).to(tl.int64)
    unit = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = unit < width
    from_input = tl.load(gates + row * 3 * width + unit, mask=inside, other=0.0)
    from_state = tl.load(products + row * 2 * width + unit, mask=inside, other=0.0)
    before = tl.load(h + row * h_stride + unit, mask=inside, other=0.0)
    tl.store(out + row * width + unit, tl.sigmoid(from_input + from_state) * before, mask=inside)


@triton.jit
@no_type_check
def update_kernel(gates, products, candidate, h, out, width, h_stride, BLOCK: tl.constexpr):
    """Write the next state of a GRU that resets before the product."""
    row = tl.program_id(0).to(tl.int64)
    unit = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = unit < width
    z = tl.load(gates + row * 3 * width + width + unit, mask=inside, other=0.0)
    z = tl.sigmoid(z + tl.load(products + row * 2 * width + width + unit, mask=inside, other=0.0))
    n = tl.load(gates + row * 3 * width + 2 * width + unit, mask=inside, other=0.0)
    n = _tanh(n + tl.load(candidate + row * width + unit, mask=inside, other=0.0))
    before = tl.load(h + row * h_stride + unit, mask=inside, other=0.0)
    tl.store(out + row * width + unit, n + z * (before - n), mask=inside)


@triton.jit
@no_type_check
def after_kernel(gates, products, bias, h, out, scalars, coarse, fine, current, first, units,
                 width, gates_stride, h_stride, SCALARS: tl.constexpr,
                 BLOCK: tl.constexpr):  # fmt: skip
    """Write some units of the next state of a GRU that resets after the product.

    With SCALARS of 2 or 3 the bytes of a WaveRNN are inputs too, by columns ``scalars``.
    """
    row = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = place < units
    unit = first + place
    gates += row * gates_stride
    products += row * 3 * width
    r = tl.load(gates + unit, mask=inside, other=0.0)
    z = tl.load(gates + width + unit, mask=inside, other=0.0)
    n = tl.load(gates + 2 * width + unit, mask=inside, other=0.0)
    if SCALARS > 0:
        x = tl.load(coarse + row).to(tl.float32) * (2 / 255) - 1
        r += x * tl.load(scalars + unit, mask=inside, other=0.0)
        z += x * tl.load(scalars + width + unit, mask=inside, other=0.0)
        n += x * tl.load(scalars + 2 * width + unit, mask=inside, other=0.0)
        x = tl.load(fine + row).to(tl.float32) * (2 / 255) - 1
        r += x * tl.load(scalars + 3 * width + unit, mask=inside, other=0.0)
        z += x * tl.load(scalars + 4 * width + unit, mask=inside, other=0.0)
        n += x * tl.load(scalars + 5 * width + unit, mask=inside, other=0.0)
    if SCALARS > 2:
        x = tl.load(current + row).to(tl.float32) * (2 / 255) - 1
        r += x * tl.load(scalars + 6 * width + unit, mask=inside, other=0.0)
        z += x * tl.load(scalars + 7 * width + unit, mask=inside, other=0.0)
        n += x * tl.load(scalars + 8 * width + unit, mask=inside, other=0.0)
    r = tl.sigmoid(r + tl.load(products + unit, mask=inside, other=0.0))
    z = tl.sigmoid(z + tl.load(products + width + unit, mask=inside, other=0.0))
    recurrent = tl.load(products + 2 * width + unit, mask=inside, other=0.0)
    n = _tanh(n + r * (recurrent + tl.load(bias + unit, mask=inside, other=0.0)))
    before = tl.load(h + row * h_stride + unit, mask=inside, other=0.0)
    tl.store(out + row * width + unit, n + z * (before - n), mask=inside)


@triton.jit
@no_type_check
def draw_kernel(logits, uniforms, temperatures, codes, rests, levels, logits_stride,
                WARM: tl.constexpr, LEAST: tl.constexpr, REST: tl.constexpr,
                LEVELS: tl.constexpr):  # fmt: skip
    """Invert the CDF of a row's softmax; LEAST: the logarithm of min_p, or 0 for none."""
    row = tl.program_id(0).to(tl.int64)
    code = tl.arange(0, LEVELS)
    inside = code < levels
    scaled = tl.load(logits + row * logits_stride + code, mask=inside, other=float("-inf"))
    scaled = scaled.to(tl.float64)
    if WARM:
        scaled = scaled / tl.load(temperatures + row)
    most = tl.max(scaled, 0)
    if LEAST < 0:
        least = tl.full((), LEAST, tl.float64)
        scaled = tl.where(scaled <= most + least, float("-inf"), scaled)
    share = tl.exp(scaled - most)
    cdf = tl.cumsum(share / tl.sum(share, 0), 0)
    value = tl.load(uniforms + row).to(tl.float64) * tl.max(cdf, 0)
    # Sums of a tree need not ascend: what has no share is never drawn.
    drawn = tl.min(tl.where((cdf > value) & (share > 0), code, levels - 1), 0)
    tl.store(codes + row, drawn.to(tl.int64))
    if REST:
        below = tl.sum(tl.where(code == drawn - 1, cdf, 0.0), 0)
        own = tl.sum(tl.where(code == drawn, cdf, 0.0), 0) - below
        rest = (value - below) / own
        one = tl.full((), 1, tl.float64)
        limit = one - tl.full((), 2.0**-50, tl.float64)
        rest = tl.where(rest < 0, one - one, tl.where(rest < limit, rest, limit))
        tl.store(rests + row, rest)


def _grid(rows: int, units: int) -> tuple[int, int]:
    return rows, -(-units // BLOCK)


def add_values(codes: Tensor, values: Tensor, weights: Tensor, base: Tensor) -> Tensor:
    """As :func:`step_operators.add_values`."""
    (size, rows), width = codes.shape, weights.shape[1]
    out = weights.new_empty(rows, width)
    stride = base.stride(0) if base.dim() == 2 else 0
    with torch.cuda.device_of(out):
        values_kernel[_grid(rows, width)](
            codes, values, weights, base, out, rows, width, stride, size, BLOCK
        )
    return out


def add_rows(codes: Tensor, table: Tensor, q_levels: int, base: Tensor) -> Tensor:
    """As :func:`step_operators.add_rows`."""
    (size, rows), width = codes.shape, table.shape[1]
    out = table.new_empty(rows, width)
    with torch.cuda.device_of(out):
        rows_kernel[_grid(rows, width)](
            codes, table, base, out, rows, q_levels, width, base.stride(0), size, BLOCK
        )
    return out


def reset(gates: Tensor, products: Tensor, h: Tensor) -> Tensor:
    """As :func:`step_operators.reset`."""
    out = gates.new_empty(h.shape)
    with torch.cuda.device_of(out):
        reset_kernel[_grid(*h.shape)](gates, products, h, out, h.shape[1], h.stride(0), BLOCK)
    return out


def update(gates: Tensor, products: Tensor, candidate: Tensor, h: Tensor) -> Tensor:
    """As :func:`step_operators.update`."""
    out = gates.new_empty(h.shape)
    with torch.cuda.device_of(out):
        update_kernel[_grid(*h.shape)](
            gates, products, candidate, h, out, h.shape[1], h.stride(0), BLOCK
        )
    return out


def reset_after(
    gates: Tensor,
    products: Tensor,
    bias: Tensor,
    h: Tensor,
    out: Tensor,
    units: slice,
    scalars: Tensor | None = None,
    symbols: tuple[Tensor, ...] = (),
) -> None:
    """As :func:`step_operators.reset_after`."""
    rows, width = h.shape
    first, end, _ = units.indices(width)
    coarse, fine, current = (*symbols, *[products] * (3 - len(symbols)))
    stride = gates.stride(0) if gates.dim() == 2 else 0
    with torch.cuda.device_of(out):
        after_kernel[_grid(rows, end - first)](
            *(gates, products, bias, h, out, products if scalars is None else scalars),
            *(coarse, fine, current, first, end - first, width, stride, h.stride(0)),
            *(len(symbols), BLOCK),
        )


def draw(
    logits: Tensor,
    uniforms: Tensor,
    temperature: Tensor | None,
    least: float,
    out: Tensor,
    rest: Tensor | None,
) -> None:
    """Write the symbol of each row to ``out``, and the number for the next one to ``rest``.

    Args:
        logits: Of the symbols.
        uniforms: In [0, 1).
        temperature: Of each row, in float64; None means 1.
        least: Logarithm of ``min_p``; 0 cuts off none.
        out: Where symbols go.
        rest: Where the numbers for the next symbols go; None if there is none.
    """
    rows, levels = logits.shape
    size = triton.next_power_of_2(levels)
    with torch.cuda.device_of(out):
        draw_kernel[(rows,)](
            *(logits, uniforms, uniforms if temperature is None else temperature, out),
            *(uniforms if rest is None else rest, levels, logits.stride(0)),
            *(temperature is not None, least, rest is not None, size),
            num_warps=max(1, min(8, size // 128)),  # pyright: ignore[reportCallIssue]
        )
