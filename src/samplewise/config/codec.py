"""Frozen dataclasses to JSON and back; every fault of a file is named at once."""

import dataclasses
import json
from functools import lru_cache
from typing import Any, TypeVar, get_args

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
            f"{'.'.join(place) or kind.__name__}: {fault['msg']}"
            for fault in error.errors()
            if (place := _place(fault["loc"], values)) is not None
        ]
        faults = faults or ["family names no kind of model that is known"]
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


def _place(loc: tuple[int | str, ...], values: dict[str, Any]) -> list[str] | None:
    """Return where a fault lies; None if it is that of a member of a union that was not meant.

    Members of a union are dataclasses told apart by ``family``; pydantic tries each of them and
    names it in the path of its faults.
    """
    place, here = [], values
    for name in map(str, loc):
        if name.endswith("Config"):
            family = here.get("family", "samplernn") if isinstance(here, dict) else "samplernn"
            if name.removesuffix("Config").lower() != family:
                return None
        else:
            place.append(name)
            here = here.get(name, {}) if isinstance(here, dict) else {}
    return place


@lru_cache
def _adapter(kind: type) -> Any:
    from pydantic import TypeAdapter

    _forbid_unknown_keys(kind)
    return TypeAdapter(kind)


def _forbid_unknown_keys(kind: type) -> None:
    kind.__pydantic_config__ = {"extra": "forbid"}  # pyright: ignore[reportAttributeAccessIssue]
    for field in dataclasses.fields(kind):
        for member in get_args(field.type) or (field.type,):
            if isinstance(member, type) and dataclasses.is_dataclass(member):
                _forbid_unknown_keys(member)
