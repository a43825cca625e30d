"""Tiles: the recordings of a split, end to end, cut to one length."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np
from jaxtyping import Float32

from samplewise.audio.level import LevelRange, level_range, paper_min_max
from samplewise.audio.noise import NoiseRange, frame_length, measure_noise, noise_range
from samplewise.config.models import Level
from samplewise.data.corpus import Corpus, Recording
from samplewise.data.excerpts import evenly_spaced

NOISE_S, NOISE_TILES, LEAST_NOISE_TILES = 4.0, 100, 8
"""Longest duration of the tiles whose noise is measured, and their number at most and at least."""

LEVEL_S, LEVEL_TILES = 1.0, 1000
"""Duration of the tiles whose level is measured, and their number at most."""


def read_tiles(
    corpus: Corpus,
    split: str,
    samples: int,
    level: Level,
    most: int | None = None,
    overlap: int = 0,
) -> Iterator[Float32[np.ndarray, " samples"]]:
    """Yield stretches of equal length of a split, in order; what is left at the end is not.

    Args:
        corpus: Where the recordings are.
        split: train, valid or test.
        samples: Length of a tile, at least 1.
        level: Level policy; with ``paper`` each tile is stretched to full scale.
        most: Number of tiles at most, evenly spread; None: all.
        overlap: Samples by which neighbouring tiles overlap, less than ``samples``.
    """
    recordings = corpus.split(split)
    ends = list(accumulate(recording.samples for recording in recordings))
    stride = samples - overlap
    count = max(0, (ends[-1] - overlap) // stride) if ends else 0
    for number in evenly_spaced(range(count), count if most is None else most):
        start = number * stride
        wave = _read(corpus, recordings, ends, start, start + samples)
        yield wave if level == "keep" else paper_min_max(wave)


def training_noise(corpus: Corpus, level: Level) -> NoiseRange | None:
    """Return how noisy the training split is; None if it is too short or silent."""
    rate = corpus.sample_rate
    total = sum(recording.samples for recording in corpus.split("train"))
    samples = min(round(NOISE_S * rate), total // LEAST_NOISE_TILES)
    if samples < frame_length(rate):
        return None
    tiles = read_tiles(corpus, "train", samples, level, NOISE_TILES)
    return noise_range(measure_noise(tile, rate) for tile in tiles)


def training_level(corpus: Corpus, level: Level) -> LevelRange | None:
    """Return how loud the training split is; None if it is shorter than a second."""
    samples = round(LEVEL_S * corpus.sample_rate)
    return level_range(read_tiles(corpus, "train", samples, level, LEVEL_TILES))


def _read(
    corpus: Corpus, recordings: Sequence[Recording], ends: Sequence[int], start: int, stop: int
) -> Float32[np.ndarray, " samples"]:
    """Return samples ``start`` to ``stop`` of the recordings end to end."""
    parts, index = [], bisect_right(ends, start)
    while start < stop:
        begin = ends[index] - recordings[index].samples
        until = min(stop, ends[index])
        parts.append(corpus.amplitude(recordings[index], start - begin, until - begin))
        start, index = until, index + 1
    return np.concatenate(parts)
