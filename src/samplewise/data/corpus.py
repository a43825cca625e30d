"""A prepared corpus: corpus.json describes the content; samples.npy or shards (int16) hold it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int16

from samplewise.audio.level import LARGEST_GAIN
from samplewise.data.index import (
    INDEX,
    PENDING_INDEX,
    SHARD_NAME,
    SPLITS,
    WORK_FOLDER,
    CorpusIndex,
    corpus_digest,
    read_index,
)
from samplewise.data.index import Recording as Recording
from samplewise.data.parts import BLOCK_BYTES, SAMPLE_BYTES
from samplewise.data.remote import Folder, as_folder
from samplewise.data.stored import DIGITS, StoredSamples
from samplewise.errors import CorpusError

FULL_SCALE = 32768
"""Number of int16 units per unit of amplitude, at ``scale`` 1."""
LARGEST_SCALE = 2.0**10
"""Limit of ``scale``, far above 16, the largest accepted amplitude."""


@dataclass(frozen=True, repr=False)
class Corpus:
    """An open corpus; audio is read only when it is needed."""

    folder: Folder
    """Folder of the corpus, on this machine or on an object store."""
    index: CorpusIndex
    """Content of corpus.json."""
    stored: StoredSamples | Int16[np.ndarray, " samples"]
    """Samples of all recordings, end to end."""

    def __repr__(self) -> str:
        minutes = sum(recording.samples for recording in self.recordings) / self.sample_rate / 60
        return (
            f"Corpus({str(self.folder)!r} · {len(self.recordings)} recordings · "
            f"{minutes:.1f} min · {self.sample_rate} Hz)"
        )

    @classmethod
    def open(cls, folder: str | Folder) -> "Corpus":
        """Open the corpus in ``folder`` and check that its files fit each other.

        Args:
            folder: Path, or URL of a folder on an object store. Of a remote corpus, blocks are
                fetched when they are read, and kept in a cache (data/block_cache.py).

        Raises:
            CorpusError: If the corpus is missing, damaged, unfinished or of another version.
        """
        folder = as_folder(folder)
        pending = folder / WORK_FOLDER / PENDING_INDEX if isinstance(folder, Path) else None
        if pending is not None and pending.exists():
            raise CorpusError(
                f"{folder} was being replaced when `samplewise prepare` was interrupted; "
                "run the same prepare again, it finishes at once"
            )
        index = read_index(folder)
        check_shards(folder, index)
        stored = StoredSamples(
            folder, index.checksums, index.files, index.shards, digest=index.digest
        )
        _check(folder, index, len(stored))
        return cls(folder, index, stored)

    @property
    def sample_rate(self) -> int:
        """Sample rate, Hz."""
        return self.index.sample_rate

    @property
    def channels(self) -> int:
        """Number of channels, always 1 in this version."""
        return self.index.channels

    @property
    def gain(self) -> float:
        """Gain of the level policy `keep`: 0.99 / the largest peak."""
        return self.index.gain

    @property
    def recordings(self) -> tuple[Recording, ...]:
        """All recordings, in a fixed order."""
        return self.index.recordings

    @property
    def split_rule(self) -> str:
        """Rule of the splits, for the label of a likelihood."""
        return self.index.split_rule

    @property
    def digest(self) -> str:
        """SHA-256 of rate, gain and recordings."""
        return self.index.digest

    def split(self, name: str) -> tuple[Recording, ...]:
        """Return the recordings of one split.

        Raises:
            ValueError: If there is no split of that name.
        """
        if name not in SPLITS:
            raise ValueError(f"split = {name!r} must be one of {', '.join(SPLITS)}")
        return tuple(recording for recording in self.recordings if recording.split == name)

    def amplitude(
        self,
        recording: Recording,
        start: int = 0,
        stop: int | None = None,
        gain: float | None = None,
    ) -> Float32[np.ndarray, " samples"]:
        """Read part of a recording at the level policy `keep`: true level times the gain.

        Args:
            recording: A recording of this corpus.
            start: First sample, relative to the recording.
            stop: End, exclusive; None for the recording's end.
            gain: In place of the corpus's; with 1 the samples are those of the file (without its
                mean, if the corpus was prepared so).

        Returns:
            Amplitude, full scale ±1; with the corpus's gain, its magnitude never exceeds 0.99.

        Raises:
            ValueError: If the range leaves the recording.
            CorpusError: If the samples are damaged there.
        """
        stop = recording.samples if stop is None else stop
        if not 0 <= start <= stop <= recording.samples:
            raise ValueError(
                f"start, stop = {start}, {stop} must lie in order within the "
                f"{recording.samples} samples of {recording.source!r}"
            )
        part = self.stored[recording.start + start : recording.start + stop]
        return self.scaled(np.asarray(part), recording, gain)

    def scaled(
        self,
        stored: Int16[np.ndarray, " samples"],
        recording: Recording,
        gain: float | None = None,
    ) -> Float32[np.ndarray, " samples"]:
        """Return the amplitude of stored samples of a recording, as :meth:`amplitude` does."""
        own = self.gain if gain is None else gain
        wave = stored.astype(np.float32)
        if recording.dc:
            wave -= np.float32(recording.dc * FULL_SCALE / recording.scale)
        return wave * np.float32(recording.scale * own / FULL_SCALE)


def check_shards(folder: Folder, index: CorpusIndex) -> None:
    """Check the names and the lengths of the shards: corpus.json may be a stranger's.

    Raises:
        CorpusError: If one of them cannot be.
    """
    for shard in index.shards:
        if not SHARD_NAME.fullmatch(shard.file) or shard.samples <= 0:
            raise CorpusError(
                f"{folder} is damaged: {shard.file!r} of {shard.samples} samples is no shard"
            )
    if any(shard.samples * SAMPLE_BYTES % BLOCK_BYTES for shard in index.shards[:-1]):
        raise CorpusError(f"{folder} is damaged: a shard does not end where a block ends")


def _check(folder: Folder, index: CorpusIndex, stored: int) -> None:
    """Check the values that types cannot express."""
    faults = []
    if index.channels != 1:
        faults.append(f"channels = {index.channels} must be 1")
    if index.sample_rate <= 0:
        faults.append(f"sample_rate = {index.sample_rate} must be positive")
    if not 0 < index.gain <= LARGEST_GAIN:
        faults.append(f"gain = {index.gain} must be positive and at most {LARGEST_GAIN:.0f}")
    blocks = -(-stored * SAMPLE_BYTES // BLOCK_BYTES)
    if index.checksums and len(index.checksums) != DIGITS * blocks:
        faults.append(f"checksums has {len(index.checksums)} digits, {DIGITS * blocks} are needed")
    if not index.recordings:
        faults.append("there are no recordings")
    for recording in index.recordings:
        if recording.split not in SPLITS:
            faults.append(f"{recording.source}: split = {recording.split!r}")
        if recording.start < 0 or recording.samples <= 0:
            faults.append(f"{recording.source}: start or samples is not positive")
        elif recording.start + recording.samples > stored:
            faults.append(
                f"{recording.source} ends at sample {recording.start + recording.samples}, "
                f"but the corpus holds {stored}"
            )
        if not 1 <= recording.scale <= LARGEST_SCALE:
            faults.append(
                f"{recording.source}: scale = {recording.scale} must be at least 1 "
                f"and at most {LARGEST_SCALE:.0f}"
            )
        if not abs(recording.dc) <= LARGEST_SCALE:
            faults.append(f"{recording.source}: dc = {recording.dc} is no mean of a sound")
    if not faults and index.digest != corpus_digest(
        index.sample_rate, index.gain, index.recordings
    ):
        faults.append(f"digest does not match the recordings; was {INDEX} edited by hand?")
    if faults:
        more = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
        raise CorpusError(
            f"{folder} is damaged: {faults[0]}{more}; delete the folder and prepare it again"
        )
