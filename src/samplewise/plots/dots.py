"""Dot plots of several systems on several corpora: one line for each system."""

from collections.abc import Mapping, Sequence

from samplewise.plots.canvas import ACCENT, BAR, INK, MUTED, add_axes, new_figure, to_png

PANEL, ROW, TOP, BOTTOM, LEFT, RIGHT = 225, 52, 56, 64, 260, 20
FEWEST = 4
"""Number of panels that the width of a picture is made for at least."""


def dots_png(
    rows: Sequence[str],
    columns: Mapping[str, Mapping[str, float]],
    label: str,
    limits: tuple[float, float] | None = None,
) -> bytes:
    """Draw each column in its own panel, because figures of different data share no scale.

    Args:
        rows: Systems, from top to bottom.
        columns: Title of a panel, and the figure of each system that has one.
        label: Unit of the figures.
        limits: Range of every axis; None for the range of each panel.
    """
    height = TOP + BOTTOM + ROW * len(rows)
    width = LEFT + RIGHT + PANEL * max(FEWEST, len(columns))
    figure = new_figure(width, height)
    step = (width - LEFT - RIGHT) // len(columns)
    for index, (title, values) in enumerate(columns.items()):
        left = LEFT + index * step
        axes = add_axes(figure, left, TOP, left + step - 28, height - BOTTOM)
        places = [place for place, row in enumerate(rows) if row in values]
        figures = [values[rows[place]] for place in places]
        is_ours = title.endswith("(ours)")
        axes.plot(figures, places, "o", color=ACCENT if is_ours else INK, markersize=5)
        span = max(figures) - min(figures) or 1.0
        for place, value in zip(places, figures, strict=True):
            axes.text(value, place - 0.22, f"{value:.3f}", ha="center", fontsize=6.5, color=INK)
        low, high = min(figures) - 0.3 * span, max(figures) + 0.3 * span
        low, high = limits or (low, high)
        axes.hlines(places, low, figures, color=BAR, linewidth=1.5)
        axes.set_xlim(low, high)
        axes.set_ylim(len(rows) - 0.5, -0.6)
        axes.set_yticks(range(len(rows)), rows if index == 0 else [""] * len(rows), color=INK)
        axes.set_title(
            title,
            fontsize=8,
            color=ACCENT if is_ours else MUTED,
            loc="left",
        )
        axes.tick_params(axis="x", labelsize=6.5)
    figure.text(0.01, 0.02, label, fontsize=7.5, color=MUTED)
    return to_png(figure)
