"""Excerpts of recordings: the clips that recurrent state is carried through, and their codes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
from jaxtyping import Float32, Int

from samplewise.audio.level import paper_min_max
from samplewise.config.models import Level
from samplewise.data.corpus import Corpus, Recording
from samplewise.quantizers import Quantizer

Item = TypeVar("Item")
MIN_DEVIATION = 2.0**-15
"""One step of 16 bits: silence is not divided by nothing."""


@dataclass(frozen=True)
class Excerpt:
    """Samples ``start`` to ``stop`` of a recording."""

    recording: Recording
    start: int
    stop: int

    @property
    def samples(self) -> int:
        """Length of the excerpt."""
        return self.stop - self.start


def cut(
    recordings: Sequence[Recording], clip_samples: int, offsets: Sequence[int] | None = None
) -> list[Excerpt]:
    """Tile every recording with clips; the first and the last of each may be shorter.

    Args:
        recordings: What to cut.
        clip_samples: Length of a clip; 0 means whole recordings.
        offsets: Where the first full clip of each recording starts, in [0, clip_samples).
    """
    clips = []
    for recording, offset in zip(recordings, offsets or [0] * len(recordings), strict=True):
        length = clip_samples or recording.samples
        marks = {0, recording.samples, *range(offset, recording.samples, length)}
        edges = sorted(mark for mark in marks if mark <= recording.samples)
        clips += [Excerpt(recording, start, stop) for start, stop in pairwise(edges)]
    return clips


def evenly_spaced(items: Sequence[Item], most: int) -> list[Item]:
    """Return at most ``most`` of the items, evenly spaced, in order."""
    count = min(most, len(items))
    return [items[index * len(items) // count] for index in range(count)]


def read_wave(corpus: Corpus, clip: Excerpt, level: Level) -> Float32[np.ndarray, " samples"]:
    """Return a clip's amplitude, full scale ±1, under a level policy."""
    if level == "keep":
        return corpus.amplitude(clip.recording, clip.start, clip.stop)
    # No gain, whose rounding could move a code; half precision, as the official arrays are stored.
    wave = corpus.amplitude(clip.recording, clip.start, clip.stop, gain=1.0)
    return paper_min_max(wave.astype(np.float16))


def read_codes(
    corpus: Corpus, clip: Excerpt, level: Level, quantizer: Quantizer
) -> Int[np.ndarray, " samples"]:
    """Return a clip's codes under a level policy."""
    return quantizer.encode(read_wave(corpus, clip, level))


def moments(corpus: Corpus, clips: Sequence[Excerpt], level: Level) -> tuple[float, float]:
    """Return the mean and the standard deviation of the amplitude over all clips.

    Mehri et al. 2017, section 3: what models of real values are normalised with, measured on the
    training split.
    """
    count, total, squares = 0, 0.0, 0.0
    for clip in clips:
        wave = read_wave(corpus, clip, level).astype(np.float64)
        count, total = count + len(wave), total + wave.sum()
        squares += wave @ wave
    mean = total / count
    deviation = math.sqrt(max(squares / count - mean**2, 0.0))
    return float(mean), max(deviation, MIN_DEVIATION)
