"""Linear maps with weight normalisation (Salimans & Kingma 2016), whole or in blocks."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from samplewise.nn.matmul import linear


class Weight(nn.Module):
    """A matrix w = g v / |v|, one gain g per row; g starts as |v|, so that at first w = v.

    A mask keeps some of its elements 0: those that the model's structure leaves out, and the blocks
    that were pruned (Kalchbrenner et al. 2018, section 3.1). |v| is then the norm of what the mask
    leaves of a row. Elements behind the mask get no gradient.
    """

    def __init__(
        self,
        value: Float[Tensor, "rows columns"],
        weight_norm: bool,
        mask: Bool[Tensor, "rows columns"] | None = None,
    ):
        super().__init__()
        self.v = nn.Parameter(value)
        self.g = nn.Parameter(_norms(value)) if weight_norm else None
        self.mask: Tensor | None
        self.kept: Tensor | None
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("kept", None, persistent=False)
        self.is_folded = False

    @property
    def block(self) -> tuple[int, int]:
        """Rows and columns of a block; of one element before anything was pruned."""
        if self.kept is None:
            return 1, 1
        return self.v.shape[0] // self.kept.shape[0], self.v.shape[1] // self.kept.shape[1]

    def forward(self) -> Float[Tensor, "rows columns"]:
        """Return the effective matrix."""
        v = self.v if self.mask is None or self.is_folded else self.v * self.mask
        if self.g is None:
            return v
        if self.mask is None and torch.is_grad_enabled():
            # In training: fewer passes over the matrix. Trained models keep their last bits.
            return torch._weight_norm(v, self.g.unsqueeze(1), 0)  # pyright: ignore[reportPrivateImportUsage]
        return v * (self.g / self._norm(v)).unsqueeze(1)

    @torch.no_grad()
    def restrict(self, kept: Bool[Tensor, "row_blocks column_blocks"]) -> None:
        """Keep all blocks 0 but those in ``kept``, from now on.

        It does not touch v, which must be 0 there; see :meth:`prune`.

        Raises:
            ValueError: If the matrix is not a whole number of such blocks, or a block comes back.
        """
        (rows, columns), (down, across) = self.v.shape, kept.shape
        if not down or not across or rows % down or columns % across:
            raise ValueError(
                f"a matrix of {rows} x {columns} is not a whole number of blocks, {down} x {across}"
            )
        if self.kept is not None and (self.kept.shape != kept.shape or (kept & ~self.kept).any()):
            raise ValueError("blocks that were pruned cannot come back, nor change their size")
        mask = kept.repeat_interleave(rows // down, 0).repeat_interleave(columns // across, 1)
        self.kept = kept.clone()
        self.mask = mask if self.mask is None else self.mask & mask

    @torch.no_grad()
    def prune(self, kept: Bool[Tensor, "row_blocks column_blocks"]) -> None:
        """Zero all blocks but those in ``kept``; the weights in them keep their values.

        Chosen: the gain of a row shrinks with the norm of what is left of it. Otherwise weight
        normalisation would make up for every block that goes by making the others louder.

        Raises:
            ValueError: As :meth:`restrict`.
        """
        before = self.v if self.mask is None else self.v * self.mask
        self.restrict(kept)
        assert self.mask is not None
        after = before * self.mask
        if self.g is not None:
            self.g.mul_(after.norm(dim=1) / self._norm(before))
        self.v.copy_(after)

    @torch.no_grad()
    def scale(self, factor: float) -> None:
        """Multiply the matrix by ``factor``, in its gains if it has any."""
        (self.v if self.g is None else self.g).mul_(factor)

    @torch.no_grad()
    def fold(self) -> None:
        """Replace v by the effective matrix and drop the gain, for inference."""
        self.v.copy_(self())
        self.g = None
        self.is_folded = True

    def _norm(self, v: Float[Tensor, "rows columns"]) -> Float[Tensor, " rows"]:
        norm = v.norm(dim=1)
        if self.mask is None:
            return norm
        return torch.where(norm > 0, norm, 1.0)  # a row of which nothing is left


def _norms(value: Float[Tensor, "rows columns"]) -> Float[Tensor, " rows"]:
    if value.is_meta:  # see Initializer
        return value.new_empty(len(value))
    return value.detach().norm(dim=1)


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
    """Fold gains and masks of ``module`` into matrices, in place; the function is unchanged."""
    for part in module.modules():
        if isinstance(part, Weight) and not part.is_folded:
            part.fold()
