"""Progress with time left: a bar on a terminal, a plain line every ten seconds elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

PLAIN_INTERVAL_S = 10.0


class Update(Protocol):
    """What a progress bar is driven by."""

    def __call__(self, done: int, total: int | None = None) -> None:
        """Say that ``done`` units are done; ``total`` may be corrected on the way."""
        ...


@contextmanager
def progress_bar(description: str, total: int | None) -> Iterator[Update]:
    """Show progress on stderr until the block is left.

    Args:
        description: What is being done; name the unit here if it is not obvious.
        total: How many units there are, or None if unknown.

    Yields:
        ``update(done, total=None)``: absolute values, not increments.
    """
    if sys.stderr.isatty():
        with _rich_bar(description, total) as update:
            yield update
    else:
        yield _PlainLines(description, total)


@contextmanager
def _rich_bar(description: str, total: int | None) -> Iterator[Update]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(escape(description), total=total)

        def update(done: int, total: int | None = None) -> None:
            bar.update(task, completed=done, total=total)

        yield update


class _PlainLines:
    """One line to stderr every few seconds: done, rate, time left."""

    def __init__(self, description: str, total: int | None) -> None:
        self._description, self._total = description, total
        self._start = self._last_line = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, total: int | None = None) -> None:
        if total is not None:
            self._total = total
        if self._first is None:
            self._first = done
        now = time.monotonic()
        if now - self._last_line < PLAIN_INTERVAL_S:
            return
        self._last_line = now
        print(self._line(done, now - self._start), file=sys.stderr, flush=True)

    def _line(self, done: int, elapsed_s: float) -> str:
        rate = (done - (self._first or 0)) / max(elapsed_s, 1e-9)
        parts = [f"{self._description}: {done}"]
        if self._total is not None:
            parts[0] += f"/{self._total}"
        parts.append(f"{rate:.3g}/s")
        if self._total is not None and rate > 0:
            parts.append(f"{clock((self._total - done) / rate)} left")
        return "  ".join(parts)


def clock(seconds: float) -> str:
    """Return a duration in words that fit a line: ``8 s``, ``5:02 min``, ``2:10 h``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
