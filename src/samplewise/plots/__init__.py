"""Spectrograms, waveforms and curves as PNG bytes: ink on white, drawn by matplotlib's Agg.

A page with a dark colour scheme inverts the pictures; the colours stay legible then.
matplotlib is imported when the first picture is drawn.
"""

from samplewise.plots.bars import bars_png
from samplewise.plots.canvas import SPECTROGRAM_LEFT, SPECTROGRAM_RIGHT, SPECTROGRAM_WIDTH
from samplewise.plots.curves import Curve, curves_png, is_smoothed, scores_png
from samplewise.plots.sound import spectrogram_png, waveform_png
from samplewise.plots.spectrum import FLOOR_DB, TOP_DB, spectrogram_db

__all__ = [
    "FLOOR_DB",
    "SPECTROGRAM_LEFT",
    "SPECTROGRAM_RIGHT",
    "SPECTROGRAM_WIDTH",
    "TOP_DB",
    "Curve",
    "bars_png",
    "curves_png",
    "is_smoothed",
    "scores_png",
    "spectrogram_db",
    "spectrogram_png",
    "waveform_png",
]
