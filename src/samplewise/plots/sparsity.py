"""Plots of likelihood against sparsity: the paper's curves and ours, each on its own scale."""

from collections.abc import Mapping

from samplewise.plots.canvas import ACCENT, INK, MUTED, add_axes, new_figure, to_png

SIZE = 1360, 560
STYLES = ("o-", "s--", "^:", "d-.")

Curve = Mapping[float, float]
"""Share of zeros -> figure."""


def sparsity_png(panels: Mapping[str, Mapping[str, Curve]], label: str) -> bytes:
    """Draw one panel for each set of curves; the first, the reference, is in a light colour.

    Args:
        panels: Title of each panel -> its curves by name; at least one panel.
        label: Unit of the figures.
    """
    figure = new_figure(*SIZE)
    width = (SIZE[0] - 100) // len(panels)
    for index, (title, curves) in enumerate(panels.items()):
        left = 90 + index * width
        axes = add_axes(figure, left, 50, left + width - 90, SIZE[1] - 70)
        for style, (name, curve) in zip(STYLES, curves.items(), strict=False):
            places = sorted(curve)
            colour = ACCENT if index else MUTED
            values = [curve[place] for place in places]
            axes.plot(places, values, style, color=colour, lw=1.2, ms=4, label=name)
        axes.set_title(title, fontsize=8, color=ACCENT if index else MUTED, loc="left")
        axes.set_xlabel("share of the blocks that is zero, at one number of weights")
        axes.set_xlim(-0.04, 1.0)
        if index == 0:
            axes.set_ylabel(label)
        axes.legend(frameon=False, fontsize=7, labelcolor=INK)
    return to_png(figure)
