"""Linear maps with weight normalisation (Salimans & Kingma 2016)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from samplewise.nn.product import linear


class Weight(nn.Module):
    """A matrix w = g v / |v|, one gain g per row; g starts as |v|, so that at first w = v.

    Without weight normalisation it can have a mask, which keeps some of its elements 0.
    """

    def __init__(
        self,
        value: Float[Tensor, "rows columns"],
        weight_norm: bool,
        mask: Bool[Tensor, "rows columns"] | None = None,
    ):
        super().__init__()
        assert mask is None or not weight_norm
        self.v = nn.Parameter(value)
        self.g = nn.Parameter(value.detach().norm(dim=1)) if weight_norm else None
        self.mask: Tensor | None
        self.register_buffer("mask", mask, persistent=False)

    def forward(self) -> Float[Tensor, "rows columns"]:
        """Return the effective matrix."""
        if self.mask is not None:
            return self.v * self.mask
        if self.g is None:
            return self.v
        return self.v * (self.g / self.v.norm(dim=1)).unsqueeze(1)

    @torch.no_grad()
    def fold(self) -> None:
        """Replace v by the effective matrix and drop the gain, for inference."""
        self.v.copy_(self())
        self.g = None


class Linear(nn.Module):
    """y = w x + b."""

    def __init__(
        self, value: Float[Tensor, "outputs inputs"], bias: bool = True, weight_norm: bool = True
    ):
        super().__init__()
        self.weight = Weight(value, weight_norm)
        self.bias = nn.Parameter(value.new_zeros(value.shape[0])) if bias else None

    def forward(self, x: Float[Tensor, "*lead inputs"]) -> Float[Tensor, "*lead outputs"]:
        """Map the last axis."""
        return linear(x, self.weight(), self.bias)


def fold_weight_norm(module: nn.Module) -> None:
    """Fold every gain of ``module`` into its matrix, in place; the function is unchanged."""
    for part in module.modules():
        if isinstance(part, Weight) and part.g is not None:
            part.fold()
