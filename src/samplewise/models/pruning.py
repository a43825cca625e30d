"""Which blocks of a model's matrices are set to zero: those of smallest mean magnitude.

Kalchbrenner et al. 2018, sections 3.1 and 3.2. Blocks tile a matrix; every gate of a recurrent
layer is ranked by itself, as is every other matrix.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from samplewise.models.base import AutoregressiveModel, Prunable
from samplewise.nn.linear import Weight

Block = tuple[int, int]
"""Rows and columns."""


def check_blocks(model: AutoregressiveModel, block: Block) -> list[Prunable]:
    """Return what of a model can be pruned, after checking that blocks tile all of it.

    Raises:
        ValueError: If there is nothing, or a matrix is not a whole number of blocks.
    """
    parts = model.prunable()
    if not parts:
        raise ValueError(
            f"a model of the family {model.config.family} has nothing to prune; leave sparsity at 0"
        )
    for part in parts:
        rows, columns = part.weight.v.shape
        if rows // part.bands % block[0] or columns % block[1]:
            gates = f"{part.bands} times " if part.bands > 1 else ""
            raise ValueError(
                f"block = {block[0]}x{block[1]} does not divide {part.name}, "
                f"{gates}{rows // part.bands} x {columns}; choose another block or other sizes"
            )
    return parts


@torch.no_grad()
def prune_model(model: AutoregressiveModel, share: float, block: Block, parts: str = "") -> None:
    """Zero the blocks of smallest mean magnitude, up to a share of each matrix or gate.

    Blocks that are zero already count, and stay. The blocks kept are those of the model as it is
    now: the same weights give the same masks on every machine.

    Args:
        model: Changed in place.
        share: Of the blocks, rounded to whole blocks; in [0, 1].
        block: Rows and columns; they must divide every matrix.
        parts: Only matrices whose name contains it.

    Raises:
        ValueError: As :func:`check_blocks`, or if ``share`` is outside [0, 1], or no name
            contains ``parts``.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share = {share} must lie in [0, 1]")
    known = check_blocks(model, block)
    if not any(parts in part.name for part in known):
        names = ", ".join(part.name for part in known)
        raise ValueError(f"parts = {parts!r} is in the name of no matrix; there are: {names}")
    for part in known:
        if parts not in part.name:
            continue
        magnitudes = block_magnitudes(part.weight(), block)
        if part.weight.kept is not None:
            magnitudes = magnitudes.masked_fill(~part.weight.kept, -1.0)
        bands = magnitudes.chunk(part.bands)
        kept = torch.cat([keep_largest(band, share) for band in bands])
        if part.weight.kept is not None:
            kept &= part.weight.kept
        part.weight.prune(kept)


def keep_largest(
    magnitudes: Float[Tensor, "row_blocks column_blocks"], share: float
) -> Bool[Tensor, "row_blocks column_blocks"]:
    """Return True for all but the smallest ``share`` of the blocks; of equals the first go."""
    flat = magnitudes.flatten()
    order = flat.argsort(stable=True)
    kept = torch.ones_like(flat, dtype=torch.bool)
    kept[order[: round(share * len(flat))]] = False
    return kept.view_as(magnitudes)


def block_magnitudes(
    weight: Float[Tensor, "rows columns"], block: Block
) -> Float[Tensor, "row_blocks column_blocks"]:
    """Return the mean magnitude of every block."""
    rows, columns = block
    return weight.abs().unflatten(1, (-1, columns)).unflatten(0, (-1, rows)).mean((1, 3))


def masks_of(model: AutoregressiveModel) -> dict[str, Bool[Tensor, "row_blocks column_blocks"]]:
    """Return the blocks kept of every matrix that was pruned, by the matrix's name."""
    return {name: weight.kept for name, weight in _weights(model) if weight.kept is not None}


def apply_masks(
    model: AutoregressiveModel, masks: dict[str, Bool[Tensor, "row_blocks column_blocks"]]
) -> None:
    """Prune the matrices that are named; the others stay as they are.

    Raises:
        ValueError: If there is no such matrix, or the blocks do not fit it.
    """
    weights = dict(_weights(model))
    for name, kept in masks.items():
        if name not in weights:
            raise ValueError(f"{name} is no matrix of this model; it cannot have a mask")
        weights[name].prune(kept)


def zero_share(model: AutoregressiveModel) -> float:
    """Return the share of zeros in the matrices that can be pruned, in [0, 1]."""
    total = sum(part.weight.v.numel() for part in model.prunable())
    return 1 - kept_weights(model) / total if total else 0.0


def kept_weights(model: AutoregressiveModel) -> int:
    """Return how many weights are left in the matrices that can be pruned."""
    return sum(
        weight.v.numel()
        if weight.kept is None
        else int(weight.kept.sum()) * weight.block[0] * weight.block[1]
        for weight in (part.weight for part in model.prunable())
    )


def _weights(model: AutoregressiveModel) -> Iterator[tuple[str, Weight]]:
    for name, part in model.named_modules():
        if isinstance(part, Weight):
            yield name, part
