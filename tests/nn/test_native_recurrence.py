"""Recurrences in C++: against the time loop in double precision, and each row by itself."""

import pytest
import torch
from tests.nn.test_triton_recurrence import (
    CELLS,
    arguments,
    check_errors,
    exact,
    outputs_and_gradients,
)

from samplewise.native import native_module
from samplewise.nn.fused_recurrence import FusedRecurrence
from samplewise.nn.init import Initializer
from samplewise.nn.native_recurrence import native_steps
from samplewise.nn.recurrence_choice import recurrence_by
from samplewise.nn.rnn import RecurrentLayer

SHAPES = [(1, 1, 9), (7, 20, 13), (8, 32, 5), (19, 70, 4)]
"""Lanes, units, steps: more lanes than a product takes at once, more units than a panel."""


def native(cell):
    lstm, after = cell == "lstm", cell == "gru-reset-after"
    return lambda gates, h0, c0, weight, bias: FusedRecurrence.apply(
        cell, native_steps, gates, h0, c0 if lstm else None, weight, bias if after else None
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", CELLS)
def test_outputs_and_gradients_are_those_of_the_time_loop_in_double_precision(cell, shape):
    lanes, dim, time = shape
    values, gradients = arguments(cell, lanes, dim, time, torch.float32)
    found = outputs_and_gradients(native(cell), values, gradients)
    check_errors(found, exact(cell, values, gradients), 2e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_a_row_depends_neither_on_the_batch_nor_on_the_number_of_threads(cell):
    lanes, dim, time = 19, 96, 40  # work enough for five threads
    values, _ = arguments(cell, lanes, dim, time, torch.float32)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(native(cell)(*values)[0])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(results[0], other) for other in results[1:])
    one = [value[:, 7:8] if value.ndim == 3 else value for value in values]
    one[1:3] = [state[7:8] for state in one[1:3]]
    assert torch.equal(native(cell)(*one)[0], results[0][:, 7:8])


@pytest.mark.parametrize("cell", CELLS)
def test_a_layer_gives_what_the_operators_of_torch_give(cell):
    layer = RecurrentLayer(6, 40, cell, True, Initializer(1))
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(4, 30, 6, generator=generator)
    state = torch.randn(4, layer.state_dim, generator=generator)
    found = []
    for way in ("auto", "eager"):
        layer.zero_grad()
        with recurrence_by(way):
            h, last = layer(x, state)
        (h.square().sum() + last.sum()).backward()
        found.append([h, last, *(parameter.grad for parameter in layer.parameters())])
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_arrays_of_wrong_sizes_are_refused():
    tensors = {"h": torch.zeros(3, 2, 4).numpy(), "x": torch.zeros(2, 2, 11).numpy()}
    with pytest.raises(ValueError, match="x has 44 numbers, not 48"):
        native_module().run_recurrence("gru", False, tensors, 1)
    tensors["x"] = torch.zeros(2, 2, 12).numpy()
    with pytest.raises(ValueError, match="no array weight"):
        native_module().run_recurrence("gru", False, tensors, 1)
