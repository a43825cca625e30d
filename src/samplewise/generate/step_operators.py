"""What lies between the products of one sample: one Triton kernel each on a GPU.

Elsewhere the same is computed by operators of PyTorch.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor
from torch.nn import functional as F

from samplewise.heads.categorical import invert_cdf
from samplewise.heads.staged_softmax import next_uniform
from samplewise.nn.matmul import linear

Products = Literal["float32", "tf32"]
"""float32; tf32: operands are rounded to 10 bits of mantissa, sums are float32."""
MAX_LEVELS = 4096
"""Most symbols whose probabilities one Triton program holds."""
BYTE_STEP = 2 / 255


def add_values(
    codes: Int64[Tensor, "size rows"],
    values: Float[Tensor, " q_levels"],
    weights: Float[Tensor, "size units"],
    base: Float[Tensor, "*lead units"],
) -> Float[Tensor, "rows units"]:
    """Return ``base`` plus the product of the codes' real values and ``weights``."""
    if codes.is_cuda:
        from samplewise.generate import triton_step

        return triton_step.add_values(codes, values, weights, base)
    return torch.addmm(base, values[codes.t()], weights)


def add_rows(
    codes: Int64[Tensor, "size rows"],
    table: Float[Tensor, "places units"],
    q_levels: int,
    base: Float[Tensor, "rows units"],
) -> Float[Tensor, "rows units"]:
    """Return the ReLU of ``base`` plus one row of the table for each place and its code."""
    if codes.is_cuda:
        from samplewise.generate import triton_step

        return triton_step.add_rows(codes, table, q_levels, base)
    places = torch.arange(len(codes), device=codes.device) * q_levels
    return F.relu(F.embedding_bag(codes.t() + places, table, mode="sum") + base)


def reset(
    gates: Float[Tensor, "rows gates"],
    products: Float[Tensor, "rows both"],
    h: Float[Tensor, "rows units"],
) -> Float[Tensor, "rows units"]:
    """Return r h of a GRU that resets before the product."""
    if gates.is_cuda:
        from samplewise.generate import triton_step

        return triton_step.reset(gates, products, h)
    units = h.shape[1]
    return torch.sigmoid(gates[:, :units] + products[:, :units]) * h


def update(
    gates: Float[Tensor, "rows gates"],
    products: Float[Tensor, "rows both"],
    candidate: Float[Tensor, "rows units"],
    h: Float[Tensor, "rows units"],
) -> Float[Tensor, "rows units"]:
    """Return the next state of a GRU that resets before the product.

    Args:
        gates: What its inputs add to r, z and n.
        products: What h adds to r and z.
        candidate: What r h adds to n.
        h: Its state.
    """
    if gates.is_cuda:
        from samplewise.generate import triton_step

        return triton_step.update(gates, products, candidate, h)
    units = h.shape[1]
    z = torch.sigmoid(gates[:, units : 2 * units] + products[:, units:])
    return torch.lerp(torch.tanh(gates[:, 2 * units :] + candidate), h, z)


def reset_after(
    gates: Float[Tensor, "*lead gates"],
    products: Float[Tensor, "rows gates"],
    bias: Float[Tensor, " width"],
    h: Float[Tensor, "rows width"],
    out: Float[Tensor, "rows width"],
    units: slice,
    scalars: Float[Tensor, "3 gates"] | None = None,
    symbols: tuple[Int64[Tensor, " rows"], ...] = (),
) -> None:
    """Write some units of the next state of a GRU that resets after the product.

    Args:
        gates: What its inputs add to r, z and n.
        products: What h adds to them.
        bias: Is added to what h adds to n.
        h: Its state.
        out: Its next state.
        units: Which.
        scalars: Weights of the bytes that are inputs of a WaveRNN.
        symbols: These bytes, two or three.
    """
    if out.is_cuda:
        from samplewise.generate import triton_step

        return triton_step.reset_after(gates, products, bias, h, out, units, scalars, symbols)
    gates, products = (part.unflatten(-1, (3, -1))[..., units] for part in (gates, products))
    if scalars is not None:
        x = torch.stack(symbols, -1).to(h.dtype) * BYTE_STEP - 1
        columns = scalars[: len(symbols)].unflatten(-1, (3, -1))[..., units]
        gates = gates + torch.einsum("rs,sgu->rgu", x, columns)
    r, z = torch.sigmoid(gates[..., :2, :] + products[:, :2]).unbind(1)
    n = torch.tanh(gates[..., 2, :] + r * (products[:, 2] + bias[units]))
    torch.lerp(n, h[:, units], z, out=out[:, units])
    return None


def draw_code(
    logits: Float[Tensor, "rows levels"],
    uniforms: Float[Tensor, " rows"],
    temperature: Float64[Tensor, " rows"] | None,
    min_p: float,
    out: Int64[Tensor, " rows"],
) -> None:
    """Write one code for each row to ``out``, as :meth:`CategoricalHead.sample` draws it."""
    if logits.is_cuda and logits.shape[1] <= MAX_LEVELS:
        from samplewise.generate import triton_step

        triton_step.draw(logits, uniforms, temperature, _log(min_p), out, None)
    else:
        out.copy_(invert_cdf(logits, uniforms, temperature, min_p)[0].squeeze(-1))


def draw_symbol(
    logits: Float[Tensor, "rows levels"],
    uniforms: Float[Tensor, " rows"],
    temperature: Float64[Tensor, " rows"] | None,
    min_p: float,
) -> tuple[Int[Tensor, " rows"], Float64[Tensor, " rows"]]:
    """Return what :meth:`StagedSoftmaxHead.sample_stage` returns."""
    if logits.is_cuda:
        from samplewise.generate import triton_step

        symbol = torch.empty_like(uniforms, dtype=torch.int64)
        rest = torch.empty_like(uniforms, dtype=torch.float64)
        triton_step.draw(logits, uniforms, temperature, _log(min_p), symbol, rest)
        return symbol, rest
    symbol, cdf, value = invert_cdf(logits, uniforms, temperature, min_p)
    return symbol.squeeze(-1), next_uniform(symbol, cdf, value)


def relu_product(
    x: Float[Tensor, "rows inputs"],
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, " outputs"],
) -> Float[Tensor, "rows outputs"]:
    """Return the ReLU of a linear map."""
    if x.is_cuda:
        return torch._addmm_activation(bias, x, weight.t())  # pyright: ignore[reportPrivateImportUsage]
    return F.relu(linear(x, weight, bias))


def round_to_tf32(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return float32 with 10 bits of mantissa, halves away from 0: what a GPU multiplies."""
    return ((x.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def _log(min_p: float) -> float:
    return math.log(min_p) if min_p else 0.0
