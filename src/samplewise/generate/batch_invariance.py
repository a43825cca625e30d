"""How many rows to compute at once, so that a clip does not depend on its neighbours.

A product of a batch and a matrix adds its terms in an order that depends on the number of rows:
with one row MKL adds them otherwise than with 64, the last bits differ, and sooner or later a code
does. From some number of rows on the order stays the same. Which number that is depends on the
machine, on the threads and on the widths of the model, so it is tried out: the same sequence in
every row must give the same bits in every row, and the same bits as in the smallest block.
"""

import logging
import math
import time
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from samplewise.models.base import AutoregressiveModel
from samplewise.models.segment_model import SegmentModel
from samplewise.models.step_model import StepModel
from samplewise.nn.state import map_tensors

logger = logging.getLogger(__name__)
SMALLEST_BLOCKS = (4, 8, 16, 32)
"""Tried in turn as the fewest rows of any product; 1 row at a time if none serves."""
PROBE_STEPS = 8
WORTHWHILE = 1.15
"""Further threads are used only if they make it this many times as fast."""


@dataclass(frozen=True)
class RowPlan:
    """Sizes of batches that give every clip the same codes."""

    fewest: int
    """A batch of up to this many clips is filled up to it."""
    max_batch: int
    """A larger batch is filled up to this many."""

    def rows(self, clips: int) -> int:
        """Return how many rows to compute for ``clips`` clips.

        Raises:
            ValueError: If there are more clips than the plan allows.
        """
        if not 0 < clips <= self.max_batch:
            raise ValueError(f"clips = {clips} must lie in [1, {self.max_batch}]")
        return self.fewest if clips <= self.fewest else self.max_batch


def plan_rows(model: AutoregressiveModel, clips: int) -> RowPlan:
    """Find batch sizes up to about ``clips`` whose rows do not depend on their number or place.

    On a GPU the kernels are chosen by the shape, so one shape, ``clips``, serves for all.

    Args:
        model: In evaluation mode, folded.
        clips: Clips that one wants to compute at once.

    Raises:
        ValueError: If ``clips`` is not positive.
    """
    if clips < 1:
        raise ValueError(f"batch = {clips} must be at least 1")
    if model.real_values.device.type != "cpu":
        return RowPlan(clips, clips)
    for fewest in SMALLEST_BLOCKS:
        expected = _probe(model, fewest)
        if not _has_equal_rows(expected):
            continue
        if isinstance(model, SegmentModel) and _agrees(expected, _probe(model, 1)):
            fewest = 1  # a clip that is drawn in rows is a batch already
        max_batch = fewest * math.ceil(clips / fewest)
        while max_batch > fewest and not _agrees(_probe(model, max_batch), expected):
            max_batch = fewest * max(1, max_batch // fewest // 2)
        logger.debug("batches of %d or %d rows", fewest, max_batch)
        return RowPlan(fewest, max_batch)
    logger.debug("rows depend on their place in the batch: one clip at a time")
    return RowPlan(1, 1)


def pick_threads(model: AutoregressiveModel, clips: int) -> int:
    """Return the number of threads, 1 or all, that draws ``clips`` clips faster right now.

    Small products gain nothing from a second thread, and lose much when another program keeps its
    core busy. More than one is chosen only if the bits stay the same.
    """
    every = torch.get_num_threads()
    if every == 1 or model.real_values.device.type != "cpu":
        return every
    rows = max(SMALLEST_BLOCKS[0], clips)
    try:
        alone, expected = _timed(model, rows, 1)
        together, logits = _timed(model, rows, every)
    finally:
        torch.set_num_threads(every)
    is_better = together * WORTHWHILE < alone and torch.equal(logits, expected)
    return every if is_better else 1


def _timed(model: AutoregressiveModel, rows: int, threads: int) -> tuple[float, Tensor]:
    torch.set_num_threads(threads)
    logits, seconds = _probe(model, rows), []
    for _ in range(3):
        start = time.perf_counter()
        _probe(model, rows)
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[1], logits


@torch.inference_mode()
def _probe(model: AutoregressiveModel, rows: int) -> Float[Tensor, "steps {rows} q_levels"]:
    """Return logits of a fixed sequence in every row, from a state in which all is in motion."""
    if isinstance(model, SegmentModel):
        return model.probe(rows)
    assert isinstance(model, StepModel)
    length = 2 * model.config.top_frame
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(model.q_levels, (length + PROBE_STEPS,), generator=generator)
    prefix = codes[: length + 1].unsqueeze(0)
    vector = None
    if model.conditioner is not None:
        vector = model.real_values.new_full((1, 1, model.condition_width()), 0.5)
    following = None if vector is None else vector.expand(1, length, -1)
    _, state = model(prefix[:, :-1], model.initial_state(1), prefix[:, 1:], following)
    state = map_tensors(state, lambda tensor: tensor.expand(rows, *tensor.shape[1:]).clone())
    logits = []
    uniforms = torch.full((rows,), 0.5)
    for code in codes[length:]:
        vectors = None if vector is None else vector[0].expand(rows, -1)
        _, state, step = model.sample(code.expand(rows), state, uniforms, None, vectors)
        logits.append(step)
    return torch.stack(logits)


def _has_equal_rows(logits: Float[Tensor, "steps rows q_levels"]) -> bool:
    return torch.equal(logits, logits[:, :1].expand_as(logits))


def _agrees(
    logits: Float[Tensor, "steps rows q_levels"], expected: Float[Tensor, "steps fewest q_levels"]
) -> bool:
    return torch.equal(logits, expected[:, :1].expand_as(logits))
