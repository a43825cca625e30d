"""Temperature, fixed or as an envelope over time."""

import math
import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from samplewise.config.validation import MAX_TEMPERATURE


@dataclass(frozen=True)
class Envelope:
    """A value over time: straight lines between points, held before the first and after the last.

    ``Envelope((0.0,), (0.95,))`` is a fixed temperature.
    """

    seconds: tuple[float, ...]
    """Time of each point, ascending, at least 0; 0 is the first sample that is drawn."""
    values: tuple[float, ...]
    """Temperature at each point, in (0, 10]."""

    def __post_init__(self) -> None:
        """Check the points."""
        if not self.seconds or len(self.seconds) != len(self.values):
            raise ValueError(
                f"an envelope of {len(self.seconds)} times and {len(self.values)} values "
                "must have as many of each, and at least one"
            )
        for second, value in zip(self.seconds, self.values, strict=True):
            _check_point(second, value, f"{second:g}:{value:g}")
        for before, after in zip(self.seconds, self.seconds[1:], strict=False):
            if not before < after:
                raise ValueError(
                    f"temperature: {after:g} s comes after {before:g} s; put times in order"
                )

    def __str__(self) -> str:
        """Return what :func:`parse_envelope` reads."""
        if len(self.values) == 1:
            return repr(self.values[0])
        points = zip(self.seconds, self.values, strict=True)
        return ",".join(f"{second!r}:{value!r}" for second, value in points)

    def at(
        self, start_sample: int, count: int, sample_rate: int
    ) -> Float64[np.ndarray, " {count}"]:
        """Return the value at samples ``start_sample`` to ``start_sample + count``.

        Args:
            start_sample: Samples drawn before.
            count: How many values.
            sample_rate: Hertz.
        """
        times = np.arange(start_sample, start_sample + count, dtype=np.float64) / sample_rate
        return np.interp(times, self.seconds, self.values)


def to_envelope(temperature: float | str | Envelope) -> Envelope:
    """Return a temperature as an envelope: a number, or the text of :func:`parse_envelope`."""
    if isinstance(temperature, Envelope):
        return temperature
    if isinstance(temperature, str):
        return parse_envelope(temperature)
    return Envelope((0.0,), (float(temperature),))


def parse_envelope(text: str) -> Envelope:
    """Read ``0.95``, or points ``SECONDS:TEMPERATURE`` as in ``0:0.8,5:1.1,10:0.9``.

    Raises:
        ValueError: Names the piece that is wrong.
    """
    pieces = [piece.strip() for piece in text.split(",")]
    if len(pieces) == 1 and ":" not in text:
        value = _number(pieces[0], pieces[0])
        _check_point(0.0, value, pieces[0])
        return Envelope((0.0,), (value,))
    points = []
    for piece in pieces:
        before, colon, after = piece.partition(":")
        if not colon:
            raise ValueError(
                f"temperature: {piece!r} is not SECONDS:TEMPERATURE as in 0:0.8,5:1.1,10:0.9"
            )
        point = _number(before, piece), _number(after, piece)
        _check_point(*point, piece)
        points.append(point)
    return Envelope(*(tuple(column) for column in zip(*points, strict=True)))


def _number(text: str, piece: str) -> float:
    if not re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", text, re.ASCII):
        raise ValueError(f"temperature: {text.strip()!r} in {piece!r} is not a number")
    return float(text)


def _check_point(second: float, value: float, piece: str) -> None:
    if not (math.isfinite(second) and second >= 0):
        raise ValueError(f"temperature: the time in {piece!r} must be at least 0 seconds")
    if not 0 < value <= MAX_TEMPERATURE:
        raise ValueError(
            f"temperature: {value:g} in {piece!r} must be above 0 and at most {MAX_TEMPERATURE:g}"
        )


CONSTANT = Envelope((0.0,), (1.0,))
"""The model's own distribution."""
