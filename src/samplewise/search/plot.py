"""A picture of what mattered: bits per sample against each parameter, the most important first."""

import math
from typing import TYPE_CHECKING, Any

from samplewise.plots.canvas import (
    ACCENT,
    INK,
    MUTED,
    add_axes,
    drawable,
    new_figure,
    set_title,
    to_png,
)
from samplewise.search.space import Choices, Range, Space, text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, COLUMNS = 1600, 3
CELL_WIDTH, CELL_HEIGHT, LEFT, TOP = 510, 340, 80, 70


def search_png(summary: dict[str, Any], space: Space) -> bytes | None:
    """Draw one scatter for each parameter; None if no trial has a score yet.

    Args:
        summary: What search.json holds.
        space: What was varied.
    """
    scored = [t for t in summary["trials"] if t["state"] in ("complete", "pruned")]
    scored = [trial for trial in scored if trial["bits"] is not None]
    shares = summary["importance"]
    names = [*shares, *(name for name in space if name not in shares)]
    names = [name for name in names if any(name in trial["params"] for trial in scored)]
    if not names:
        return None
    rows = math.ceil(len(names) / COLUMNS)
    figure = new_figure(WIDTH, TOP + rows * CELL_HEIGHT)
    low, high = _view([trial["bits"] for trial in scored if trial["state"] == "complete"] or [8.0])
    for index, name in enumerate(names):
        left = LEFT + index % COLUMNS * CELL_WIDTH
        top = TOP + index // COLUMNS * CELL_HEIGHT
        axes = add_axes(figure, left, top, left + CELL_WIDTH - 80, top + CELL_HEIGHT - 100)
        for trial in sorted(scored, key=lambda trial: trial["number"] == summary["best"]):
            if name in trial["params"]:
                place = _place(space[name], trial["params"][name])
                _draw(axes, place, min(trial["bits"], high), trial, summary["best"])
        axes.set_ylim(low - 0.04 * (high - low), high + 0.04 * (high - low))
        _label(axes, space[name])
        share = f"  {shares[name]:.0%}" if name in shares else ""
        set_title(axes, f"{name}{share}")
        if index % COLUMNS == 0:
            axes.set_ylabel("bits per sample")
    figure.text(
        LEFT / WIDTH,
        1 - 20 / (TOP + rows * CELL_HEIGHT),
        f"{len(scored)} trials; filled: complete, hollow: given up, red: the best; "
        "per cent: share of what mattered (PED-ANOVA)",
        fontsize=7.5,
        color=INK,
        va="center",
    )
    return to_png(figure)


def _draw(axes: "Axes", place: float, bits: float, trial: dict[str, Any], best: int | None) -> None:
    is_best, is_pruned = trial["number"] == best, trial["state"] == "pruned"
    axes.plot(
        [place],
        [bits],
        "o",
        ms=5.5 if is_best else 4,
        color=ACCENT if is_best else MUTED,
        mfc="none" if is_pruned else None,
        mew=0.7,
        alpha=1.0 if is_best else 0.75,
    )


def _view(bits: list[float]) -> tuple[float, float]:
    """Return a range that the worst trials do not stretch; they lie on its upper edge."""
    ordered = sorted(bits)
    low, middle = ordered[0], ordered[len(ordered) // 2]
    high = min(ordered[-1], middle + 3 * (middle - low))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _place(entry: Choices | Range, value: Any) -> float:
    if isinstance(entry, Range):
        return float(value)
    return float([text(choice) for choice in entry.values].index(text(value)))


def _label(axes: "Axes", entry: Choices | Range) -> None:
    if isinstance(entry, Range):
        from matplotlib.ticker import LogLocator, NullLocator

        if entry.log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
            axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter("{x:g}")
        margin = (entry.high / entry.low) ** 0.04 if entry.log else 0.04 * (entry.high - entry.low)
        if entry.log:
            axes.set_xlim(entry.low / margin, entry.high * margin)
        else:
            axes.set_xlim(entry.low - margin, entry.high + margin)
        return
    names = [drawable(text(value).strip("[]"), 16) for value in entry.values]
    tilt = 30 if len(names) > 4 else 0
    axes.set_xticks(range(len(names)), names, rotation=tilt, ha="right" if tilt else "center")
    axes.set_xlim(-0.5, len(names) - 0.5)
