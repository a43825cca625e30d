"""The ways to run a recurrent layer, and which of them a layer takes.

On a CPU that is the compiled module where it is there. On a GPU a way that this machine cannot take
is followed by the next of its chain, and a line says why.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Literal

import torch

from samplewise.config.fields import Cell, Recurrence
from samplewise.native import can_load_native
from samplewise.nn.fused_recurrence import GATES, FusedRecurrence, StepMaker
from samplewise.nn.native_recurrence import native_steps

Way = Recurrence | Literal["native"]
CHAINS: dict[Recurrence, tuple[Recurrence, ...]] = {
    "persistent": ("persistent", "phases", "cudnn", "eager"),
    "phases": ("phases", "cudnn", "eager"),
    "cudnn": ("cudnn", "eager"),
    "eager": ("eager",),
}
MIN_STEPS = 8
"""Below, as in generation, kernels are not worth the seconds that compiling them takes."""
MIN_VECTORS = 16
"""On a CPU: with fewer vectors in all, packing the matrix takes longer than it saves."""
DESCRIPTIONS: dict[Way, str] = {
    "native": "C++ on the CPU",
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
) -> Way:
    """Return how a layer of ``dim`` units runs: by the first way of its chain that is possible.

    Args:
        cell: Kind of recurrence.
        steps: Steps of the sequence.
        batch: Rows of the state.
        dim: Units of the layer.
        dtype: Type of the operands of products.
        device: Where the layer is, a CPU or a GPU.
    """
    asked = _recurrence.get()
    if device.type != "cuda":
        pays = steps > 1 and steps * batch >= MIN_VECTORS and dtype == torch.float32
        return "native" if asked != "eager" and pays and can_load_native() else "eager"
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


def step_maker(way: Way) -> StepMaker:
    """Return what makes the steps of a fused recurrence."""
    if way == "native":
        return native_steps
    from samplewise.nn.triton_recurrence import TritonSteps

    assert way in ("phases", "persistent")
    return TritonSteps(way)


@cache
def why_not(
    way: Recurrence, cell: Cell, batch: int, dim: int, dtype: torch.dtype, device: torch.device
) -> str | None:
    """Return why the kernels of ``way`` cannot run, which is also logged; None if they can.

    They are compiled, and two steps are made of zeros, both forwards and backwards.
    """
    try:

        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
            return torch.zeros(*shape, dtype=dtype, device=device)

        gates = zeros(2, batch, GATES[cell] * dim, dtype=dtype).requires_grad_()
        weight, bias = zeros(GATES[cell] * dim, dim, dtype=dtype), zeros(dim)
        with torch.enable_grad():
            h, _ = FusedRecurrence.apply(
                cell, step_maker(way), gates, zeros(batch, dim), zeros(batch, dim), weight, bias
            )
            h.sum().backward()
    except Exception as error:
        # Whatever a compiler or a driver says: the next way needs neither.
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        logger.warning("recurrent layers (%s): not by %s (%s)", cell, DESCRIPTIONS[way], reason)
        return reason
    return None
