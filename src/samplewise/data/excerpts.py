"""Excerpts of recordings: the clips that recurrent state is carried through, and their codes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

import numpy as np
from jaxtyping import Float32, Int, Int64

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
    """The clips of recordings, each made when it is asked for; 8 bytes each in another order."""

    def __init__(self, tiling: "Tiling", order: Int64[np.ndarray, " excerpts"] | None = None):
        """Use the clips of ``tiling`` at the places in ``order``; None: all, in their order."""
        self._tiling, self._order = tiling, order

    def __len__(self) -> int:
        return len(self._tiling) if self._order is None else len(self._order)

    @overload
    def __getitem__(self, index: int) -> Excerpt: ...

    @overload
    def __getitem__(self, index: slice) -> "Excerpts": ...

    def __getitem__(self, index: int | slice) -> "Excerpt | Excerpts":
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        place = range(len(self))[index]
        return self._tiling.clip(place if self._order is None else int(self._order[place]))

    def take(self, order: Int64[np.ndarray, " some"]) -> "Excerpts":
        """Return the excerpts at the places in ``order``, in that order."""
        return Excerpts(self._tiling, order if self._order is None else self._order[order])


class Tiling:
    """Clips that tile recordings; its size is that of the recordings."""

    def __init__(
        self,
        recordings: Sequence[Recording],
        clip_samples: int,
        offsets: Int64[np.ndarray, " recordings"] | None,
        whole: bool,
    ) -> None:
        """See :func:`cut`."""
        ends = np.array([recording.samples for recording in recordings], np.int64)
        self._recordings = recordings
        self._lengths = np.full_like(ends, clip_samples) if clip_samples else ends
        self._offsets = np.zeros_like(ends) if offsets is None else offsets
        rest = ends - self._offsets
        if whole:
            self._heads = np.zeros_like(ends)
            counts = np.maximum(rest, 0) // self._lengths
        else:
            self._heads = (self._offsets > 0).astype(np.int64)  # shorter, before the first full one
            counts = np.maximum(-(-rest // self._lengths), 0) + self._heads
        self._last = np.cumsum(counts)

    def __len__(self) -> int:
        return int(self._last[-1]) if len(self._last) else 0

    def clip(self, index: int) -> Excerpt:
        """Return one of the clips, in the order of the recordings."""
        place = int(np.searchsorted(self._last, index, "right"))
        number = index - (int(self._last[place - 1]) if place else 0) - int(self._heads[place])
        length, recording = int(self._lengths[place]), self._recordings[place]
        start = int(self._offsets[place]) + number * length
        return Excerpt(recording, max(start, 0), min(start + length, recording.samples))


def cut(
    recordings: Sequence[Recording],
    clip_samples: int,
    offsets: Int64[np.ndarray, " recordings"] | None = None,
    whole: bool = False,
) -> Excerpts:
    """Tile every recording with clips; the first and the last of each may be shorter.

    Args:
        recordings: What to cut.
        clip_samples: Length of a clip; 0 means whole recordings.
        offsets: Where the first full clip of each recording starts, in [0, clip_samples).
        whole: Leave shorter clips out.
    """
    return Excerpts(Tiling(recordings, clip_samples, offsets, whole))


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
