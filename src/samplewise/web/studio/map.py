"""A map of takes: sounds with like spectra are near each other.

A sound is described by the mean level and the spread of 40 mel bands. The map is the plane of the
first two principal components.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64

from samplewise.audio.resample import Resampler

MAP_RATE = 16_000
"""Sample rate at which sounds are described, Hz."""
LEAST_SAMPLES = 2048
"""Samples at that rate below which a sound has no place."""


def describe_spectrum(wave: Float32[np.ndarray, " samples"], sample_rate: int) -> tuple[float, ...]:
    """Return means and standard deviations of the mel levels, dB; empty for a very short sound."""
    from samplewise.audio.descriptors import mel_levels_db

    if sample_rate != MAP_RATE:
        wave = Resampler(sample_rate, MAP_RATE).push(wave, last=True)
    if len(wave) < LEAST_SAMPLES:
        return ()
    levels = mel_levels_db(wave, MAP_RATE)
    return tuple(np.concatenate([levels.mean(0), levels.std(0)]).round(2).tolist())


def places(spectra: Sequence[Sequence[float]]) -> Float64[np.ndarray, "takes 2"]:
    """Return a place for each description, in [0, 1] twice; the wider component comes first."""
    points = np.full((len(spectra), 2), 0.5)
    if len(spectra) < 2:
        return points
    centred = np.array(spectra, np.float64)
    centred -= centred.mean(0)
    u, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    for number in range(min(2, len(sizes))):
        if sizes[number] <= 1e-9 * (1 + sizes[0]):
            continue
        # The sign of a component is arbitrary; a fixed one keeps the map from flipping over.
        column = u[:, number] * np.sign(axes[number][np.abs(axes[number]).argmax()])
        points[:, number] = (column - column.min()) / np.ptp(column)
    return points
