"""The time loops of GRU and LSTM with hand-written gradients.

Only the products that depend on the previous step stay inside the loop; the gradient of each
recurrent matrix is one product over all steps at once. Time comes first: step t is contiguous.
Gates are stacked as rows of one matrix: GRU r, z, n; LSTM i, f, g, o.

A recurrent matrix in bfloat16 lowers the precision of the products' operands alone. State, gates
and gradients keep their type, which is float32: rounding them at every step would add up.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from samplewise.nn.matmul import add_product, product


class GRUResetAfter(torch.autograd.Function):
    """n = tanh(x_n + r (U_n h + b_n)); h' = (1 - z) n + z h: the cell of cuDNN and torch."""

    @staticmethod
    def forward(
        ctx: Any,
        gates: Float[Tensor, "time batch gates"],
        h0: Float[Tensor, "batch dim"],
        weight: Float[Tensor, "gates dim"],
        bias: Float[Tensor, " dim"],
    ) -> Float[Tensor, "time batch dim"]:
        """Return h after every step, given the input's share of the gates."""
        time, batch, dim = gates.shape[0], *h0.shape
        h = gates.new_empty(time + 1, batch, dim)
        h[0] = h0
        rz, n = gates.new_empty(time, batch, 2 * dim), gates.new_empty(time, batch, dim)
        recurrent = gates.new_empty(time, batch, 3 * dim)
        for t in range(time):
            recurrent[t] = product(h[t], weight)
            recurrent_n = recurrent[t, :, 2 * dim :].add_(bias)
            torch.add(gates[t, :, : 2 * dim], recurrent[t, :, : 2 * dim], out=rz[t]).sigmoid_()
            torch.addcmul(gates[t, :, 2 * dim :], rz[t, :, :dim], recurrent_n, out=n[t]).tanh_()
            torch.lerp(n[t], h[t], rz[t, :, dim:], out=h[t + 1])
        ctx.save_for_backward(h, rz, n, recurrent, weight)
        return h[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the gradients of gates, h0, weight and bias."""
        h, rz, n, recurrent, weight = ctx.saved_tensors
        time, batch, dim = n.shape
        r, z, recurrent_n = rz[..., :dim], rz[..., dim:], recurrent[..., 2 * dim :]
        grad_gates, grad_recurrent = torch.empty_like(recurrent), torch.empty_like(recurrent)
        # Everything that does not depend on the gradient of h, for all steps at once.
        to_n = (1 - z) * (1 - n * n)
        to_z = (h[:-1] - n) * z * (1 - z)
        to_r = recurrent_n * r * (1 - r)
        transposed = weight.t().contiguous()
        grad_h = torch.zeros_like(h[0])
        for t in reversed(range(time)):
            grad_h = grad_h + grad[t]
            grad_n = torch.mul(grad_h, to_n[t], out=grad_gates[t, :, 2 * dim :])
            torch.mul(grad_n, to_r[t], out=grad_recurrent[t, :, :dim])
            torch.mul(grad_h, to_z[t], out=grad_recurrent[t, :, dim : 2 * dim])
            torch.mul(grad_n, r[t], out=grad_recurrent[t, :, 2 * dim :])
            grad_h = add_product(grad_h * z[t], grad_recurrent[t], transposed)
        grad_gates[..., : 2 * dim] = grad_recurrent[..., : 2 * dim]
        flat = grad_recurrent.view(time * batch, 3 * dim)
        grad_weight = product(flat.t(), h[:-1].view(time * batch, dim).t().to(weight.dtype))
        return grad_gates, grad_h, grad_weight, flat[:, 2 * dim :].sum(0)


class GRUResetBefore(torch.autograd.Function):
    """n = tanh(x_n + U_n (r h)); h' = (1 - z) n + z h: the cell of Chung et al. 2014."""

    @staticmethod
    def forward(
        ctx: Any,
        gates: Float[Tensor, "time batch gates"],
        h0: Float[Tensor, "batch dim"],
        weight: Float[Tensor, "gates dim"],
    ) -> Float[Tensor, "time batch dim"]:
        """Return h after every step, given the input's share of the gates."""
        time, batch, dim = gates.shape[0], *h0.shape
        h = gates.new_empty(time + 1, batch, dim)
        h[0] = h0
        rz, n = gates.new_empty(time, batch, 2 * dim), gates.new_empty(time, batch, dim)
        reset = torch.empty_like(n)
        to_rz, to_n = weight[: 2 * dim], weight[2 * dim :]
        for t in range(time):
            add_product(gates[t, :, : 2 * dim], h[t], to_rz, out=rz[t]).sigmoid_()
            torch.mul(rz[t, :, :dim], h[t], out=reset[t])
            add_product(gates[t, :, 2 * dim :], reset[t], to_n, out=n[t]).tanh_()
            torch.lerp(n[t], h[t], rz[t, :, dim:], out=h[t + 1])
        ctx.save_for_backward(h, rz, n, reset, weight)
        return h[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the gradients of gates, h0 and weight."""
        h, rz, n, reset, weight = ctx.saved_tensors
        time, batch, dim = n.shape
        r, z = rz[..., :dim], rz[..., dim:]
        to_rz, to_n = weight[: 2 * dim].t().contiguous(), weight[2 * dim :].t().contiguous()
        grad_gates = grad.new_empty(time, batch, 3 * dim)
        slope_n = (1 - z) * (1 - n * n)
        slope_z = (h[:-1] - n) * z * (1 - z)
        slope_r = h[:-1] * r * (1 - r)
        grad_h = torch.zeros_like(h[0])
        for t in reversed(range(time)):
            grad_h = grad_h + grad[t]
            grad_n = torch.mul(grad_h, slope_n[t], out=grad_gates[t, :, 2 * dim :])
            torch.mul(grad_h, slope_z[t], out=grad_gates[t, :, dim : 2 * dim])
            grad_reset = product(grad_n, to_n)
            torch.mul(grad_reset, slope_r[t], out=grad_gates[t, :, :dim])
            grad_h = torch.addcmul(grad_h * z[t], grad_reset, r[t])
            grad_h = add_product(grad_h, grad_gates[t, :, : 2 * dim], to_rz)
        flat, before = grad_gates.view(time * batch, 3 * dim), h[:-1].view(time * batch, dim)
        grad_weight = torch.cat(
            [
                product(flat[:, : 2 * dim].t(), before.t().to(weight.dtype)),
                product(flat[:, 2 * dim :].t(), reset.view(time * batch, dim).t().to(weight.dtype)),
            ]
        )
        return grad_gates, grad_h, grad_weight


class LSTM(torch.autograd.Function):
    """c' = f c + i g; h' = o tanh(c') (Hochreiter & Schmidhuber 1997, with forget gates)."""

    @staticmethod
    def forward(
        ctx: Any,
        gates: Float[Tensor, "time batch gates"],
        h0: Float[Tensor, "batch dim"],
        c0: Float[Tensor, "batch dim"],
        weight: Float[Tensor, "gates dim"],
    ) -> tuple[Float[Tensor, "time batch dim"], Float[Tensor, "batch dim"]]:
        """Return h after every step and the last c, given the input's share of the gates."""
        time, batch, dim = gates.shape[0], *h0.shape
        h, c = gates.new_empty(time + 1, batch, dim), gates.new_empty(time + 1, batch, dim)
        h[0], c[0] = h0, c0
        ifgo, tanh_c = torch.empty_like(gates), gates.new_empty(time, batch, dim)
        for t in range(time):
            add_product(gates[t], h[t], weight, out=ifgo[t])
            i_and_f = ifgo[t, :, : 2 * dim].sigmoid_()
            g, o = ifgo[t, :, 2 * dim : 3 * dim].tanh_(), ifgo[t, :, 3 * dim :].sigmoid_()
            torch.mul(i_and_f[:, dim:], c[t], out=c[t + 1]).addcmul_(i_and_f[:, :dim], g)
            torch.tanh(c[t + 1], out=tanh_c[t])
            torch.mul(o, tanh_c[t], out=h[t + 1])
        ctx.save_for_backward(h, c, ifgo, tanh_c, weight)
        return h[1:], c[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, grad: Tensor, grad_c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the gradients of gates, h0, c0 and weight."""
        h, c, ifgo, tanh_c, weight = ctx.saved_tensors
        time, batch, dim = tanh_c.shape
        i, f, g, o = ifgo.chunk(4, -1)
        slopes = torch.cat(
            [g * i * (1 - i), c[:-1] * f * (1 - f), i * (1 - g * g), tanh_c * o * (1 - o)], -1
        )
        slope_c = o * (1 - tanh_c * tanh_c)
        grad_gates, transposed = torch.empty_like(ifgo), weight.t().contiguous()
        grad_h = torch.zeros_like(h[0])
        for t in reversed(range(time)):
            grad_h = grad_h + grad[t]
            grad_c = torch.addcmul(grad_c, grad_h, slope_c[t])
            parts = slopes[t].view(batch, 4, dim)
            out = grad_gates[t].view(batch, 4, dim)
            torch.mul(parts[:, :3], grad_c.unsqueeze(1), out=out[:, :3])
            torch.mul(parts[:, 3], grad_h, out=out[:, 3])
            grad_h = product(grad_gates[t], transposed)
            grad_c = grad_c * f[t]
        before = h[:-1].view(time * batch, dim).t().to(weight.dtype)
        grad_weight = product(grad_gates.view(time * batch, 4 * dim).t(), before)
        return grad_gates, grad_h, grad_c, grad_weight
