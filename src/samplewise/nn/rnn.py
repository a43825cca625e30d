"""Deep GRU and LSTM stacks with a learned initial state, skips and weight normalisation."""

import warnings
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from samplewise.config.fields import Cell
from samplewise.nn.fused_recurrence import FusedRecurrence
from samplewise.nn.init import Initializer
from samplewise.nn.linear import Linear, Weight
from samplewise.nn.recurrence import LSTM, GRUResetAfter, GRUResetBefore
from samplewise.nn.recurrence_choice import Way, choose_recurrence, step_maker

FORGET_BIAS = 3.0
"""Initial bias of an LSTM's forget gate (section 3; Gers 2001, Zaremba 2015)."""


class RecurrentLayer(nn.Module):
    """One layer: the input's product for all steps at once, then the recurrence."""

    def __init__(self, inputs: int, dim: int, cell: Cell, weight_norm: bool, init: Initializer):
        super().__init__()
        self.cell: Cell = cell
        self.dim = dim
        gates, candidate = (4, None) if cell == "lstm" else (3, 2)
        self.input = Linear(init.input_map(gates * dim, inputs), weight_norm=weight_norm)
        self.recurrent = Weight(init.recurrent_map(gates, dim, candidate), weight_norm)
        # torch and cuDNN have a bias inside the reset gate's reach; the other cells do not.
        after = cell == "gru-reset-after"
        self.candidate_bias = nn.Parameter(torch.zeros(dim)) if after else None
        if cell == "lstm":
            assert self.input.bias is not None
            with torch.no_grad():
                self.input.bias[dim : 2 * dim] = FORGET_BIAS

    @property
    def state_dim(self) -> int:
        """Width of the state: h, and for an LSTM [h; c]."""
        return 2 * self.dim if self.cell == "lstm" else self.dim

    def forward(
        self,
        x: Float[Tensor, "batch frames inputs"],
        state: Float[Tensor, "batch {self.state_dim}"],
    ) -> tuple[Float[Tensor, "batch frames {self.dim}"], Float[Tensor, "batch {self.state_dim}"]]:
        """Run over the frames; return h at every frame and the last state."""
        way: Way = "eager"
        if x.device.type in ("cpu", "cuda"):
            batch, frames, _ = x.shape
            way = choose_recurrence(self.cell, frames, batch, self.dim, _operand_type(x), x.device)
        if way == "cudnn":
            return self._cudnn(x, state)
        gates = self.input(x.transpose(0, 1))  # (frames, batch, gates * dim)
        weight = self.recurrent().to(gates.dtype)
        if way != "eager":
            return self._fused(way, gates, state, weight)
        # Under autocast both are bfloat16: the operands of products remain so, the state is not.
        gates = gates.to(torch.promote_types(gates.dtype, torch.float32))
        h0 = state[:, : self.dim].to(gates.dtype)
        if self.cell == "lstm":
            c0 = state[:, self.dim :].to(gates.dtype)
            h, c = LSTM.apply(gates, h0, c0, weight)
            last = torch.cat([h[-1], c], -1)
        else:
            if self.cell == "gru":
                h = GRUResetBefore.apply(gates, h0, weight)
            else:
                assert self.candidate_bias is not None
                bias = self.candidate_bias.to(gates.dtype)
                h = GRUResetAfter.apply(gates, h0, weight, bias)
            last = h[-1]
        return h.transpose(0, 1), last.to(state.dtype)

    def _fused(
        self, way: Way, gates: Tensor, state: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Run kernels, with the arithmetic of the time loop."""
        h0, *c0 = state.float().split(self.dim, -1)
        h, c = FusedRecurrence.apply(
            *(self.cell, step_maker(way), gates, h0, c0[0] if c0 else None),
            *(weight, self.candidate_bias),
        )
        last = torch.cat([h[-1], c], -1) if c0 else h[-1]
        return h.transpose(0, 1), last.to(state.dtype)

    def _cudnn(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run torch's own layer, in cuDNN on a GPU; cuDNN stores h in the type of the operands."""
        bias = self.input.bias
        assert bias is not None
        hidden_bias = torch.zeros_like(bias)
        if self.candidate_bias is not None:
            hidden_bias = torch.cat([hidden_bias[: 2 * self.dim], self.candidate_bias])
        device, dtype = x.device.type, _operand_type(x)
        weights = [self.input.weight(), self.recurrent(), bias, hidden_bias]
        weights = [weight.to(dtype) for weight in weights]
        parts = [part.to(dtype).contiguous() for part in state.unsqueeze(0).split(self.dim, -1)]
        # Autocast would give cuDNN float16, whatever its own type: gradients would be lost.
        with warnings.catch_warnings(), torch.autocast(device, enabled=False):
            # Weights are made anew at every call, hence never one block of memory.
            warnings.filterwarnings("ignore", message="RNN module weights")
            options = (weights, True, 1, 0.0, self.training, False, True)
            if self.cell == "lstm":
                h, *last = torch.lstm(x.to(dtype), parts, *options)
            else:
                h, *last = torch.gru(x.to(dtype), parts[0], *options)
        return h, torch.cat(last, -1).squeeze(0).to(state.dtype)


def _operand_type(x: Tensor) -> torch.dtype:
    """Return the type in which ``x`` is multiplied: autocast's, where it is on."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


class RecurrentStack(nn.Module):
    """1 to 5 recurrent layers and their learned initial state h0.

    With skips, as in the official code, every layer but the first also sees the stack's input, and
    the output is a sum of one linear map per layer.
    """

    def __init__(
        self,
        inputs: int,
        dim: int,
        n_rnn: int,
        cell: Cell,
        skip: bool,
        weight_norm: bool,
        learn_h0: bool,
        init: Initializer,
    ):
        super().__init__()
        self.dim = dim
        self.n_rnn = n_rnn
        widths = [inputs] + [dim + inputs if skip else dim] * (n_rnn - 1)
        self.layers = nn.ModuleList(
            RecurrentLayer(width, dim, cell, weight_norm, init) for width in widths
        )
        self.skips = nn.ModuleList(
            Linear(init.input_map(dim, dim), weight_norm=weight_norm)
            for _ in range(n_rnn if skip else 0)
        )
        self.state_dim = 2 * dim if cell == "lstm" else dim
        h0 = torch.zeros(n_rnn, self.state_dim)
        self.h0: Tensor
        if learn_h0:
            self.h0 = nn.Parameter(h0)
        else:
            self.register_buffer("h0", h0, persistent=False)

    def wide_weights(self, first_input: bool) -> Iterator[tuple[Weight, int]]:
        """Yield the matrices between vectors of the layers' width, and the gates in each.

        Args:
            first_input: Whether the first layer's input is such a vector.
        """
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, RecurrentLayer)
            gates = len(layer.recurrent.v) // self.dim
            yield layer.recurrent, gates
            if index or first_input:
                yield layer.input.weight, gates
        for skip in self.skips:
            assert isinstance(skip, Linear)
            yield skip.weight, 1

    def initial_state(self, batch: int) -> Float[Tensor, "batch {self.n_rnn} {self.state_dim}"]:
        """Return h0 for every row."""
        return self.h0.expand(batch, -1, -1)

    def reset(
        self,
        state: Float[Tensor, "batch {self.n_rnn} {self.state_dim}"],
        mask: Bool[Tensor, " batch"],
    ) -> Float[Tensor, "batch {self.n_rnn} {self.state_dim}"]:
        """Return ``state`` with h0 in the rows of ``mask``; h0 is always part of the graph."""
        return torch.where(mask[:, None, None], self.h0, state)

    def forward(
        self,
        x: Float[Tensor, "batch frames inputs"],
        state: Float[Tensor, "batch {self.n_rnn} {self.state_dim}"],
    ) -> tuple[
        Float[Tensor, "batch frames {self.dim}"],
        Float[Tensor, "batch {self.n_rnn} {self.state_dim}"],
    ]:
        """Run all layers over the frames; return the output and the new state."""
        h, lasts, outputs = x, [], []
        for index, layer in enumerate(self.layers):
            inputs = torch.cat([h, x.to(h.dtype)], -1) if index and self.skips else h
            h, last = layer(inputs, state[:, index])
            lasts.append(last)
            if self.skips:
                outputs.append(self.skips[index](h))
        output = torch.stack(outputs).sum(0) if self.skips else h
        return output, torch.stack(lasts, 1)


def weights_of(layers: nn.ModuleList) -> Iterator[tuple[Weight, int]]:
    """Yield the matrices of linear maps, each of one part."""
    for layer in layers:
        assert isinstance(layer, Linear)
        yield layer.weight, 1


def relu_mlp(x: Float[Tensor, "*lead dim"], layers: nn.ModuleList) -> Float[Tensor, "*lead out"]:
    """Linear maps with ReLU between them."""
    for index, layer in enumerate(layers):
        x = layer(F.relu(x) if index else x)
    return x
