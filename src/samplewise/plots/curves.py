"""Plots of bits per sample over training, and of scores against baselines."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from samplewise.plots.canvas import (
    ACCENT,
    BAR,
    INK,
    MUTED,
    add_axes,
    drawable,
    new_figure,
    to_png,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES_SIZE = 1600, 760
SMOOTHED = 60
"""Points from which a curve is smoothed."""


def _none() -> Float[np.ndarray, " points"]:
    return np.zeros(0)


@dataclass(frozen=True)
class Curve:
    """A quantity over training; the three arrays are equally long."""

    step: Float[np.ndarray, " points"] = field(default_factory=_none)
    """Optimiser steps."""
    hours: Float[np.ndarray, " points"] = field(default_factory=_none)
    """Hours of training."""
    value: Float[np.ndarray, " points"] = field(default_factory=_none)
    """Bits per sample, or the learning rate; NaN leaves a gap."""


def curves_png(
    train: Curve,
    valid: Curve,
    learning_rate: Curve | None = None,
    baselines: Mapping[str, float] | None = None,
) -> bytes:
    """Draw bits per sample against steps and against time, with the learning rate below.

    Args:
        train: Bits per sample on the training stream.
        valid: Bits per sample on the validation recordings; may be empty.
        learning_rate: Learning rate; may be empty.
        baselines: Bits per sample of each baseline, drawn as horizontal lines.

    Returns:
        PNG of ``CURVES_SIZE`` pixels.
    """
    figure = new_figure(*CURVES_SIZE)
    low, high = bits_range(train.value, valid.value, baselines or {})
    shown = {name: bits for name, bits in (baselines or {}).items() if low <= bits <= high}
    hours = max([0.0, *train.hours[-1:], *valid.hours[-1:]])
    scale, unit = (1.0, "hours") if hours >= 2 else (60.0, "minutes")
    for left, by_step in ((84, True), (760, False)):

        def places(curve: Curve, by_step: bool = by_step) -> Float[np.ndarray, " points"]:
            return curve.step if by_step else curve.hours * scale

        axes = add_axes(figure, left, 20, left + 620, 570)
        axes.plot(places(train), train.value, color=MUTED, lw=0.6, alpha=0.35)
        axes.plot(places(train), smooth(train.value), color=MUTED, lw=1.3, label="training")
        axes.plot(places(valid), valid.value, ".-", color=ACCENT, lw=1.4, ms=5, label="validation")
        for bits in shown.values():
            axes.axhline(bits, color=INK, lw=0.7, ls=(0, (4, 3)))
        axes.set_ylim(low, high)
        axes.tick_params(labelbottom=False)
        below = add_axes(figure, left, 606, left + 620, 684)
        if learning_rate is not None:
            below.plot(places(learning_rate), learning_rate.value, color=INK, lw=0.9)
        below.set_xlim(*axes.get_xlim())
        below.set_ylim(bottom=0)
        below.margins(y=0.15)
        below.locator_params(axis="y", nbins=2)
        below.yaxis.set_major_formatter("{x:g}")
        below.set_title("learning rate", loc="right", fontsize=7, color=MUTED, pad=-2)
        below.set_xlabel("steps" if by_step else unit)
        if by_step:
            axes.set_ylabel("bits per sample")
            axes.legend(frameon=False, loc="upper right", fontsize=7.5, labelcolor=INK)
        else:
            _name_lines(axes, shown, (high - low) * 0.035)
            axes.tick_params(labelleft=False)
            below.tick_params(labelleft=False)
    return to_png(figure)


def scores_png(
    model_bits: float, baselines: Mapping[str, float], model_name: str = "this model"
) -> bytes:
    """Draw the model's bits per sample against the baselines' as horizontal bars.

    Args:
        model_bits: Bits per sample of the model.
        baselines: Bits per sample by name; drawn worst first, the model last.
        model_name: Label of the model's bar.

    Returns:
        PNG, 1000 pixels wide, 52 high per bar.
    """
    rows = [(n.replace("_", " "), b, BAR) for n, b in sorted(baselines.items(), key=_worst_first)]
    rows.append((model_name, model_bits, ACCENT))
    figure = new_figure(1000, 52 * len(rows))
    axes = add_axes(figure, 240, 0, 880, 52 * len(rows))
    places = np.arange(len(rows))[::-1]
    axes.barh(places, [b for _, b, _ in rows], color=[c for _, _, c in rows], height=0.46)
    for place, (_, bits, colour) in zip(places, rows, strict=True):
        weight = "bold" if colour == ACCENT else "normal"
        score = f" {bits:.3f}"
        axes.text(max(bits, 0.0), place, score, va="center", fontsize=9, fontweight=weight)
    axes.set_yticks(places, [drawable(name, 22) for name, _, _ in rows], fontsize=9, color=INK)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.set_ylim(-0.5, len(rows) - 0.5)
    axes.set_xlim(0, max(1e-9, *(bits for _, bits, _ in rows)))
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(left=False)
    return to_png(figure)


def bits_range(
    train: Float[np.ndarray, " points"],
    valid: Float[np.ndarray, " points_"],
    baselines: Mapping[str, float],
) -> tuple[float, float]:
    """Return the range of the axis: values near the end of training, without early spikes."""
    train, valid = train[np.isfinite(train)], valid[np.isfinite(valid)]
    lows = [*valid, *baselines.values(), *(np.quantile(train, [0.02]) if len(train) else [])]
    highs = [*valid, *sorted(baselines.values())[:-1]]
    highs += [*np.quantile(train, [0.97])] if len(train) else []
    low, high = min(lows, default=0.0), max(highs, default=max(lows, default=8.0))
    margin = 0.08 * (high - low) or 0.5
    return max(0.0, low - margin), high + margin


def is_smoothed(values: Float[np.ndarray, " points"]) -> bool:
    """Return whether :func:`smooth` changes a curve of so many points."""
    return len(values) >= SMOOTHED


def smooth(values: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
    """Return the moving mean over about 3% of the points; gaps stay gaps."""
    half = len(values) // SMOOTHED
    known = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    places = np.arange(len(values))
    low, high = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    means = (sums[high] - sums[low]) / np.maximum(counts[high] - counts[low], 1)
    return np.where(known, means, np.nan)


def move_apart(places: list[float], gap: float) -> list[float]:
    """Return ``places``, moved up so that neighbours are at least ``gap`` apart, in their order."""
    moved = list(places)
    order = sorted(range(len(places)), key=places.__getitem__)
    for below, above in itertools.pairwise(order):
        moved[above] = max(moved[above], moved[below] + gap)
    return moved


def _name_lines(axes: "Axes", lines: Mapping[str, float], gap: float) -> None:
    for (name, bits), place in zip(lines.items(), move_apart([*lines.values()], gap), strict=True):
        text = drawable(f"{name.replace('_', ' ')} {bits:.2f}", 24)
        at = axes.get_yaxis_transform()
        label = axes.text(1.01, place, text, transform=at, fontsize=7, color=INK, va="center")
        label.set_parse_math(False)


def _worst_first(item: tuple[str, float]) -> float:
    return -item[1]
