"""Loops: sounds whose end joins their beginning."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64

CROSSFADE_S = 0.1
"""Length of the crossfade, in which beginning and end are compared too, seconds."""
SEARCHED = 1 / 8
"""Share of the sound at its beginning and at its end in which the join is looked for."""
STARTS = 128
"""Number of beginnings that are tried."""
LEAST_CROSSFADE = 8
"""Samples of the shortest crossfade."""


@dataclass(frozen=True)
class Loop:
    """A sound that can be repeated without a click."""

    wave: Float32[np.ndarray, " samples"]
    """Amplitude, full scale ±1."""
    start: int
    """Where it begins in the sound that it was cut from, in samples."""
    similarity: float
    """2 <a, b> / (|a|^2 + |b|^2) of its beginning and what would follow its end; 1: the same."""


def close_loop(wave: Float[np.ndarray, " samples"], sample_rate: int) -> Loop:
    """Cut a loop out of a sound, at most a quarter shorter, where its ends are most alike.

    What would follow the end is faded out over the beginning, so that the last sample of the loop
    and its first one are neighbours in the sound. The gains keep the power constant for the
    correlation that was found.

    Args:
        wave: Amplitude, full scale ±1.
        sample_rate: Hz.

    Raises:
        ValueError: If the sound is shorter than 64 samples.
    """
    x = wave.astype(np.float64)
    fade = min(round(CROSSFADE_S * sample_rate), round(SEARCHED * len(x)))
    if fade < LEAST_CROSSFADE:
        raise ValueError(
            f"a loop needs {round(LEAST_CROSSFADE / SEARCHED)} samples, but the sound has {len(x)}"
        )
    searched = round(SEARCHED * len(x))
    first_end = len(x) - fade - searched
    ends = x[first_end:]
    places = np.unique(np.linspace(0, searched, STARTS).astype(int))
    pieces = np.stack([x[place : place + fade] for place in places])
    scores = _similarities(pieces, ends)
    row, column = np.unravel_index(int(scores.argmax()), scores.shape)
    start, end = int(places[row]), first_end + int(column)
    beginning, following = x[start : start + fade], x[end : end + fade]
    loop = x[start:end].copy()
    loop[:fade] = crossfade(following, beginning)
    return Loop(loop.astype(np.float32), start, float(scores[row, column]))


def crossfade(
    out: Float64[np.ndarray, " samples"], into: Float64[np.ndarray, " samples"]
) -> Float64[np.ndarray, " samples"]:
    """Return a sound that turns into another of like power, at constant power.

    With straight gains a and b the power of the sum is a^2 + b^2 + 2 a b r for a correlation r;
    both are divided by its root.
    """
    energy = math.sqrt(float(out @ out) * float(into @ into))
    r = max(0.0, float(out @ into) / energy) if energy else 0.0
    b = np.arange(len(out)) / len(out)
    a = 1 - b
    mixed = (a * out + b * into) / np.sqrt(a * a + b * b + 2 * a * b * r)
    return mixed.clip(-1, 1)


def _similarities(
    pieces: Float64[np.ndarray, "pieces fade"], sound: Float64[np.ndarray, " samples"]
) -> Float64[np.ndarray, "pieces places"]:
    """Return 2 <a, b> / (|a|^2 + |b|^2) of pieces and each stretch of a sound, level included."""
    fade = pieces.shape[1]
    places = len(sound) - fade + 1
    size = 2 ** math.ceil(math.log2(len(sound)))
    spectrum = np.fft.rfft(sound, size)
    sums = np.concatenate([[0.0], np.cumsum(sound * sound)])
    squares = (sums[fade:] - sums[:places]).clip(min=0)
    rows = []
    for piece in pieces:
        products = np.fft.irfft(spectrum * np.fft.rfft(piece, size).conj(), size)[:places]
        energy = squares + float(piece @ piece)
        rows.append(np.divide(2 * products, energy, out=np.ones(places), where=energy > 0))
    return np.stack(rows)
