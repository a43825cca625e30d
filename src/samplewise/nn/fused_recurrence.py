"""The recurrences of :mod:`samplewise.nn.recurrence`, all of whose steps something else makes.

Kernels make the steps, on a GPU (:mod:`samplewise.nn.triton_recurrence`) or on a CPU
(:mod:`samplewise.nn.native_recurrence`); the gradients of weights are single products here.
"""

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from samplewise.config.fields import Cell
from samplewise.nn.matmul import product

GATES: dict[Cell, int] = {"gru": 3, "gru-reset-after": 3, "lstm": 4}


@runtime_checkable
class StepMaker(Protocol):
    """Makes all steps of one direction, in place."""

    def __call__(self, arrays: tuple[Tensor, ...], steps: int, cell: Cell, back: bool) -> None:
        """Read and write ``arrays``, in the order in which :class:`FusedRecurrence` has them."""
        ...


class FusedRecurrence(torch.autograd.Function):
    """A GRU's or LSTM's steps, with the gates and gradients of the time loops."""

    @staticmethod
    def forward(
        ctx: Any,
        cell: Cell,
        make_steps: StepMaker,
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
            make_steps: Makes the steps, in either direction.
            gates: The input's share of the gates, of any type.
            h0: Initial h.
            c0: Initial c of an LSTM.
            weight: Recurrent matrix; the operands of its products have its type.
            bias: Of the candidate, within the reset gate's reach.
        """
        time, batch, dim = gates.shape[0], *h0.shape
        ctx.options = cell, make_steps
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
        make_steps(arrays, time, cell, back=False)
        ctx.save_for_backward(*saved)
        return h[1:], None if c is None else c[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, grad_c: Tensor | None) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the gradients of gates, h0, c0, weight and bias."""
        cell, make_steps = ctx.options
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
        make_steps(arrays, time, cell, back=True)

        grad_gates, before = grad_gates[:time], operand[:time].view(time * batch, dim)
        flat = grad_gates.view(time * batch, -1)
        grad_bias = None
        if cell == "lstm":
            grad_weight = product(flat.t(), before.t())
        elif cell == "gru":
            reset = saved[3].view(time * batch, dim)
            to_rz, to_n = flat[:, : 2 * dim], flat[:, 2 * dim :]
            grad_weight = torch.cat([product(to_rz.t(), before.t()), product(to_n.t(), reset.t())])
        else:
            assert grad_recurrent is not None
            to_n = grad_recurrent[:time].view(time * batch, dim)
            grad_weight = torch.cat(
                [product(flat[:, : 2 * dim].t(), before.t()), product(to_n.t(), before.t())]
            )
            grad_bias = to_n.sum(0, dtype=torch.float32)
        return None, None, grad_gates, carried, carried_c, grad_weight, grad_bias
