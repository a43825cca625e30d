"""`--fix`, `--range` and `--choices`: a search space changed from the command line."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from samplewise import strict_json
from samplewise.config.training import TrainConfig
from samplewise.search.space import Choices, Range, Space, owner, text

RESERVED = ("preset", "steps", "epochs", "minutes", "patience", "valid_every", "ranks", "device")
RESERVED = (*RESERVED, "threads")
"""What a search decides for all its trials."""
MEANING = ("level", "clip_seconds", "valid_seconds")
MEANING = (*MEANING, "model.quantizer", "model.q_levels", "model.head", "model.moments")
"""Fields that change what a bit per sample means: trials would not be comparable."""
WORDS = {"None": None, "True": True, "False": False}


def changed(
    config: TrainConfig,
    space: Space,
    fix: Sequence[str] = (),
    ranges: Sequence[str] = (),
    choices: Sequence[str] = (),
) -> tuple[Space, dict[str, Any]]:
    """Return a space with changes, and the values that are fixed.

    Args:
        config: Whose fields are meant.
        space: What is varied without the changes.
        fix: ``NAME=VALUE``: not varied, or another value than the preset's.
        ranges: ``NAME=LOW:HIGH`` or ``NAME=LOW:HIGH:log``.
        choices: ``NAME=VALUE,VALUE``; a list is written ``[2,2,8]``.

    Raises:
        ValueError: If there is no such field, or it cannot have such values.
    """
    space, fixed = dict(space), {}
    for change in fix:
        name, words = _split(change, "--fix", "VALUE")
        fixed[name] = parse(config, name, words, "--fix")
        space.pop(name, None)
    for change in ranges:
        name, words = _split(change, "--range", "LOW:HIGH")
        _refuse_meaning(name)
        space[name] = _range(config, space, name, words)
    for change in choices:
        name, words = _split(change, "--choices", "VALUE,VALUE")
        _refuse_meaning(name)
        # Commas between values, not those within the brackets of a list.
        parts = re.split(r",(?![^\[]*\])", words)
        values = tuple(parse(config, name, part, "--choices") for part in parts)
        condition = space[name].only_if if name in space else None
        space[name] = Choices(tuple(dict.fromkeys(values)), condition)
    both = fixed.keys() & space.keys()
    if both:
        name = min(both)
        raise ValueError(f"'{name}' is fixed and varied at once; leave out one of the two")
    return space, fixed


def parse(config: TrainConfig, name: str, words: str, flag: str) -> Any:
    """Return the value of field ``name`` that ``words`` stand for.

    Raises:
        ValueError: If the field cannot have that value.
    """
    from pydantic import TypeAdapter, ValidationError

    _, field = owner(config, name)
    kind: Any = field.type
    words = words.strip()
    try:
        value = WORDS[words] if words in WORDS else strict_json.parse(words)
    except ValueError:
        value = words
    try:
        return TypeAdapter(kind).validate_json(strict_json.to_text(value), strict=True)
    except ValidationError as error:
        what = error.errors()[0]["msg"]
        raise ValueError(f"{flag} {name}: {words!r} cannot be its value: {what}") from None


def _range(config: TrainConfig, space: Space, name: str, words: str) -> Range:
    _, field = owner(config, name)
    before = space.get(name)
    if field.type not in (int, float):
        example = text(getattr(*_place(config, name)))
        raise ValueError(
            f"--range {name}={words}: it is not a number (but for example {example}); "
            f"use --choices {name}=VALUE,VALUE"
        )
    parts = words.split(":")
    if len(parts) not in (2, 3) or parts[2:] not in ([], ["log"], ["linear"]):
        raise ValueError(f"--range {name}={words} must be LOW:HIGH, LOW:HIGH:log or :linear")
    low, high = (parse(config, name, part, "--range") for part in parts[:2])
    as_before = isinstance(before, Range) and before.log
    log = parts[2] == "log" if parts[2:] else as_before
    if not low < high:
        raise ValueError(f"--range {name}={words}: {low:g} must be less than {high:g}")
    if log and low <= 0:
        raise ValueError(
            f"--range {name}={words}: {low:g} must be above 0 on a logarithmic scale; "
            f"or write {low:g}:{high:g}:linear"
        )
    found = Range(low, high, log)
    return found if before is None else replace(found, only_if=before.only_if)


def _place(config: TrainConfig, name: str) -> tuple[Any, str]:
    record, field = owner(config, name)
    return record, field.name


def _split(change: str, flag: str, form: str) -> tuple[str, str]:
    name, equals, words = change.partition("=")
    name = name.strip().replace("-", "_")
    if not (name and equals and words.strip()):
        raise ValueError(f"{flag} {change} must be {flag} NAME={form}; --space lists the names")
    if name in RESERVED:
        raise ValueError(
            f"'{name}' is the same for all trials; use the option of the search itself "
            "(--preset, --minutes, --steps, --device, --threads)"
        )
    return name, words


def _refuse_meaning(name: str) -> None:
    if name in MEANING:
        raise ValueError(
            f"bits per sample of runs that differ in '{name}' cannot be compared, so it cannot be "
            f"varied; choose one with --fix {name}=VALUE"
        )
