"""Horizontal bars on a logarithmic scale, for speeds."""

from collections.abc import Sequence

from samplewise.plots.canvas import ACCENT, BAR, INK, MUTED, add_axes, new_figure, to_png

WIDTH, ROW, TOP, BOTTOM, LEFT, RIGHT = 1200, 34, 40, 70, 420, 150


def bars_png(rows: Sequence[tuple[str, float, float | None]], label: str, mark: float) -> bytes:
    """Draw one bar for each row.

    Args:
        rows: Name, value above 0, and an optional limit that is shown as a tick.
        label: Label of the axis.
        mark: Value of the vertical line.
    """
    height = TOP + BOTTOM + ROW * len(rows)
    figure = new_figure(WIDTH, height)
    axes = add_axes(figure, LEFT, TOP, WIDTH - RIGHT, height - BOTTOM)
    places = range(len(rows))
    values = [value for _, value, _ in rows]
    axes.barh(places, values, height=0.62, color=BAR)
    for place, (_, value, limit) in zip(places, rows, strict=True):
        axes.text(value * 1.06, place, f"{value:,.0f}", va="center", fontsize=7, color=INK)
        if limit is not None:
            axes.plot([limit, limit], [place - 0.31, place + 0.31], color=MUTED, linewidth=1)
    axes.axvline(mark, color=ACCENT, linewidth=0.8, linestyle="--")
    axes.set_xscale("log")
    axes.set_yticks(places, [name for name, _, _ in rows], color=INK)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    return to_png(figure)
