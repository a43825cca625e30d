"""The recurrences of :mod:`samplewise.nn.recurrence` by Triton kernels, for GPUs.

Either each phase of each step is a launch of its own ("phases", to be part of a CUDA graph), or one
launch makes all steps ("persistent"). The kernels are the same, and so are the results. Importing
this module imports Triton.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from samplewise.config.fields import Cell
from samplewise.nn.triton_kernels import BARRIER_STRIDE, all_steps, one_phase

Method = Literal["phases", "persistent"]
GATES: dict[Cell, int] = {"gru": 3, "gru-reset-after": 3, "lstm": 4}
PHASES: dict[Cell, int] = {"gru": 2, "gru-reset-after": 1, "lstm": 1}
"""Phases of a step, in either direction: dependent products of matrices."""


@dataclass(frozen=True)
class Tiles:
    """What a program computes of a phase."""

    lanes: int
    units: int
    inner: int
    """Columns of the operands that are read at a time."""
    warps: int = 8
    stages: int = 5
    """Reads that are under way at once."""


def default_tiles(batch: int, dim: int, element_size: int, multiprocessors: int = 132) -> Tiles:
    """Return the tiles for a batch: as many programs as there are multiprocessors, or fewer."""
    lanes = 16
    while lanes < 64 and (lanes < batch // 4 or -(-batch // lanes) > 8):
        lanes *= 2
    blocks = -(-batch // lanes)
    units = 16 if blocks * -(-dim // 16) <= multiprocessors else 32
    inner = 32 if element_size > 2 else 128 if lanes <= 32 else 64
    inner = min(inner, max(16, 1 << (dim - 1).bit_length()))
    return Tiles(lanes, units, inner)


@cache
def multiprocessors(device: torch.device) -> int:
    """Return how many programs run at once, if each takes a multiprocessor; 1 on a CPU."""
    if device.type != "cuda":
        return 1
    return torch.cuda.get_device_properties(device).multi_processor_count


def _run(
    arrays: tuple[Tensor, ...],
    steps: int,
    method: Method,
    cell: Cell,
    back: bool,
    tiles: Tiles,
    batch: int,
    dim: int,
) -> None:
    """Make all steps of one direction.

    Raises:
        ValueError: If a persistent kernel cannot have a program for each block of lanes.
    """
    device = arrays[0].device
    unit_blocks, lane_blocks = -(-dim // tiles.units), -(-batch // tiles.lanes)
    shape = {"B": batch, "D": dim, "M": tiles.lanes, "BN": tiles.units, "BK": tiles.inner}
    options = {"num_warps": tiles.warps, "num_stages": tiles.stages}
    if method == "persistent":
        programs = min(unit_blocks, multiprocessors(device) // lane_blocks)
        if not programs:
            raise ValueError(f"{batch} lanes are too many for one persistent kernel")
        counters = torch.zeros(lane_blocks * BARRIER_STRIDE.value, dtype=torch.int32, device=device)
        options["launch_cooperative_grid"] = True
        grid = (lane_blocks * programs,)
        all_steps[grid](
            arrays, counters, steps, programs, PHASES[cell], back, cell, **shape, **options
        )
        return
    for t in range(steps - 1, -2, -1) if back else range(steps):
        for phase in range(PHASES[cell] if t >= 0 else 1):
            one_phase[(unit_blocks, lane_blocks)](arrays, t, back, cell, phase, **shape, **options)


class FusedRecurrence(torch.autograd.Function):
    """A GRU's or LSTM's steps, with the gates and gradients of the time loops."""

    @staticmethod
    def forward(
        ctx: Any,
        cell: Cell,
        method: Method,
        tiles: Tiles | None,
        gates: Float[Tensor, "time batch gates"],
        h0: Float[Tensor, "batch dim"],
        c0: Float[Tensor, "batch dim"] | None,
        weight: Float[Tensor, "gates dim"],
        bias: Float[Tensor, " dim"] | None,
    ) -> tuple[Float[Tensor, "time batch dim"], Float[Tensor, "batch dim"] | None]:
        """Return h after every step, and an LSTM's last c, in float32.

        Args:
            ctx: Of autograd.
            cell: Kind of recurrence.
            method: One launch for each phase of a step, or one for all steps.
            tiles: What a program computes; default: by the batch and the width.
            gates: The input's share of the gates, of any type.
            h0: Initial h.
            c0: Initial c of an LSTM.
            weight: Recurrent matrix; the operands of its products have its type.
            bias: Of the candidate, within the reset gate's reach.
        """
        time, batch, dim = gates.shape[0], *h0.shape
        if tiles is None:
            tiles = default_tiles(batch, dim, weight.element_size(), multiprocessors(gates.device))
        ctx.options = cell, method, tiles
        gates, weight = gates.contiguous(), weight.contiguous()

        def new(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.empty(*shape, batch, dim, dtype=dtype, device=gates.device)

        def wide(width: int) -> Tensor:
            return gates.new_empty(time, batch, width * dim, dtype=torch.float32)

        h = new(time + 1)
        h[0] = h0
        # What products multiply: h in the type of the weights.
        operand = h
        if weight.dtype != h.dtype:
            operand = new(time + 1, dtype=weight.dtype)
            operand[0] = h0
        if cell == "lstm":
            assert c0 is not None
            c, ifgo = new(time + 1), wide(4)
            c[0] = c0
            arrays = gates, weight, h, operand, c, ifgo
            saved = operand, weight, c, ifgo
        elif cell == "gru":
            c, rz, n = None, wide(2), new(time)
            reset = new(time, dtype=weight.dtype)
            arrays = gates, weight, h, operand, rz, n, reset
            saved = operand, weight, h, rz, n, reset
        else:
            assert bias is not None
            c, rz, n, recurrent = None, wide(2), new(time), new(time)
            arrays = gates, weight, bias.contiguous(), h, operand, rz, n, recurrent
            saved = operand, weight, h, rz, n, recurrent
        _run(arrays, time, method, cell, False, tiles, batch, dim)
        ctx.save_for_backward(*saved)
        return h[1:], None if c is None else c[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, grad_c: Tensor | None) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the gradients of gates, h0, c0, weight and bias."""
        cell, method, tiles = ctx.options
        operand, weight, *saved = ctx.saved_tensors
        time, batch, dim = grad.shape
        grad, transposed = grad.contiguous(), weight.t().contiguous()

        def empty(width: int) -> Tensor:
            # The last step has no gates after it: their gradient is 0.
            out = weight.new_empty(time + 1, batch, width * dim)
            out[time] = 0
            return out

        grad_gates = empty(GATES[cell])
        carried = torch.zeros(batch, dim, device=grad.device)
        carried_c = grad_recurrent = None
        if cell == "lstm":
            assert grad_c is not None
            carried_c = grad_c.to(torch.float32, copy=True).contiguous()
            arrays = grad, transposed, *saved, grad_gates, carried, carried_c
        elif cell == "gru":
            arrays = grad, transposed, *saved[:3], grad_gates, carried
        else:
            grad_recurrent = empty(1)
            arrays = grad, transposed, *saved, grad_gates, grad_recurrent, carried
        _run(arrays, time, method, cell, True, tiles, batch, dim)

        grad_gates, before = grad_gates[:time], operand[:time].view(time * batch, dim)
        flat = grad_gates.view(time * batch, -1)
        grad_bias = None
        if cell == "lstm":
            grad_weight = flat.t() @ before
        elif cell == "gru":
            reset = saved[3].view(time * batch, dim)
            grad_weight = torch.cat(
                [flat[:, : 2 * dim].t() @ before, flat[:, 2 * dim :].t() @ reset]
            )
        else:
            assert grad_recurrent is not None
            to_n = grad_recurrent[:time].view(time * batch, dim)
            grad_weight = torch.cat([flat[:, : 2 * dim].t() @ before, to_n.t() @ before])
            grad_bias = to_n.sum(0, dtype=torch.float32)
        return None, None, None, grad_gates, carried, carried_c, grad_weight, grad_bias
