"""What a search may vary: values and ranges of fields of the training configuration."""

import dataclasses
import difflib
from dataclasses import dataclass
from typing import Any

from samplewise.config.training import TrainConfig
from samplewise.strict_json import to_text

Value = bool | int | float | str | None | tuple[int, ...]
Condition = tuple[str, tuple[Value, ...]]
"""A field and the values of it with which a parameter means anything."""


@dataclass(frozen=True)
class Choices:
    """One of a few values, each as likely."""

    values: tuple[Value, ...]
    """What may be chosen."""
    only_if: Condition | None = None
    """The field that comes before this one and on which it depends."""

    def __str__(self) -> str:
        return ", ".join(map(text, self.values))


@dataclass(frozen=True)
class Range:
    """A number between two others; whole if both are."""

    low: int | float
    """Smallest value."""
    high: int | float
    """Largest value, included."""
    log: bool = False
    """Uniform in the logarithm."""
    only_if: Condition | None = None
    """The field that comes before this one and on which it depends."""

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', logarithmic' if self.log else ''}"


@dataclass(frozen=True)
class Times:
    """One of a few multiples of what the preset says, so that one list serves every size."""

    factors: tuple[int | float, ...]
    """Multiples of the preset's value."""


Entry = Choices | Range
Space = dict[str, Entry]
"""Dotted field of `TrainConfig` -> what it may be, in the order in which they are drawn."""


def text(value: Value) -> str:
    """Return a value as it is written on the command line."""
    if isinstance(value, tuple):
        return to_text(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def owner(config: Any, name: str) -> tuple[Any, dataclasses.Field[Any]]:
    """Return the record that holds field ``name`` (dotted), and the field.

    Raises:
        ValueError: If there is no such field.
    """
    record = config
    *path, last = name.split(".")
    for part in path:
        record = getattr(record, part, None)
    fields = {field.name: field for field in _fields(record)}
    if last not in fields or dataclasses.is_dataclass(getattr(record, last)):
        known = field_names(config)
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"parameters: {', '.join(known)}"
        raise ValueError(f"there is no parameter '{name}'; {hint}")
    return record, fields[last]


def field_names(config: Any, prefix: str = "") -> list[str]:
    """Return the dotted names of all fields of a configuration."""
    names: list[str] = []
    for field in _fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            names += field_names(value, f"{prefix}{field.name}.")
        else:
            names.append(f"{prefix}{field.name}")
    return names


def value_of(config: TrainConfig, name: str) -> Any:
    """Return the value of field ``name`` (dotted)."""
    record, field = owner(config, name)
    return getattr(record, field.name)


def with_values(config: Any, values: dict[str, Any]) -> Any:
    """Return a configuration with other values, checked once, as a whole.

    Args:
        config: A dataclass, or one of its parts.
        values: Dotted field -> value.

    Raises:
        ValueError: If the values do not fit each other.
    """
    parts: dict[str, dict[str, Any]] = {}
    own: dict[str, Any] = {}
    for name, value in values.items():
        head, _, rest = name.partition(".")
        if rest:
            parts.setdefault(head, {})[rest] = value
        else:
            own[head] = value
    own |= {head: with_values(getattr(config, head), inner) for head, inner in parts.items()}
    return dataclasses.replace(config, **own)


def resolve(config: TrainConfig, space: dict[str, Entry | Times]) -> Space:
    """Return a space in which multiples of the preset's values have become values."""
    found: Space = {}
    for name, entry in space.items():
        if isinstance(entry, Times):
            own = value_of(config, name)
            values = [own * factor for factor in entry.factors]
            if isinstance(own, int):
                values = [max(1, round(value)) for value in values]
            entry = Choices(tuple(dict.fromkeys(values)))
        found[name] = entry
    return found


def describe(space: Space, fixed: dict[str, Any]) -> str:
    """Return a space as lines."""
    width = max(map(len, [*space, *fixed]), default=0)
    lines = []
    for name, entry in space.items():
        condition = ""
        if entry.only_if is not None:
            field, values = entry.only_if
            condition = f"  (if {field} is {' or '.join(map(text, values))})"
        lines.append(f"{name:<{width}}  {entry}{condition}")
    lines += [f"{name:<{width}}  {text(value)}  (fixed)" for name, value in fixed.items()]
    return "\n".join(lines)


def _fields(record: Any) -> tuple[dataclasses.Field[Any], ...]:
    is_record = dataclasses.is_dataclass(record) and not isinstance(record, type)
    return dataclasses.fields(record) if is_record else ()
