"""Pruned matrices in files: the blocks that were kept, and where they belong.

In place of ``NAME`` (rows, columns) a file holds ``NAME.blocks`` (kept, block rows, block columns)
and ``NAME.kept``, their places in the grid of blocks, row by row, in increasing order. All of it is
checked before a matrix takes any memory.
"""

import torch
from jaxtyping import Bool, Float, Float32, Int32
from torch import Size, Tensor

from samplewise.models.base import AutoregressiveModel
from samplewise.nn.linear import Weight

BLOCKS, KEPT = ".blocks", ".kept"
MAX_EXPANSION, FREE_NUMBERS = 256, 2**24
"""A model may have so many numbers for each one in its file, and some beyond that: the zeros of a
stranger's file must not fill our memory."""


def pruned_weights(model: AutoregressiveModel) -> dict[str, Weight]:
    """Return the matrices of which blocks were pruned, by the name of their parameter."""
    return {
        f"{name}.v": part
        for name, part in model.named_modules()
        if isinstance(part, Weight) and part.kept is not None and not part.kept.all()
    }


def to_blocks(
    matrix: Float[Tensor, "rows columns"], kept: Bool[Tensor, "row_blocks column_blocks"]
) -> tuple[
    Float[Tensor, "kept block_rows block_columns"],
    Int32[Tensor, " kept"],
]:
    """Return the blocks that are kept, and their places in the grid."""
    tiles = matrix.unflatten(1, (kept.shape[1], -1)).unflatten(0, (kept.shape[0], -1))
    return tiles.transpose(1, 2)[kept], kept.flatten().nonzero().squeeze(1).int()


def from_blocks(
    blocks: Float32[Tensor, "kept block_rows block_columns"],
    places: Int32[Tensor, " kept"],
    shape: Size,
) -> tuple[Float32[Tensor, "rows columns"], Bool[Tensor, "row_blocks column_blocks"]]:
    """Return the matrix of ``shape`` and the mask of what :func:`to_blocks` was given."""
    _, rows, columns = blocks.shape
    down, across = shape[0] // rows, shape[1] // columns
    matrix = torch.zeros(shape)
    kept = torch.zeros(down, across, dtype=torch.bool)
    row, column = places.long() // across, places.long() % across
    kept[row, column] = True
    matrix.view(down, rows, across, columns)[row, :, column] = blocks
    return matrix, kept


def expand(
    tensors: dict[str, Tensor], shapes: dict[str, Size]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return a file's tensors with whole matrices in place of blocks, and the masks of those.

    Args:
        tensors: As stored.
        shapes: Of the model's parameters.

    Raises:
        ValueError: If blocks do not fit their matrix, or would make too much of too little.
    """
    names = [name.removesuffix(BLOCKS) for name in tensors if name.endswith(BLOCKS)]
    if not names:
        return tensors, {}
    stored = sum(tensor.numel() for tensor in tensors.values())
    wanted = sum(shape.numel() for shape in shapes.values())
    if wanted > MAX_EXPANSION * stored + FREE_NUMBERS:
        raise ValueError(
            f"it describes {wanted} weights and holds {stored}: more than {MAX_EXPANSION} times as "
            "many are refused"
        )
    whole = {name: value for name, value in tensors.items() if not name.endswith((BLOCKS, KEPT))}
    parts = {}
    for name in names:
        blocks, places = tensors[name + BLOCKS], tensors.get(name + KEPT)
        _check(name, blocks, places, shapes.get(name))
        if name in whole:
            raise ValueError(f"{name} is stored twice, whole and in blocks")
        parts[name] = blocks, places
    if stray := [n for n in tensors if n.endswith(KEPT) and n.removesuffix(KEPT) not in parts]:
        raise ValueError(f"{stray[0]} has no blocks")
    masks = {}
    for name, (blocks, places) in parts.items():
        whole[name], masks[name] = from_blocks(blocks, places, shapes[name])
    return whole, masks


def _check(name: str, blocks: Tensor, places: Tensor | None, shape: Size | None) -> None:
    """Refuse blocks that are not those of one matrix of ``shape``."""
    if shape is None or len(shape) != 2:
        raise ValueError(f"{name} is no matrix of this model, but has blocks")
    if places is None or places.dtype != torch.int32 or places.ndim != 1:
        raise ValueError(f"{name}{KEPT} is absent or no list of int32")
    if blocks.dtype != torch.float32 or blocks.ndim != 3 or len(blocks) != len(places):
        raise ValueError(
            f"{name}{BLOCKS} is {blocks.dtype} of {tuple(blocks.shape)}, not float32 of "
            f"{len(places)} blocks"
        )
    _, rows, columns = blocks.shape
    if not rows or not columns or shape[0] % rows or shape[1] % columns:
        raise ValueError(f"{name}, {tuple(shape)}, is not a whole number of {rows} x {columns}")
    grid = (shape[0] // rows) * (shape[1] // columns)
    increase = places[1:] > places[:-1]
    if len(places) and not (increase.all() and places[0] >= 0 and places[-1] < grid):
        raise ValueError(f"{name}{KEPT} must increase from 0 or more to less than {grid}")
