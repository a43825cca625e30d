"""Classification of two speakers by mean fundamental frequency.

The classifier of Mehri et al. 2017, section 3.3: a segment belongs to the speaker whose mean
fundamental frequency is nearer to its own, so the threshold lies midway between the two means.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from samplewise.data.corpus import Corpus, Recording
from samplewise.data.excerpts import Excerpt, evenly_spaced
from samplewise.data.labels import labels_by_folder, labels_from_csv
from samplewise.data.prepare.summary import plural
from samplewise.errors import CorpusError
from samplewise.evaluate.pitch import (
    FRAME_S,
    READ_SPEECH,
    PitchSettings,
    Tracker,
    mean_f0,
    mean_of_voiced,
    resolve_tracker,
    track_f0,
)
from samplewise.generate.clips import samples_of

Z95 = 1.959963984540054
"""Two-sided 95% of the normal distribution."""


@dataclass(frozen=True)
class Share:
    """A share, ``count`` of ``total``, with the 95% interval of Wilson (1927)."""

    count: int
    """Number of cases that count."""
    total: int
    """Number of all cases."""

    @property
    def value(self) -> float | None:
        """The share in [0, 1]; None if ``total`` is 0."""
        return self.count / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds of the 95% interval of the share; (0, 1) if ``total`` is 0."""
        if not self.total:
            return 0.0, 1.0
        share, weight = self.count / self.total, Z95**2 / self.total
        centre = share + weight / 2
        half = Z95 * math.sqrt(share * (1 - share) / self.total + weight / (4 * self.total))
        low, high = (centre - half) / (1 + weight), (centre + half) / (1 + weight)
        return max(0.0, low), min(1.0, high)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        low, high = self.interval
        share = {"count": self.count, "total": self.total, "share": self.value}
        return share | {"low": low, "high": high}


@dataclass(frozen=True)
class Speaker:
    """One of the two speakers."""

    name: str
    """Name in the labels."""
    mean_f0_hz: float
    """Mean fundamental frequency over all measured voiced frames, Hz."""
    seconds: float
    """Seconds of recordings that were measured."""
    voiced_seconds: float
    """Seconds of these that are voiced."""


@dataclass(frozen=True)
class SpeakerClassifier:
    """A classifier of two speakers."""

    low: Speaker
    """The speaker with the lower voice."""
    high: Speaker
    """The speaker with the higher voice."""
    tracker: Tracker
    """Name of the tracker: praat or autocorrelation."""
    settings: PitchSettings
    """Settings of the tracker."""

    @property
    def threshold_hz(self) -> float:
        """Mean of the two frequencies, Hz; from here on a segment is of the higher voice."""
        return (self.low.mean_f0_hz + self.high.mean_f0_hz) / 2

    def f0(self, wave: Float32[np.ndarray, " samples"], sample_rate: int) -> float | None:
        """Return the mean fundamental frequency, Hz; None if too little is voiced."""
        return mean_f0(wave, sample_rate, self.settings, self.tracker)

    def name(self, f0_hz: float | None) -> str | None:
        """Return the speaker of a segment with this mean; None for a segment without one."""
        if f0_hz is None:
            return None
        return (self.high if f0_hz >= self.threshold_hz else self.low).name

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"threshold_hz": self.threshold_hz}


def speakers_by_folder(corpus: Corpus) -> dict[str, str]:
    """Return the speaker of each recording of a corpus with one folder per speaker.

    The folder is the first one of the path, after ``train``, ``valid`` and ``test``.

    Raises:
        CorpusError: If a recording lies in no such folder, or there are not two of them.
    """
    return _two(corpus, labels_by_folder(corpus))


def read_speakers(path: Path, corpus: Corpus) -> dict[str, str]:
    """Return the speaker of each recording, as a CSV file with columns file and speaker says.

    Args:
        path: The CSV file; other columns, and files that are not in the corpus, are ignored.
        corpus: The corpus; ``file`` is a path within the folder that it was prepared from.

    Raises:
        CorpusError: If a column or a recording is missing, or there are not two speakers.
    """
    return _two(corpus, labels_from_csv(path, corpus))


def _two(corpus: Corpus, speakers: dict[str, str]) -> dict[str, str]:
    names = sorted(set(speakers.values()))
    if len(names) != 2:
        raise CorpusError(
            f"the recordings of {corpus.folder} have {plural(len(names), 'speaker')} "
            f"({', '.join(names[:5])}), not two"
        )
    return speakers


def measure_speakers(
    corpus: Corpus,
    speakers: Mapping[str, str],
    *,
    segment_s: float = 2.0,
    max_s: float = 600.0,
    tracker: Tracker = "auto",
    settings: PitchSettings = READ_SPEECH,
) -> SpeakerClassifier:
    """Measure both speakers' mean fundamental frequency on the training split.

    Args:
        corpus: A corpus with recordings of both in its training split.
        speakers: Speaker of each recording, by its source; two in all.
        segment_s: Length of a segment, seconds; segments with too little voice are left out.
        max_s: Seconds of each speaker that are measured, evenly spread; 0 for all.
        tracker: Name of the tracker, which the classifier uses, too.
        settings: Range and thresholds of the tracker.

    Raises:
        CorpusError: If a speaker has no voiced segment there.
    """
    tracker = resolve_tracker(tracker)
    length = samples_of(segment_s, corpus.sample_rate)
    measured = []
    for name in sorted(set(speakers.values())):
        recordings = [r for r in corpus.split("train") if speakers[r.source] == name]
        clips = tile(recordings, length)
        if max_s:
            clips = evenly_spaced(clips, max(1, round(max_s / segment_s)))
        tracks = [
            track_f0(
                corpus.amplitude(clip.recording, clip.start, clip.stop),
                corpus.sample_rate,
                settings,
                tracker,
            )
            for clip in clips
        ]
        tracks = [track for track in tracks if mean_of_voiced(track, settings) is not None]
        if not tracks:
            raise CorpusError(
                f"no {segment_s:g} s of the training recordings of {name} hold a voice between "
                f"{settings.floor_hz:g} and {settings.ceiling_hz:g} Hz; are the labels right?"
            )
        f0 = np.concatenate(tracks)
        voiced = f0[~np.isnan(f0)]
        seconds = sum(clip.samples for clip in clips) / corpus.sample_rate
        measured.append(Speaker(name, float(voiced.mean()), seconds, len(voiced) * FRAME_S))
    low, high = sorted(measured, key=lambda speaker: speaker.mean_f0_hz)
    return SpeakerClassifier(low, high, tracker, settings)


def tile(recordings: Sequence[Recording], length: int) -> list[Excerpt]:
    """Return all whole clips of ``length`` samples, from the start of each recording."""
    return [
        Excerpt(recording, start, start + length)
        for recording in recordings
        for start in range(0, recording.samples - length + 1, length)
    ]
