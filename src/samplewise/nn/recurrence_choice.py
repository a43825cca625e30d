"""The ways to run a recurrent layer on a GPU, and which of them a layer takes.

A way that this machine cannot take is followed by the next of its chain, and a line says why.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import torch

from samplewise.config.fields import Cell, Recurrence

CHAINS: dict[Recurrence, tuple[Recurrence, ...]] = {
    "persistent": ("persistent", "phases", "cudnn", "eager"),
    "phases": ("phases", "cudnn", "eager"),
    "cudnn": ("cudnn", "eager"),
    "eager": ("eager",),
}
MIN_STEPS = 8
"""Below, as in generation, kernels are not worth the seconds that compiling them takes."""
DESCRIPTIONS: dict[Recurrence, str] = {
    "persistent": "one Triton kernel for all steps",
    "phases": "a Triton kernel for each phase of a step",
    "cudnn": "cuDNN",
    "eager": "a time loop of PyTorch's operators",
}
logger = logging.getLogger(__name__)
_recurrence: ContextVar[Recurrence] = ContextVar("recurrence", default="auto")


@contextmanager
def recurrence_by(recurrence: Recurrence) -> Iterator[None]:
    """Run the recurrent layers of this block, on a GPU, by ``recurrence`` if that is possible."""
    before = _recurrence.set(recurrence)
    try:
        yield
    finally:
        _recurrence.reset(before)


def choose_recurrence(
    cell: Cell, steps: int, batch: int, dim: int, dtype: torch.dtype, device: torch.device
) -> Recurrence:
    """Return how a layer of ``dim`` units runs: by the first way of its chain that is possible.

    Args:
        cell: Kind of recurrence.
        steps: Steps of the sequence.
        batch: Rows of the state.
        dim: Units of the layer.
        dtype: Type of the operands of products.
        device: Where the layer is; all but GPUs have the time loop alone.
    """
    if device.type != "cuda":
        return "eager"
    asked = _recurrence.get()
    if asked == "auto":
        # In float32 the kernels have no tensor cores: ten times as slow.
        asked = "cudnn" if cell != "gru" or dtype == torch.float32 else "persistent"
    for way in CHAINS[asked]:
        if way == "eager" or (way == "cudnn" and cell != "gru"):
            return way
        fits = steps >= MIN_STEPS and dtype in (torch.float32, torch.bfloat16, torch.float16)
        if way != "cudnn" and fits and why_not(way, cell, batch, dim, dtype, device) is None:
            return way
    return "eager"


@cache
def why_not(
    way: Recurrence, cell: Cell, batch: int, dim: int, dtype: torch.dtype, device: torch.device
) -> str | None:
    """Return why the kernels of ``way`` cannot run, which is also logged; None if they can.

    They are compiled, and two steps are made of zeros, both forwards and backwards.
    """
    try:
        from samplewise.nn.triton_recurrence import GATES, FusedRecurrence

        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
            return torch.zeros(*shape, dtype=dtype, device=device)

        gates = zeros(2, batch, GATES[cell] * dim, dtype=dtype).requires_grad_()
        weight, bias = zeros(GATES[cell] * dim, dim, dtype=dtype), zeros(dim)
        with torch.enable_grad():
            h, _ = FusedRecurrence.apply(
                cell, way, None, gates, zeros(batch, dim), zeros(batch, dim), weight, bias
            )
            h.sum().backward()
    except Exception as error:
        # Whatever a compiler or a driver says: the next way needs neither.
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        logger.warning("recurrent layers (%s): not by %s (%s)", cell, DESCRIPTIONS[way], reason)
        return reason
    return None
