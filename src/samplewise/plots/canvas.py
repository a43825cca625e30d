"""Common parts of all pictures: figures in pixels, plain axes, colours, PNG bytes."""

import functools
import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

INK, MUTED, BAR, RULE, ACCENT = "#1f1f1e", "#6b6b66", "#a3a39c", "#c9c9c2", "#b0451c"
DPI = 160
SPECTROGRAM_WIDTH = 1000
SPECTROGRAM_LEFT, SPECTROGRAM_RIGHT = 92, 24
"""Pixels to the left and to the right of the time axis of a spectrogram."""


def new_figure(width: int, height: int) -> "Figure":
    """Return an empty white figure of this size in pixels, drawn by Agg."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def add_axes(figure: "Figure", left: int, top: int, right: int, bottom: int) -> "Axes":
    """Return axes between these pixels, counted from the top left, with two light spines."""
    width, height = figure.get_size_inches() * DPI
    place = (left / width, 1 - bottom / height, (right - left) / width, (bottom - top) / height)
    axes = figure.add_axes(place, facecolor="none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)
    axes.tick_params(colors=MUTED, labelsize=7, length=3, width=0.6, color=RULE)
    axes.xaxis.label.set(color=MUTED, size=7.5)
    axes.yaxis.label.set(color=MUTED, size=7.5)
    return axes


def seconds_axis(axes: "Axes", pattern: str = "{:g} s") -> None:
    """Label the horizontal axis in seconds."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(
        MaxNLocator(6 if axes.bbox.width > 500 else 4, steps=[1, 2, 5, 10])
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: pattern.format(round(float(x), 6))))


def set_title(axes: "Axes", title: str) -> None:
    """Set a title above the left corner, if it is not empty; it may come from a file."""
    if title:
        axes.set_title(drawable(title), loc="left", fontsize=8, color=INK, pad=4, parse_math=False)


def drawable(text: str, limit: int = 80) -> str:
    """Return ``text`` on one line, shortened, with a box for each character that the font lacks."""
    known = _signs()
    text = " ".join(text.split())
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(sign if ord(sign) in known else "\N{WHITE SQUARE}" for sign in text)


def to_png(figure: "Figure", colours: int = 64) -> bytes:
    """Draw the figure and return a PNG with a palette, a third of the size without one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image  # matplotlib requires it

    canvas: Any = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    file = io.BytesIO()
    image.quantize(colours, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()


@functools.cache
def ink_map() -> "Colormap":
    """Return the colour map of spectrograms: white to near black, lightness falling evenly."""
    from matplotlib.colors import LinearSegmentedColormap

    stops = ["#ffffff", "#dfe6ea", "#a9bcc8", "#6a8aa0", "#3c5a75", "#1f3148", "#0c1220"]
    return LinearSegmentedColormap.from_list("ink", stops)


@functools.cache
def _signs() -> frozenset[int]:
    from matplotlib import font_manager, ft2font

    return frozenset(ft2font.FT2Font(font_manager.findfont("DejaVu Sans")).get_charmap())
