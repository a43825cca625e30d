"""Formatting of durations, counts and bits, the same on the whole page."""

import math


def bits(value: float | None) -> str:
    """Return bits per sample with three decimals, or a dash."""
    return "–" if value is None else f"{value:.3f}"


def signed(value: float) -> str:
    """Return a difference in bits per sample with its sign."""
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def count(value: float | int) -> str:
    """Return a whole number with thin spaces between thousands."""
    return f"{round(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def plural(value: int, one: str, many: str = "") -> str:
    """Return a number and its noun."""
    return f"{count(value)} {one if value == 1 else many or one + 's'}"


def minutes(value: float) -> str:
    """Format a duration given in minutes."""
    if value >= 120:
        return f"{value / 60:.1f} hours"
    return f"{value:.1f} minutes" if value >= 1 else f"{value * 60:.0f} seconds"


def seconds(value: float) -> str:
    """Format a duration given in seconds."""
    return (
        f"{value:.1f} s" if value < 60 else f"{int(value // 60)}:{math.floor(value % 60):02d} min"
    )


def big(value: float) -> str:
    """Return a large number in words: 312 thousand, 1.24 million."""
    if value >= 999_500:
        return f"{value / 1e6:.3g} million"
    return f"{value / 1e3:.3g} thousand" if value >= 10_000 else count(value)


def kilohertz(rate: float) -> str:
    """Format a sample rate in Hz as kHz."""
    return f"{rate / 1000:g} kHz"


def baseline(key: str) -> str:
    """Return the name of a baseline."""
    return key.replace("_", " ")
