"""Reading of run folders that may be unfinished, damaged or untrusted: all values are checked."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from samplewise.errors import AudioError
from samplewise.plots import Curve
from samplewise.strict_json import parse_object, read_bounded, read_lines


def read_json(path: Path, notes: list[str]) -> dict[str, Any] | None:
    """Return the object in ``path``, or None and, if there is a file, a note why not."""
    if not path.is_file():
        return None
    try:
        return parse_object(read_bounded(path))
    except ValueError as error:
        notes.append(f"{path.name} was left out: {error}.")
        return None


def is_file(path: Path) -> bool:
    """Return whether ``path`` is a file; an impossible name is not a file and no error."""
    return os.path.isfile(path)  # noqa: PTH113  Path.is_file raises for a name that is too long


def is_folder(path: str) -> bool:
    """Return whether ``path`` is a folder; an impossible name is not a folder and no error."""
    return bool(path) and os.path.isdir(path)  # noqa: PTH112  as above


def number(mapping: Any, *keys: str) -> float | None:
    """Return the finite number under nested ``keys``, or None."""
    value = find(mapping, *keys)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < 2**1000 else None  # False for NaN, too


def text(mapping: Any, *keys: str) -> str | None:
    """Return the text under nested ``keys`` (a number is written out), or None."""
    value = find(mapping, *keys)
    if isinstance(value, str):
        return value
    figure = number(mapping, *keys)
    return None if figure is None else f"{figure:g}" if isinstance(value, float) else str(value)


def find(mapping: Any, *keys: str) -> Any:
    """Return the value under nested ``keys``, or None."""
    for key in keys:
        if not isinstance(mapping, dict):
            return None
        mapping = mapping.get(key)
    return mapping


def objects(mapping: Any, *keys: str) -> list[dict[str, Any]]:
    """Return the JSON objects in the list under nested ``keys``; other items are left out."""
    value = find(mapping, *keys)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def numbers(mapping: Any, *keys: str) -> dict[str, float]:
    """Return the finite numbers in the object under nested ``keys``."""
    value = find(mapping, *keys)
    if not isinstance(value, dict):
        return {}
    found = {str(key): number(value, key) for key in value}
    return {key: figure for key, figure in found.items() if figure is not None}


def metrics(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of metrics.jsonl; an incomplete line of a killed run is skipped."""
    if path.is_file():
        yield from read_lines(path)


def read_curve(lines: list[dict[str, Any]], event: str, key: str) -> Curve:
    """Return the values of ``key`` in the lines of one event; a repeated step counts once."""
    points: dict[float, tuple[float, float]] = {}
    for line in lines:
        step, value = number(line, "step"), number(line, key)
        if line.get("event") == event and step is not None and value is not None:
            points[step] = (number(line, "seconds") or 0.0) / 3600, value
    steps = sorted(points)
    hours = [points[step][0] for step in steps]
    values = [points[step][1] for step in steps]
    return Curve(np.array(steps, float), np.array(hours, float), np.array(values, float))


def read_start(path: Path, seconds: float) -> tuple[Float32[np.ndarray, " samples"], int, float]:
    """Read at most ``seconds`` of a sound file, as mono.

    Returns:
        Amplitude within [-1, 1], sample rate in Hz, and the whole length in seconds.

    Raises:
        AudioError: If the path is not a regular file, or not sound.
    """
    from samplewise.audio.files import blocks, mono, probe

    info = probe(path)
    limit, parts, total = round(seconds * info.sample_rate), [], 0
    for block in blocks(path):
        parts.append(np.clip(mono(block), -1, 1)[: limit - total])
        total += len(parts[-1])
        if total >= limit:
            break
    if not total:
        raise AudioError(f"{path.name}: it holds no samples")
    whole = info.frames or 0
    return np.concatenate(parts), info.sample_rate, max(total, whole) / info.sample_rate
