"""Plots of sound: spectrograms, and waveforms at two scales."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from samplewise.plots.canvas import (
    ACCENT,
    INK,
    SPECTROGRAM_LEFT,
    SPECTROGRAM_RIGHT,
    SPECTROGRAM_WIDTH,
    add_axes,
    ink_map,
    new_figure,
    seconds_axis,
    set_title,
    to_png,
)
from samplewise.plots.spectrum import FLOOR_DB, TOP_DB, spectrogram_db

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOWEST_HZ = 50.0
Wave = Float[np.ndarray, " _"]  # waves of one picture need not be equally long


def spectrogram_png(
    waves: Sequence[tuple[str, Wave]],
    sample_rate: int,
    panel_height: int = 300,
    width: int = SPECTROGRAM_WIDTH,
) -> bytes:
    """Draw one log-frequency spectrogram per wave, one above the other on a common time axis.

    Args:
        waves: Titles (may be empty) and amplitudes, full scale ±1.
        sample_rate: Hz.
        panel_height: Pixels of each panel, its title excluded.
        width: Pixels; the time axis lies between ``SPECTROGRAM_LEFT`` from the left and
            ``SPECTROGRAM_RIGHT`` from the right.

    Returns:
        PNG. Ink runs from ``FLOOR_DB`` to ``TOP_DB``.

    Raises:
        ValueError: If there is no wave, or a sample is not finite.
    """
    tops, height = _stack(waves, panel_height)
    figure = new_figure(width, height)
    right = width - SPECTROGRAM_RIGHT
    longest_s = max(1, *(len(wave) for _, wave in waves)) / sample_rate
    for (title, wave), top in zip(waves, tops, strict=True):
        axes = add_axes(figure, SPECTROGRAM_LEFT, top, right, top + panel_height - 48)
        _draw_spectrogram(axes, wave, sample_rate)
        axes.set_xlim(0, longest_s)
        seconds_axis(axes)
        set_title(axes, title)
    return to_png(figure)


def waveform_png(
    waves: Sequence[tuple[str, Wave]], sample_rate: int, panel_height: int = 190
) -> bytes:
    """Draw 2 s and 100 ms of each wave side by side (Mehri et al. 2017, Figure 2).

    Both excerpts are those with the most energy; the 100 ms are marked in the 2 s.

    Args:
        waves: Titles (may be empty) and amplitudes, full scale ±1.
        sample_rate: Hz.
        panel_height: Pixels of each row, its title excluded.

    Returns:
        PNG, ``SPECTROGRAM_WIDTH`` pixels wide.

    Raises:
        ValueError: If there is no wave.
    """
    tops, height = _stack(waves, panel_height)
    figure = new_figure(SPECTROGRAM_WIDTH, height)
    for (title, wave), top in zip(waves, tops, strict=True):
        start, stop = loudest(wave, 2 * sample_rate)
        zoom = loudest(wave[start:stop], sample_rate // 10)
        zoom = start + zoom[0], start + zoom[1]
        bottom = top + panel_height - 48
        whole = add_axes(figure, SPECTROGRAM_LEFT, top, 640, bottom)
        whole.axvspan(zoom[0] / sample_rate, zoom[1] / sample_rate, color=ACCENT, alpha=0.2, lw=0)
        _draw_trace(whole, wave, (start, stop), sample_rate)
        whole.set_yticks([-1, 0, 1], ["−1", "0", "1"])
        seconds_axis(whole)
        set_title(whole, title)
        part = add_axes(figure, 680, top, SPECTROGRAM_WIDTH - SPECTROGRAM_RIGHT, bottom)
        _draw_trace(part, wave, zoom, sample_rate)
        part.set_yticks([])
        seconds_axis(part, "{:.2f} s")
    return to_png(figure)


def loudest(wave: Wave, length: int) -> tuple[int, int]:
    """Return start and stop of the ``length`` samples with the most energy."""
    if len(wave) <= length:
        return 0, len(wave)
    energy = np.concatenate([[0.0], np.cumsum(wave.astype(np.float64) ** 2)])
    start = int(np.argmax(energy[length:] - energy[:-length]))
    return start, start + length


def _stack(waves: Sequence[tuple[str, Wave]], panel_height: int) -> tuple[list[int], int]:
    """Return the top of each panel's axes and the total height, in pixels."""
    if not waves:
        raise ValueError("there is no wave to draw; give at least one")
    tops, bottom = [], 0
    for title, _ in waves:
        tops.append(bottom + (40 if title else 12))
        bottom = tops[-1] + panel_height
    return tops, bottom - 12


def _draw_spectrogram(axes: "Axes", wave: Wave, sample_rate: int) -> None:
    times, frequencies, level = spectrogram_db(wave, sample_rate)
    rows = np.geomspace(min(LOWEST_HZ, frequencies[-1] / 4), frequencies[-1], 256)
    image = np.stack([np.interp(rows, frequencies, column) for column in level], axis=1)
    half = (times[1] - times[0]) / 2 if len(times) > 1 else 0.5 / sample_rate
    axes.imshow(
        np.clip(image, FLOOR_DB, TOP_DB),
        extent=(times[0] - half, times[-1] + half, np.log(rows[0]), np.log(rows[-1])),
        origin="lower",
        aspect="auto",
        interpolation="bilinear",
        cmap=ink_map(),
        vmin=FLOOR_DB,
        vmax=TOP_DB,
    )
    ticks = [hz for hz in (100, 250, 500, 1000, 2000, 4000, 8000, 16000) if hz <= rows[-1]]
    names = [f"{hz // 1000} kHz" if hz >= 1000 else f"{hz} Hz" for hz in ticks]
    axes.set_yticks(np.log(ticks), names)


def _draw_trace(axes: "Axes", wave: Wave, span: tuple[int, int], sample_rate: int) -> None:
    places = np.arange(*span) / sample_rate
    axes.plot(places, wave[slice(*span)], color=INK, lw=0.5)
    axes.set_xlim(span[0] / sample_rate, max(span[1], span[0] + 1) / sample_rate)
    axes.set_ylim(-1.05, 1.05)
