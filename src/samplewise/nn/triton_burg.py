"""Burg's method in Triton, for GPUs: one program a window, which stays in its registers.

:func:`samplewise.nn.linear_predictor.burg` is the reference. Its operators are some 3,000 launches
for 256 orders; this is one.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor


@triton.jit
@no_type_check
def burg_kernel(
    flat,
    weights,
    samples,
    noise,
    silence,
    ORDER: tl.constexpr,  # noqa: N803
    TAPS: tl.constexpr,  # noqa: N803
    SIZE: tl.constexpr,  # noqa: N803
):
    """Write the ``ORDER`` weights of one window; TAPS and SIZE: the next powers of two."""
    row = tl.program_id(0).to(tl.int64)
    t, tap = tl.arange(0, SIZE), tl.arange(0, TAPS)
    before = tl.maximum(t - 1, 0)
    forward = tl.load(flat + row * samples + t, mask=t < samples, other=0.0)
    added = noise * tl.sum(forward * forward) / samples
    backward = tl.gather(forward, before, 0)  # at t: the backward error of sample t - 1
    known = tl.zeros((TAPS,), forward.dtype)
    for n in range(ORDER):
        valid = (t > n) & (t < samples)
        forward, backward = tl.where(valid, forward, 0.0), tl.where(valid, backward, 0.0)
        product = tl.sum(forward * backward)
        errors = tl.sum(forward * forward + backward * backward)
        reverse = tl.where(tap < n, tl.gather(known, tl.maximum(n - 1 - tap, 0), 0), 0.0)
        white = added * (samples - 1 - n)
        both, each = tl.sum(known * reverse), 1 + tl.sum(known * known)
        k = 2 * (product + white * both) / (errors + 2 * white * each + silence)
        known = tl.where(tap == n, k, known - k * reverse)
        following = tl.gather(backward - k * forward, before, 0)
        forward = forward - k * backward
        backward = following
    tl.store(weights + row * ORDER + tap, known, mask=tap < ORDER)


def burg_weights(
    flat: Float[Tensor, "*windows samples"], order: int, noise: float, silence: float
) -> Float[Tensor, "*windows {order}"]:
    """Return what :func:`samplewise.nn.linear_predictor.burg` returns, up to rounding.

    Args:
        flat: Windows of samples; all of a window must fit into registers: at most 8,192.
        order: Number of weights.
        noise: Share of the power that counts as white noise.
        silence: Added to the summed squares, so that silence has a filter.
    """
    rows = flat.reshape(-1, flat.shape[-1]).contiguous()
    weights = flat.new_empty(len(rows), order)
    size = triton.next_power_of_2(rows.shape[1])
    taps = triton.next_power_of_2(order)
    grid, warps = (len(rows),), max(1, min(8, size // 256))
    with torch.cuda.device_of(rows):
        burg_kernel[grid](
            *(rows, weights, rows.shape[1], noise, silence, order, taps, size),
            num_warps=warps,  # pyright: ignore[reportCallIssue]
        )
    return weights.view(*flat.shape[:-1], order)
