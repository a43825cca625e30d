"""Gated dilated causal convolutions with skip connections (van den Oord et al. 2016, Eq. 2).

The state of a layer is the last ``dilation`` vectors that it was given, so that a subsequence of
any length, one sample included, goes on where the last one ended.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from samplewise.nn.init import Initializer
from samplewise.nn.linear import Linear, Weight

Pasts = tuple[Float[Tensor, "batch _ channels"], ...]
"""The last vectors that each layer was given, oldest first, as many as its dilation."""


class GatedLayer(nn.Module):
    """z = tanh(W_f * x) sigma(W_g * x), filters of two taps; residual and skip maps of z."""

    def __init__(
        self,
        dilation: int,
        channels: int,
        skip_channels: int,
        is_last: bool,
        weight_norm: bool,
        init: Initializer,
        conditioning_width: int = 0,
    ):
        super().__init__()
        self.dilation, self.channels = dilation, channels
        # Both taps side by side, filter above gate.
        self.taps = Linear(init.lecun(2 * channels, 2 * channels), weight_norm=weight_norm)
        self.skip = Linear(init.lecun(skip_channels, channels), weight_norm=weight_norm)
        self.residual = None  # nothing follows the last layer
        if not is_last:
            self.residual = Linear(init.lecun(channels, channels), weight_norm=weight_norm)
        self.condition = None  # V of Eq. 3 there: the conditioning of the layer
        if conditioning_width:
            first = init.lecun(2 * channels, conditioning_width)
            self.condition = Linear(first, bias=False, weight_norm=weight_norm)

    def forward(
        self,
        x: Float[Tensor, "batch time channels"],
        past: Float[Tensor, "batch {self.dilation} channels"],
        conditioning: Float[Tensor, "batch time width"] | None = None,
    ) -> tuple[
        Float[Tensor, "batch time channels"],
        Float[Tensor, "batch time skip_channels"],
        Float[Tensor, "batch {self.dilation} channels"],
    ]:
        """Return the input of the next layer, the skip connection and the new past."""
        line = torch.cat([past.to(x.dtype), x], 1)  # x, and before it what lies a dilation back
        gates = self.taps(torch.cat([line[:, : x.shape[1]], x], -1))
        if self.condition is not None:
            gates = gates + self.condition(conditioning)
        filtered, gate = gates.chunk(2, -1)
        z = torch.tanh(filtered) * torch.sigmoid(gate)
        following = x if self.residual is None else x + self.residual(z)
        return following, self.skip(z), line[:, -self.dilation :].to(past.dtype)


class GatedStack(nn.Module):
    """Layers of the given dilations; the output is the sum of their skip connections."""

    def __init__(
        self,
        dilations: Sequence[int],
        channels: int,
        skip_channels: int,
        weight_norm: bool,
        init: Initializer,
        conditioning_width: int = 0,
    ):
        super().__init__()
        self.dilations, self.channels = tuple(dilations), channels
        last = len(self.dilations) - 1
        self.layers = nn.ModuleList(
            GatedLayer(
                dilation,
                channels,
                skip_channels,
                index == last,
                weight_norm,
                init,
                conditioning_width,
            )
            for index, dilation in enumerate(self.dilations)
        )

    def wide_weights(self) -> Iterator[tuple[Weight, int]]:
        """Yield every layer's matrices, and how many parts each has: filter and gate."""
        for layer in self.layers:
            assert isinstance(layer, GatedLayer)
            yield layer.taps.weight, 2
            yield layer.skip.weight, 1
            if layer.residual is not None:
                yield layer.residual.weight, 1

    def initial_state(self, batch: int, like: Tensor) -> Pasts:
        """Return zeros: before the first vector there was nothing."""
        return tuple(like.new_zeros(batch, size, self.channels) for size in self.dilations)

    def forward(
        self,
        x: Float[Tensor, "batch time channels"],
        state: Pasts,
        conditioning: Float[Tensor, "batch time width"] | None = None,
    ) -> tuple[Float[Tensor, "batch time skip_channels"], Pasts]:
        """Run all layers over the time steps; return the sum of skips and the new state."""
        skips, pasts = [], []
        for layer, past in zip(self.layers, state, strict=True):
            x, skip, past = layer(x, past, conditioning)
            skips.append(skip)
            pasts.append(past)
        return torch.stack(skips).sum(0), tuple(pasts)


def reset_pasts(state: Pasts, mask: Bool[Tensor, " batch"]) -> Pasts:
    """Return ``state`` with zeros in the rows of ``mask``."""
    return tuple(past.masked_fill(mask[:, None, None], 0.0) for past in state)
