"""The recurrences of :mod:`samplewise.nn.recurrence` by Triton kernels, for GPUs.

Either each phase of each step is a launch of its own ("phases", to be part of a CUDA graph), or one
launch makes all steps ("persistent"). The kernels are the same, and so are the results. Importing
this module imports Triton.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from samplewise.config.fields import Cell
from samplewise.nn.triton_kernels import BARRIER_STRIDE, all_steps, one_phase

Method = Literal["phases", "persistent"]
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


@dataclass(frozen=True)
class TritonSteps:
    """Makes the steps of a :class:`samplewise.nn.fused_recurrence.FusedRecurrence`."""

    method: Method
    """One launch for each phase of a step, or one for all steps."""
    tiles: Tiles | None = None
    """What a program computes; None: by the batch and the width."""

    def __call__(self, arrays: tuple[Tensor, ...], steps: int, cell: Cell, back: bool) -> None:
        """Make all steps of one direction.

        Raises:
            ValueError: If a persistent kernel cannot have a program for each block of lanes.
        """
        first, weight = arrays[:2]
        device, (_, batch, _) = first.device, first.shape
        dim = weight.shape[0] if back else weight.shape[1]
        tiles = self.tiles
        if tiles is None:
            tiles = default_tiles(batch, dim, weight.element_size(), multiprocessors(device))
        unit_blocks, lane_blocks = -(-dim // tiles.units), -(-batch // tiles.lanes)
        shape = {"B": batch, "D": dim, "M": tiles.lanes, "BN": tiles.units, "BK": tiles.inner}
        options = {"num_warps": tiles.warps, "num_stages": tiles.stages}
        if self.method == "persistent":
            programs = min(unit_blocks, multiprocessors(device) // lane_blocks)
            if not programs:
                raise ValueError(f"{batch} lanes are too many for one persistent kernel")
            barriers = lane_blocks * BARRIER_STRIDE.value
            counters = torch.zeros(barriers, dtype=torch.int32, device=device)
            options["launch_cooperative_grid"] = True
            grid = (lane_blocks * programs,)
            all_steps[grid](
                arrays, counters, steps, programs, PHASES[cell], back, cell, **shape, **options
            )
            return
        for t in range(steps - 1, -2, -1) if back else range(steps):
            for phase in range(PHASES[cell] if t >= 0 else 1):
                one_phase[(unit_blocks, lane_blocks)](
                    arrays, t, back, cell, phase, **shape, **options
                )
