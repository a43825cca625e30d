"""Search space: the training parameters that a search varies, and the values they may take.

`TRAINING` and `MODELS` hold the default space of each model family: data and nothing else. A new
family needs one entry. `--fix`, `--range` and `--choices` change the space of one search.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from samplewise import strict_json
from samplewise.config.codec import flat_fields
from samplewise.config.models import (
    FusedSubscaleConfig,
    HybridConfig,
    RNNConfig,
    SampleRNNConfig,
    SubscaleWaveRNNConfig,
    WaveNetConfig,
    WaveRNNConfig,
)
from samplewise.config.training import TrainConfig

Value = bool | int | float | str | None | tuple[int, ...]
Condition = tuple[str, tuple[Value, ...]]
"""A field, and the values of that field with which a parameter has an effect."""


@dataclass(frozen=True)
class Choices:
    """A parameter that takes one of a few values, each with the same probability."""

    values: tuple[Value, ...]
    """The possible values."""
    only_if: Condition | None = None
    """Condition on a field that comes earlier in the space; the parameter is left out otherwise."""

    def __str__(self) -> str:
        return ", ".join(map(format_value, self.values))


@dataclass(frozen=True)
class Range:
    """A parameter between two numbers; an integer if both are integers."""

    low: int | float
    """Smallest value."""
    high: int | float
    """Largest value, included."""
    log: bool = False
    """Whether the distribution is uniform in the logarithm."""
    only_if: Condition | None = None
    """Condition on a field that comes earlier in the space; the parameter is left out otherwise."""

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', logarithmic' if self.log else ''}"


@dataclass(frozen=True)
class Times:
    """Choices that are multiples of the preset's value, so that one list serves every size."""

    factors: tuple[int | float, ...]
    """Multiples of the preset's value."""


Entry = Choices | Range
Space = dict[str, Entry]
"""Flag of a field of `TrainConfig` -> its possible values, in the order in which they are drawn."""
Template = dict[str, Entry | Times]
"""A space before it is applied to a preset."""

TRAINING: Template = {
    "learning_rate": Range(2e-4, 1e-2, log=True),
    "clip": Choices(("value", "norm")),
    "clip_limit": Range(0.1, 10.0, log=True),
    "lanes": Times((0.5, 1, 2)),
    "seq_len": Choices((128, 256, 512, 1024)),
    "ema": Choices((0.0, 0.99, 0.999)),
}
"""Training of any family. `seq_len` is a multiple of every top frame below."""

SAMPLERNN: Template = {
    "model.frame_sizes": Choices(
        (
            *((4, 4), (8, 8), (16, 16)),
            *((2, 2, 8), (4, 4, 16), (8, 8, 32), (16, 8, 64)),
            *((2, 2, 8, 32), (4, 4, 16, 64), (16, 4, 16, 64)),
        )
    ),
    "model.dim": Times((0.5, 0.75, 1, 1.5, 2)),
    "model.n_rnn": Choices((1, 2, 3)),
    "model.skip": Choices((False, True), only_if=("model.n_rnn", (2, 3, 4, 5))),
    "model.cell": Choices(("gru", "gru-reset-after", "lstm")),
    "model.emb_size": Choices((32, 64, 128, 256), only_if=("model.sample_input", ("embedding",))),
    "model.weight_norm": Choices((True, False)),
}
"""SampleRNN: two to four tiers, and the parameters listed in section 3 of the paper."""

WAVENET: Template = {
    "learning_rate": Range(5e-5, 5e-3, log=True),
    "seq_len": Choices((512, 1024, 1600, 3200)),
    "model.blocks": Choices((1, 2, 3, 4)),
    "model.layers": Choices((6, 7, 8, 9, 10)),
    "model.channels": Times((0.5, 0.75, 1, 1.5, 2)),
    "model.skip_channels": Times((0.5, 1, 2)),
    "model.weight_norm": Choices((True, False)),
}
"""WaveNet: a receptive field from 64 to 4093 samples, and widths."""

