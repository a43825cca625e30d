"""The recurrences of :mod:`samplewise.nn.recurrence` in C++, for CPUs: several times as fast."""

import torch
from torch import Tensor

from samplewise.config.fields import Cell
from samplewise.native import native_module

FORWARD: dict[Cell, tuple[str, ...]] = {
    "gru": ("x", "weight", "h", "h", "gate_values", "candidate", "aside"),
    "gru-reset-after": ("x", "weight", "bias", "h", "h", "gate_values", "candidate", "aside"),
    "lstm": ("x", "weight", "h", "h", "c", "gate_values"),
}
BACK: dict[Cell, tuple[str, ...]] = {
    "gru": ("grad", "transposed", "h", "gate_values", "candidate", "grad_gates", "carried"),
    "gru-reset-after": (
        *("grad", "transposed", "h", "gate_values", "candidate", "aside"),
        *("grad_gates", "grad_aside", "carried"),
    ),
    "lstm": ("grad", "transposed", "c", "gate_values", "grad_gates", "carried", "carried_c"),
}
"""What the C++ code calls the arrays of a fused recurrence, in their order."""


def native_steps(arrays: tuple[Tensor, ...], steps: int, cell: Cell, back: bool) -> None:
    """Make all steps of one direction of a fused recurrence, in place.

    A row's numbers depend neither on the batch nor on the number of threads, which is torch's.

    Args:
        arrays: In the order of :class:`samplewise.nn.fused_recurrence.FusedRecurrence`, float32.
        steps: Of the sequence.
        cell: Kind of recurrence.
        back: Whether these are the gradients.
    """
    named = dict(zip((BACK if back else FORWARD)[cell], arrays, strict=True))
    for name in ("grad_gates", "grad_aside"):
        if name in named:  # without the step that follows the last
            named[name] = named[name][:steps]
    tensors = {name: tensor.detach().numpy() for name, tensor in named.items()}
    native_module().run_recurrence(cell, back, tensors, torch.get_num_threads())
