"""Excerpts of recordings: the clips that recurrent state is carried through, and their codes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

import numpy as np
from jaxtyping import Float32, Int, Int32, Int64

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


class Excerpts(Sequence[Excerpt]):
    """Many excerpts in little memory: 20 bytes each."""

    def __init__(
        self,
        recordings: Sequence[Recording],
        places: Int32[np.ndarray, " excerpts"],
        starts: Int64[np.ndarray, " excerpts"],
        stops: Int64[np.ndarray, " excerpts"],
    ) -> None:
        """Keep excerpts ``starts`` to ``stops`` of the recordings at ``places``."""
        self._recordings = recordings
        self._places, self._starts, self._stops = places, starts, stops

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Excerpt: ...

    @overload
    def __getitem__(self, index: slice) -> "Excerpts": ...

    def __getitem__(self, index: int | slice) -> "Excerpt | Excerpts":
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        recording = self._recordings[self._places[index]]
        return Excerpt(recording, int(self._starts[index]), int(self._stops[index]))

    @property
    def nbytes(self) -> int:
        """Size of the arrays in bytes."""
        return self._places.nbytes + self._starts.nbytes + self._stops.nbytes

    def take(self, order: Int64[np.ndarray, " some"]) -> "Excerpts":
        """Return the excerpts at the places in ``order``, in that order."""
        return Excerpts(
            self._recordings, self._places[order], self._starts[order], self._stops[order]
        )


def cut(
    recordings: Sequence[Recording],
    clip_samples: int,
    offsets: Int64[np.ndarray, " recordings"] | None = None,
) -> Excerpts:
    """Tile every recording with clips; the first and the last of each may be shorter.

    Args:
        recordings: What to cut.
        clip_samples: Length of a clip; 0 means whole recordings.
        offsets: Where the first full clip of each recording starts, in [0, clip_samples).
    """
    ends = np.array([recording.samples for recording in recordings], np.int64)
    lengths = np.full_like(ends, clip_samples) if clip_samples else ends
    offsets = np.zeros_like(ends) if offsets is None else offsets
    has_head = (offsets > 0).astype(np.int64)  # a shorter clip before the first full one
    counts = np.maximum(-(-(ends - offsets) // lengths), 0) + has_head
    places = np.repeat(np.arange(len(recordings), dtype=np.int32), counts)
    numbers = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
    marks = offsets[places] + (numbers - has_head[places]) * lengths[places]
    stops = np.minimum(marks + lengths[places], ends[places])
    return Excerpts(recordings, places, np.maximum(marks, 0), stops)


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