MODELS: dict[type, Template] = {
    SampleRNNConfig: SAMPLERNN,
    RNNConfig: {
        name: SAMPLERNN[name]
        for name in ("model.dim", "model.n_rnn", "model.skip", "model.cell", "model.emb_size")
    },
    WaveNetConfig: WAVENET,
    HybridConfig: {
        **WAVENET,
        "seq_len": Choices((512, 1024, 1536, 3072)),
        "model.layers": Choices((4, 5, 6, 7, 8)),
        "model.frame_size": Choices((16, 32, 64, 128)),
        "model.frame_level": Choices(("rnn", "convolution")),
        "model.dim": Times((0.5, 1, 2)),
    },
    WaveRNNConfig: {"model.dim": Times((0.5, 1, 2)), "seq_len": Choices((480, 960, 1920))},
    SubscaleWaveRNNConfig: {
        "model.dim": Times((0.5, 1, 2)),
        "model.channels": Times((0.5, 1, 2)),
        "model.residual_channels": Times((0.5, 1, 2)),
        "seq_len": Times((1, 2)),
    },
    FusedSubscaleConfig: {"model.dim": Times((0.5, 1, 2)), "seq_len": Times((1, 2))},
}
"""Configuration class of a model family -> the parameters of the family that are varied."""

SHARED = {"preset", "steps", "epochs", "minutes", "patience", "valid_every", "ranks"}
SHARED |= {"device", "threads"}
"""Fields that have the same value in all trials of a search."""
COMPARED = {"level", "clip_seconds", "valid_seconds"}
COMPARED |= {"model.quantizer", "model.q_levels", "model.head", "model.moments"}
"""Fields that change the meaning of a bit per sample: trials would not be comparable."""
CONSTANTS = {"None": None, "True": True, "False": False}


def default_space(config: TrainConfig) -> Space:
    """Return the space of the model family of ``config``, with multiples of its values resolved.

    Raises:
        ValueError: If the family has no entry in `MODELS`.
    """
    family = type(config.model)
    if family not in MODELS:
        raise ValueError(
            f"preset = {config.preset!r} is a {family.__name__}, for which search/space.py has "
            f"no entry; it knows {', '.join(known.__name__ for known in MODELS)}"
        )
    space: Space = {}
    for name, entry in {**TRAINING, **MODELS[family]}.items():
        if isinstance(entry, Times):
            value = value_of(config, name)
            values = [value * factor for factor in entry.factors]
            if isinstance(value, int):
                values = [max(1, round(value)) for value in values]
            entry = Choices(tuple(dict.fromkeys(values)))
        space[name] = entry
    return space


def change_space(
    config: TrainConfig,
    space: Space,
    fix: Sequence[str] = (),
    ranges: Sequence[str] = (),
    choices: Sequence[str] = (),
) -> tuple[Space, dict[str, Any]]:
    """Return a changed space, and the fixed values.

    Args:
        config: Configuration that has the named fields.
        space: Space before the changes.
        fix: ``NAME=VALUE``: the parameter has this value in every trial.
        ranges: ``NAME=LOW:HIGH`` or ``NAME=LOW:HIGH:log``.
        choices: ``NAME=VALUE,VALUE``; a list is written ``[2,2,8]``.

    Raises:
        ValueError: If a field does not exist or cannot have one of the values.
    """
    space, fixed = dict(space), {}
    for change in fix:
        name, words = _split_change(change, "--fix", "VALUE")
        fixed[name] = _parse_value(config, name, words, "--fix")
        space.pop(name, None)
    for change in ranges:
        name, words = _split_change(change, "--range", "LOW:HIGH")
        space[name] = _parse_range(config, space.get(name), name, words)
    for change in choices:
        name, words = _split_change(change, "--choices", "VALUE,VALUE")
        # Split at commas between values, not at commas within the brackets of a list.
        parts = re.split(r",(?![^\[]*\])", words)
        values = tuple(_parse_value(config, name, part, "--choices") for part in parts)
        condition = space[name].only_if if name in space else None
        space[name] = Choices(tuple(dict.fromkeys(values)), condition)
    if both := fixed.keys() & space.keys():
        raise ValueError(f"'{min(both)}' is fixed and varied at once; leave out one of the two")
    return space, fixed


