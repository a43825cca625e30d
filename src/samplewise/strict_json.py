"""JSON as this project reads and writes it: bounded, and without numbers that JSON does not have.

A file from outside may be endless, nested without end, or name one key twice. Whatever is wrong
with it is a ValueError that says so in plain words.
"""

import json
import math
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

MAX_BYTES = 64 * 2**20
"""Size beyond which a file is refused, unless its reader allows more."""
MAX_LINE = 2**20
"""Bytes of a line of a file of lines."""
MAX_DEPTH = 64
"""Objects and lists within each other."""
MAX_DIGITS = 20
"""Digits of an integer; those of a seed, below 2**64."""


def parse(data: bytes | str) -> Any:
    """Return the value of a JSON text.

    Text is UTF-8, with or without a byte order mark. A key that occurs twice in an object, NaN,
    Infinity, a number beyond double precision and an integer of more than 20 digits are refused.

    Raises:
        ValueError: If it is not such a text, or is nested too deeply.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_integer,
        )
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({error})") from None
    except RecursionError:
        raise ValueError(_too_deep()) from None
    if isinstance(value, dict | list):
        _check_depth(value)
    return value


def parse_object(data: bytes | str) -> dict[str, Any]:
    """Return the value of a JSON text that is an object; see :func:`parse`."""
    value = parse(data)
    if not isinstance(value, dict):
        raise ValueError("it holds no JSON object")  # noqa: TRY004
    return value


def read_object(path: Path, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Return the object in a file.

    Raises:
        ValueError: As :func:`parse`, with the name of the file; or if it is too large or no
            regular file.
        OSError: If it cannot be read.
    """
    try:
        return parse_object(read_bounded(path, max_bytes))
    except ValueError as error:
        raise ValueError(f"{path} cannot be used: {error}") from None


def read_bounded(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the bytes of a regular file of at most ``max_bytes``; else raise ValueError."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a regular file")
    if status.st_size > max_bytes:
        raise ValueError(f"it is larger than {max_bytes / 2**20:g} MiB")
    return path.read_bytes()


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file of lines; a line that is none, or torn, is left out."""
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE):
            try:
                yield parse_object(line)
            except ValueError:
                continue


def to_text(value: Any, indent: int | None = None, ascii_only: bool = False) -> str:
    """Return ``value`` as JSON.

    Raises:
        ValueError: If it holds NaN or an infinity: JSON has neither.
    """
    try:
        return json.dumps(value, indent=indent, ensure_ascii=ascii_only, allow_nan=False)
    except ValueError:
        found = ", ".join(_not_finite(value, ""))
        raise ValueError(f"a number is not finite: {found}") from None


def _not_finite(value: Any, name: str) -> Iterator[str]:
    """Yield the numbers that are not finite, with their names."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{name} = {value}" if name else str(value)
    elif isinstance(value, dict | list | tuple):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in parts:
            yield from _not_finite(part, f"{name}.{key}".lstrip("."))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"it names {twice[:40]!r} twice in one object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which JSON does not have")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"it holds the number {text[:40]}, which is beyond double precision")
    return value


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS + 1:
        raise ValueError(f"it holds an integer of {len(text)} digits, more than {MAX_DIGITS}")
    return int(text)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        parts = (whole.values() if isinstance(whole, dict) else whole for whole in level)
        level = [part for inner in parts for part in inner if isinstance(part, dict | list)]
        if not level:
            return
    raise ValueError(_too_deep())


def _too_deep() -> str:
    return f"it is nested too deeply (more than {MAX_DEPTH} levels)"
