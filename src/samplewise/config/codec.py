"""Frozen dataclasses to JSON and back, and their fields by the names of their flags.

The flag of a nested field has a prefix, as ``model.dim`` has, except where ``tyro.conf.arg`` gives
another name: the flag of ``budget.minutes`` is ``minutes``.
"""

import dataclasses
import difflib
from collections.abc import Iterator
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


def flat_fields(record: Any) -> dict[str, tuple[Any, Any]]:
    """Return the type and the value of every field, nested ones too, by the name of its flag."""
    return {
        name: (kind, value)
        for _, name, kind, value in _walk(record)
        if not dataclasses.is_dataclass(value)
    }


def flag_names(record: Any) -> dict[str, str]:
    """Return ``{dotted path: name of the flag}`` for every field, nested ones too."""
    return {".".join(path): name for path, name, *_ in _walk(record)}


def nest_fields(values: dict[str, Any], record: Any) -> dict[str, Any]:
    """Return JSON values with the fields of flat groups in their groups.

    Args:
        values: By the name of the flag; nested dataclasses whose flags have a prefix are nested.
        record: A dataclass with the fields.
    """
    places = {name: path for path, name, *_ in _walk(record) if "." not in name}
    nested: dict[str, Any] = {}
    for name, value in values.items():
        *groups, field = places.get(name, (name,))
        part = nested
        for group in groups:
            part = part.setdefault(group, {})
        part[field] = value
    return nested


def differences(old: Any, new: Any, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Return ``{name of the flag: (old, new)}`` for every field in which two dataclasses differ."""
    found: dict[str, tuple[Any, Any]] = {}
    for field, flag, _ in _fields_of(type(old)):
        name, before, after = prefix + flag, getattr(old, field), getattr(new, field)
        if dataclasses.is_dataclass(before) and type(before) is type(after):
            found |= differences(before, after, name and f"{name}.")
        elif before != after:
            found[name] = (before, after)
    return found


def with_fields(record: Record, /, **values: Any) -> Record:
    """Return a dataclass with other values of its fields, or of fields of nested dataclasses.

    Args:
        record: A dataclass.
        **values: By the name of the flag, or by its last part alone (``dim`` for ``model.dim``),
            which sets the outermost field of that name.

    Raises:
        ValueError: If there is no such field, a value is of the wrong type or out of range, or the
            values do not fit each other.
    """
    known: dict[str, tuple[tuple[str, ...], Any]] = {}
    for path, name, kind, _ in sorted(_walk(record), key=lambda found: found[1].count(".")):
        known.setdefault(name, (path, kind))
        known.setdefault(name.rpartition(".")[2], (path, kind))
    changes: dict[tuple[str, ...], Any] = {}
    for name, value in values.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"there is no field {name!r}{hint}")
        path, kind = known[name]
        is_checked = dataclasses.is_dataclass(value)
        changes[path] = value if is_checked else check_value(kind, value, name)
    return _replace(record, changes)


def check_value(kind: Any, value: Any, name: str) -> Any:
    """Return a value as the field of a dataclass holds it: a list becomes a tuple.

    Raises:
        ValueError: If ``kind``, the annotation of the field, does not allow the value.
    """
    from pydantic import ValidationError

    to_text({name: value})  # an error names the field
    try:
        return _adapter(kind).validate_json(to_text(value), strict=True)
    except ValidationError as error:
        raise ValueError(f"{name} = {value!r}: {error.errors()[0]['msg']}") from None


def _replace(record: Any, changes: dict[tuple[str, ...], Any]) -> Any:
    """Set all fields of a part at once: some values fit only together."""
    own = {path[0]: value for path, value in changes.items() if len(path) == 1}
    for name in {path[0] for path in changes if len(path) > 1}:
        inner = {path[1:]: value for path, value in changes.items() if path[0] == name}
        own[name] = _replace(getattr(record, name), inner)
    return dataclasses.replace(record, **own)


def _walk(
    record: Any, outer: tuple[str, ...] = (), prefix: str = ""
) -> Iterator[tuple[tuple[str, ...], str, Any, Any]]:
    """Yield path, name of the flag, type and value of every field; nested ones follow theirs."""
    for field, flag, kind in _fields_of(type(record)):
        path, name, value = (*outer, field), prefix + flag, getattr(record, field)
        yield path, name, kind, value
        if dataclasses.is_dataclass(value):
            yield from _walk(value, path, name and f"{name}.")


@lru_cache
def _fields_of(kind: type) -> tuple[tuple[str, str, Any], ...]:
    """Return name, flag and type of each field; the flag of a group without a prefix is empty."""
    fields = []
    for field in dataclasses.fields(kind):
        markers = getattr(field.type, "__metadata__", ())
        flags = [marker.name for marker in markers if getattr(marker, "name", None) is not None]
        flag = flags[0] if flags else field.name
        fields.append((field.name, flag.replace("-", "_"), field.type))
    return tuple(fields)


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
def _adapter(kind: Any) -> Any:
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