def format_value(value: Value) -> str:
    """Return a value as it is written on the command line."""
    if isinstance(value, tuple):
        return strict_json.to_text(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def format_space(space: Space, fixed: dict[str, Any]) -> str:
    """Return a space as text, one parameter a line."""
    width = max(map(len, [*space, *fixed]), default=0)
    lines = []
    for name, entry in space.items():
        condition = ""
        if entry.only_if is not None:
            field, values = entry.only_if
            condition = f"  (if {field} is {' or '.join(map(format_value, values))})"
        lines.append(f"{name:<{width}}  {entry}{condition}")
    lines += [f"{name:<{width}}  {format_value(value)}  (fixed)" for name, value in fixed.items()]
    return "\n".join(lines)


def value_of(config: TrainConfig, name: str) -> Any:
    """Return the value of the field whose flag has this name."""
    return _find_field(config, name)[1]


def _find_field(config: TrainConfig, name: str) -> tuple[Any, Any]:
    fields = flat_fields(config)
    if name not in fields:
        close = difflib.get_close_matches(name, fields, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"parameters: {', '.join(fields)}"
        raise ValueError(f"there is no parameter '{name}'; {hint}")
    return fields[name]


def _parse_value(config: TrainConfig, name: str, words: str, flag: str) -> Any:
    from pydantic import TypeAdapter, ValidationError

    kind, _ = _find_field(config, name)
    words = words.strip()
    try:
        value = CONSTANTS[words] if words in CONSTANTS else strict_json.parse(words)
    except ValueError:
        value = words
    try:
        return TypeAdapter(kind).validate_json(strict_json.to_text(value), strict=True)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ValueError(f"{flag} {name}: {words!r} cannot be its value: {reason}") from None


def _parse_range(config: TrainConfig, before: Entry | None, name: str, words: str) -> Range:
    kind, value = _find_field(config, name)
    if getattr(kind, "__origin__", kind) not in (int, float):  # the origin of Annotated[int, ...]
        raise ValueError(
            f"--range {name}={words}: it is not a number (but for example {format_value(value)}); "
            f"use --choices {name}=VALUE,VALUE"
        )
    parts = re.fullmatch(r"([^:]*):([^:]*)(?::(log|linear))?", words)
    if parts is None:
        raise ValueError(f"--range {name}={words} must be LOW:HIGH, LOW:HIGH:log or :linear")
    low, high = (_parse_value(config, name, part, "--range") for part in parts.groups()[:2])
    log = parts[3] == "log" if parts[3] else isinstance(before, Range) and before.log
    if not low < high:
        raise ValueError(f"--range {name}={words}: {low:g} must be less than {high:g}")
    if log and low <= 0:
        raise ValueError(
            f"--range {name}={words}: {low:g} must be above 0 on a logarithmic scale; "
            f"or write {low:g}:{high:g}:linear"
        )
    return Range(low, high, log, before.only_if if before else None)


def _split_change(change: str, flag: str, form: str) -> tuple[str, str]:
    name, equals, words = change.partition("=")
    name = name.strip().replace("-", "_")
    if not (name and equals and words.strip()):
        raise ValueError(f"{flag} {change} must be {flag} NAME={form}; --space lists the names")
    if name in SHARED:
        raise ValueError(
            f"'{name}' is the same for all trials; use the option of the search itself "
            "(--preset, --minutes, --steps, --device, --threads)"
        )
    if name in COMPARED and flag != "--fix":
        raise ValueError(
            f"bits per sample of runs that differ in '{name}' cannot be compared, so it cannot be "
            f"varied; choose one with --fix {name}=VALUE"
        )
    return name, words
