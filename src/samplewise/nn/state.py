"""States as values: frozen dataclasses of tensors, batch first, nothing on a module."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

State = TypeVar("State")


def map_tensors(state: State, function: Callable[[Tensor], Tensor]) -> State:
    """Return ``state`` with ``function`` applied to each of its tensors."""
    changes = {
        field.name: _map_value(getattr(state, field.name), function)
        for field in dataclasses.fields(state)  # pyright: ignore[reportArgumentType]
    }
    return dataclasses.replace(state, **changes)  # pyright: ignore[reportArgumentType, reportCallIssue, reportReturnType]


def detach(state: State) -> State:
    """Return ``state`` without its gradients: the history is kept, the graph is not."""
    return map_tensors(state, Tensor.detach)


def select(state: State, rows: slice) -> State:
    """Return the given rows of the batch."""
    return map_tensors(state, lambda tensor: tensor[rows])


def concatenate(states: Sequence[State]) -> State:
    """Join states along the batch; what is not a tensor is taken from the first."""
    columns = [list(to_tensors(state).values()) for state in states]
    joined = iter([torch.cat(parts) for parts in zip(*columns, strict=True)])
    return map_tensors(states[0], lambda _: next(joined))


def to_tensors(state: Any) -> dict[str, Tensor]:
    """Return the tensors of a state by name (``h.0``, ``h.1``, ``history``)."""
    named: dict[str, Tensor] = {}
    for field in dataclasses.fields(state):
        value = getattr(state, field.name)
        if isinstance(value, Tensor):
            named[field.name] = value
        elif isinstance(value, tuple):
            named |= {f"{field.name}.{index}": tensor for index, tensor in enumerate(value)}
    return named


def from_tensors(like: State, named: dict[str, Tensor]) -> State:
    """Return ``like`` with the tensors that :func:`to_tensors` gave."""
    names = iter(to_tensors(like))
    return map_tensors(like, lambda _: named[next(names)])


def _map_value(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple):
        return tuple(function(part) for part in value)
    return value
