"""Frozen dataclasses to JSON and back; every fault of a file is named at once."""

import dataclasses
import difflib
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, TypeVar, get_args

from samplewise.strict_json import parse_object, to_text

Record = TypeVar("Record")
TAG = "family"
"""Field that names the member of a union."""


class TaggedUnion:
    """Marks a union of dataclasses whose field ``family``, a literal, names the member.

    It stands for pydantic's ``Discriminator``, which is imported only when a file is read.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Return the schema of a tagged union: only faults of the named member are reported."""
        from pydantic import Discriminator

        return handler.generate_schema(Annotated[source, Discriminator(TAG)])


def to_json(record: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as plain JSON values."""
    return parse_object(to_text(dataclasses.asdict(record)))


def from_json(kind: type[Record], values: Any, where: str) -> Record:
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
        return _adapter(kind).validate_json(to_text(values), strict=True)
    except ValidationError as error:
        faults = [
            f"{'.'.join(_place(fault['loc'], values)) or kind.__name__}: {_words(fault)}"
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


def with_fields(record: Record, values: Mapping[str, Any]) -> Record:
    """Return a dataclass with other values of its fields, or of fields of nested dataclasses.

    Args:
        record: A dataclass.
        values: By the name of the field alone; the outermost field of that name is set.

    Raises:
        ValueError: If there is no such field, or a value is of the wrong type or out of range.
    """
    fields, known = to_json(record), {}
    _set_fields(fields, values, known)
    for name in values:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"there is no field {name!r}{hint}")
    return from_json(type(record), fields, "the configuration")


def _set_fields(fields: dict[str, Any], values: Mapping[str, Any], known: dict[str, Any]) -> None:
    """Set what is not yet ``known``, here and in nested dataclasses."""
    nested = [value for value in fields.values() if isinstance(value, dict)]
    names = [name for name in fields if name not in known]
    known |= dict.fromkeys(names)
    fields |= {name: values[name] for name in names if name in values}
    for part in nested:
        _set_fields(part, values, known)


def _place(loc: tuple[int | str, ...], values: Any) -> list[str]:
    """Return where a fault lies, without the tags of unions that pydantic puts into its path."""
    place, here = [], values
    for name in loc:
        if isinstance(here, dict) and name not in here and name == here.get(TAG):
            continue
        place.append(str(name))
        here = here.get(name) if isinstance(here, dict) else None
    return place


def _words(fault: Any) -> str:
    if fault["type"] == "union_tag_invalid":
        known = fault["ctx"]["expected_tags"]
        return f"{TAG} = {fault['ctx']['tag']!r} must be one of {known}"
    return fault["msg"]


@lru_cache
def _adapter(kind: type) -> Any:
    from pydantic import TypeAdapter

    _forbid_unknown_keys(kind)
    return TypeAdapter(kind)


def _forbid_unknown_keys(kind: Any) -> None:
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        for member in get_args(kind):
            _forbid_unknown_keys(member)
        return
    kind.__pydantic_config__ = {"extra": "forbid"}  # pyright: ignore[reportAttributeAccessIssue]
    for field in dataclasses.fields(kind):
        _forbid_unknown_keys(field.type)
