"""Dilated convolutions that look ahead only: the conditioning network of Subscale WaveRNN.

Kalchbrenner et al. 2018, section 5.3: a masked dilated CNN with ReLUs whose mask hides the past
instead of the future. Without padding, n columns become n - horizon of them, and column i of what
comes out is a function of columns i to i + horizon of what went in, by construction.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from samplewise.nn.init import Initializer
from samplewise.nn.linear import Linear

TAPS = 3
"""Columns i, i + d and i + 2 d."""


class LookaheadLayer(nn.Module):
    """x + W relu(V * relu(x) + b): a kernel of three taps within a residual connection.

    Args:
        dilation: d, columns between two taps.
        residual: Channels of x.
        channels: Channels between the two maps.
        share: What the layer adds is scaled by it at first.
        init: Draws the weights.
    """

    def __init__(
        self, dilation: int, residual: int, channels: int, share: float, init: Initializer
    ):
        super().__init__()
        self.dilation = dilation
        # The taps are stacked as rows: one product, whose parts are shifted and added.
        taps, out = init.he(TAPS * channels, residual), init.he(residual, channels)
        if init.has_values:
            taps, out = taps / math.sqrt(TAPS), out * share
        self.taps = Linear(taps, bias=False, weight_norm=False)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.out = Linear(out, weight_norm=False)

    def forward(
        self, x: Float[Tensor, "batch columns residual"]
    ) -> Float[Tensor, "batch columns-2*{self.dilation} residual"]:
        """Return as many columns as see three taps."""
        near, middle, far = self.taps(F.relu(x)).chunk(TAPS, -1)
        kept, d = x.shape[1] - 2 * self.dilation, self.dilation
        hidden = near[:, :kept] + middle[:, d : d + kept] + far[:, 2 * d :] + self.bias
        return x[:, :kept] + self.out(F.relu(hidden))


class LookaheadStack(nn.Module):
    """Layers of growing dilation, shared by all rows; a row has a bias of its own.

    Args:
        inputs: Numbers per column.
        rows: How many rows there are.
        dilations: Of the layers.
        residual: Channels that go from layer to layer.
        channels: Channels within a layer.
        init: Draws the weights.
    """

    def __init__(
        self,
        inputs: int,
        rows: int,
        dilations: Sequence[int],
        residual: int,
        channels: int,
        init: Initializer,
    ):
        super().__init__()
        self.horizon = horizon_of(dilations)
        self.input = Linear(init.lecun(residual, inputs), bias=False, weight_norm=False)
        self.rows = nn.Parameter(torch.zeros(rows, residual))
        share = 1 / math.sqrt(len(dilations))
        self.layers = nn.ModuleList(
            LookaheadLayer(dilation, residual, channels, share, init) for dilation in dilations
        )

    def forward(
        self, x: Float[Tensor, "batch {len(self.rows)} columns inputs"]
    ) -> Float[Tensor, "batch {len(self.rows)} columns-{self.horizon} residual"]:
        """Return what each column knows of the columns up to ``horizon`` ahead."""
        hidden = (self.input(x) + self.rows[:, None]).flatten(0, 1)
        for layer in self.layers:
            hidden = layer(hidden)
        return F.relu(hidden).unflatten(0, x.shape[:2])


def horizon_of(dilations: Sequence[int]) -> int:
    """Return how many columns ahead a stack of such layers sees: F of section 4.1."""
    return (TAPS - 1) * sum(dilations)
