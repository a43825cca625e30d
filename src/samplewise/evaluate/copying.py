"""Copying: how near clips come to a passage of the training recordings."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float32, Float64
from numpy.lib.stride_tricks import sliding_window_view

from samplewise.audio.descriptors import MEL_FLOOR_DB, MEL_HOP_S

STEP, BANDS = 2, 10
"""Mel frames that are averaged, so that passages are compared every 40 ms, and bands that are left
of the mel bands."""
PASSAGE_S = 1.0
"""Length of the passages that are compared, seconds."""
PASSAGE = round(PASSAGE_S / (STEP * MEL_HOP_S))
QUERY_HOP = PASSAGE // 2
"""Steps between the passages of a clip that are looked for."""
LEAST_DB = 2.0
"""Standard deviation of the pattern of a passage, dB; flatter ones are alike by chance."""
QUIET_DB, MOST_QUIET = MEL_FLOOR_DB + 10, 0.2
"""Loudest band of a moment that is quiet, and share of quiet moments in a passage at most."""


def passages(
    mel_db: Float64[np.ndarray, "frames n_mels"], hop: int = 1
) -> Float32[np.ndarray, "passages features"]:
    """Return the patterns of the passages of a sound as vectors of length 1.

    A pattern is what remains of the mel levels after the mean of each band over the passage and the
    mean of each moment over the bands: neither colour nor loudness, but what changes within both.
    Passages of nearly no pattern, or with pauses, are left out.

    Args:
        mel_db: Levels of mel bands.
        hop: Steps of 40 ms from one passage to the next.
    """
    steps = len(mel_db) // STEP
    levels = mel_db[: steps * STEP].astype(np.float32)
    coarse = levels.reshape(steps, STEP, BANDS, -1).mean(axis=(1, 3))
    is_quiet = coarse.max(axis=1) < QUIET_DB
    coarse -= coarse.mean(axis=1, keepdims=True)
    if steps < PASSAGE:
        return np.zeros((0, PASSAGE * BANDS), np.float32)
    windows = sliding_window_view(coarse, PASSAGE, axis=0)[::hop]
    patterns = (windows - windows.mean(axis=2, keepdims=True)).reshape(len(windows), -1)
    deviations = np.sqrt(np.square(patterns).mean(axis=1, keepdims=True))
    quiet = sliding_window_view(is_quiet, PASSAGE)[::hop].mean(axis=1)
    is_kept = (deviations[:, 0] >= LEAST_DB) & (quiet <= MOST_QUIET)
    return patterns[is_kept] / (deviations[is_kept] * np.float32(math.sqrt(PASSAGE * BANDS)))


def nearest_passages(
    clips: Sequence[Float64[np.ndarray, "_ n_mels"]],
    training: Iterable[Float64[np.ndarray, "_ n_mels"]],
) -> list[float]:
    """Return, for each clip, the highest correlation of a passage with one of the training.

    Correlations are of patterns of mel levels over a second. A copy gives nearly 1; a clip without
    passages gives NaN.

    Args:
        clips: Mel levels of each clip.
        training: Mel levels of the training recordings, some at a time.
    """
    queries = [passages(mel_db, QUERY_HOP) for mel_db in clips]
    stacked = np.concatenate(queries)
    best = np.full(len(stacked), -1.0)
    for mel_db in training:
        found = passages(mel_db)
        if len(found):
            best = np.maximum(best, (stacked @ found.T).max(axis=1))
    ends = np.cumsum([len(query) for query in queries])[:-1]
    return [float(part.max()) if len(part) else math.nan for part in np.split(best, ends)]
