"""Frozen dataclasses to JSON and back; every fault of a file is named at once."""

import dataclasses
import json
from functools import lru_cache
from typing import Any, TypeVar

Record = TypeVar("Record")


def to_json(record: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as plain JSON values."""
    plain = json.loads(json.dumps(dataclasses.asdict(record)))
    assert isinstance(plain, dict)
    return plain


def from_json(kind: type[Record], values: dict[str, Any], where: str) -> Record:
    """Build ``kind`` from JSON values; unknown keys and wrong types are refused.

    Args:
        kind: A dataclass.
        values: What :func:`to_json` gave.
        where: Name of the file or section, for the message.

    Raises:
        ValueError: Lists every fault with its dotted path.
    """
    from pydantic import ValidationError

    try:
        return _adapter(kind).validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc'])) or kind.__name__}: {fault['msg']}"
            for fault in error.errors()
        ]
        raise ValueError(f"{where} does not fit this version: {'; '.join(faults)}") from None


def differences(old: Any, new: Any, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Return ``{dotted field: (old, new)}`` for every field in which two dataclasses differ."""
    found: dict[str, tuple[Any, Any]] = {}
    for field in dataclasses.fields(old):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if dataclasses.is_dataclass(before) and type(before) is type(after):
            found |= differences(before, after, f"{prefix}{field.name}.")
        elif before != after:
            found[f"{prefix}{field.name}"] = (before, after)
    return found


@lru_cache
def _adapter(kind: type) -> Any:
    from pydantic import TypeAdapter

    _forbid_unknown_keys(kind)
    return TypeAdapter(kind)


def _forbid_unknown_keys(kind: type) -> None:
    kind.__pydantic_config__ = {"extra": "forbid"}  # pyright: ignore[reportAttributeAccessIssue]
    for field in dataclasses.fields(kind):
        if isinstance(field.type, type) and dataclasses.is_dataclass(field.type):
            _forbid_unknown_keys(field.type)
