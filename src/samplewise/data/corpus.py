"""A prepared corpus: corpus.json says what it holds, samples.npy holds it (int16, memory-mapped)."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int16

from samplewise.errors import CorpusError

FORMAT = 1
INDEX = "corpus.json"
SAMPLES = "samples.npy"
WORK_FOLDER = ".prepare"
PENDING_INDEX = "new-corpus.json"
SPLITS = ("train", "valid", "test")
FULL_SCALE = 32768
"""int16 units per unit of amplitude, at ``scale`` 1."""


@dataclass(frozen=True)
class Recording:
    """One continuous stretch of audio that belongs to one split."""

    source: str
    """Path relative to the prepared folder, with slashes; bytes that are not UTF-8 are escaped."""
    start: int
    """First sample in samples.npy."""
    samples: int
    """Length in samples."""
    split: str
    """train, valid or test."""
    sha256: str
    """Of the stored int16 samples, little endian."""
    scale: float
    """Amplitude is int16 / 32768 * scale; 1 unless the recording exceeds full scale."""
    peak: float
    """Largest |amplitude|, before the gain of the corpus."""
    offset: int = 0
    """Where this part begins in its recording, in samples; 0 unless the recording was cut."""


@dataclass(frozen=True)
class SourceFile:
    """One decoded file as it lies in samples.npy; what a later prepare takes over undecoded."""

    source: str
    """Path relative to the prepared folder, as in :class:`Recording`."""
    bytes: int
    """Size of the file."""
    modified_ns: int
    """Time of its last change, nanoseconds since 1970."""
    start: int
    """First sample in samples.npy."""
    samples: int
    """Length in samples, at the rate of the corpus."""
    sha256: str
    """Of the stored int16 samples."""
    scale: float
    """Amplitude is int16 / 32768 * scale."""
    peak: float
    """Largest |amplitude|."""
    sum_squares: float
    """Sum of the squared amplitudes."""
    silent_windows: int
    """20 ms windows with an RMS below -60 dBFS."""
    windows: int
    """Whole 20 ms windows."""
    rate: int
    """Sample rate of the file, Hz."""
    channels: int
    """Channels of the file."""
    notes: tuple[str, ...] = ()
    """What is odd about the file, in words."""


@dataclass(frozen=True)
class Skipped:
    """A file that is not in the corpus."""

    source: str
    """Path relative to the prepared folder."""
    reason: str
    """Why, in one line."""
    bytes: int = -1
    """Size of the file; -1 if it has to be tried again next time."""
    modified_ns: int = -1
    """Time of its last change; -1 if it has to be tried again next time."""
    same_as: str = ""
    """The recording that it is a copy of; it is looked at again once that one is gone."""


@dataclass(frozen=True)
class Note:
    """Something odd about a file that is in the corpus."""

    source: str
    """Path relative to the prepared folder."""
    note: str
    """What, in one line."""


@dataclass(frozen=True)
class Settings:
    """What decides about the content of a corpus, besides the recordings."""

    sample_rate: int
    """Rate of the corpus, Hz."""
    valid: float
    """Share of the seconds for validation."""
    test: float
    """Share of the seconds for the test."""
    seed: int
    """Seed of the splits."""
    split: str
    """auto, recordings or folders."""


@dataclass(frozen=True)
class Summary:
    """Figures about a corpus; every level is before the gain."""

    recordings: int
    """Files that are in the corpus."""
    minutes: dict[str, float]
    """Minutes per split."""
    peak_dbfs: float | None
    """Peak, dB relative to full scale; None for digital silence."""
    loudness_rms_dbfs: float | None
    """RMS over everything, dB relative to full scale; None for digital silence."""
    silence_share: float
    """Share of 20 ms windows with an RMS below -60 dBFS."""
    resampled: int
    """Files that came at another sample rate."""
    mixed: int
    """Files whose channels were averaged to one."""
    over_full_scale: int
    """Files louder than full scale, stored with a scale above 1."""
    skipped: int
    """Files that are not in the corpus."""


@dataclass(frozen=True)
class CorpusIndex:
    """corpus.json."""

    format: int
    sample_rate: int
    channels: int
    gain: float
    split_rule: str
    digest: str
    settings: Settings
    summary: Summary
    warnings: tuple[str, ...]
    recordings: tuple[Recording, ...]
    files: tuple[SourceFile, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[Note, ...]


def corpus_digest(sample_rate: int, gain: float, recordings: tuple[Recording, ...]) -> str:
    """Return the identity of a corpus: SHA-256 over its rate, its gain and its recordings."""
    facts = [sample_rate, gain, [list(asdict(recording).values()) for recording in recordings]]
    return hashlib.sha256(json.dumps(facts, allow_nan=False).encode()).hexdigest()


@dataclass(frozen=True)
class Corpus:
    """An opened corpus; nothing of the audio is in memory until it is asked for."""

    folder: Path
    """Where it lies."""
    index: CorpusIndex
    """corpus.json as it was read."""
    stored: Int16[np.ndarray, " samples"]
    """samples.npy, mapped read-only."""

    @classmethod
    def open(cls, folder: Path) -> "Corpus":
        """Open the corpus in ``folder`` and check that its two files fit each other.

        Raises:
            CorpusError: If there is none, or it is damaged, unfinished or of another version.
        """
        folder = Path(folder)
        if (folder / WORK_FOLDER / PENDING_INDEX).exists():
            raise CorpusError(
                f"{folder} was being replaced when `samplewise prepare` was interrupted; "
                "run the same prepare again, it finishes at once"
            )
        index = read_index(folder)
        stored = map_samples(folder)
        _check(folder, index, len(stored))
        return cls(folder, index, stored)

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.index.sample_rate

    @property
    def channels(self) -> int:
        """Always 1 in this version."""
        return self.index.channels

    @property
    def gain(self) -> float:
        """0.99 / the largest peak: the level policy `keep`."""
        return self.index.gain

    @property
    def recordings(self) -> tuple[Recording, ...]:
        """Everything that may be trained on or scored, in a fixed order."""
        return self.index.recordings

    @property
    def split_rule(self) -> str:
        """How the splits came about, for the label of a likelihood."""
        return self.index.split_rule

    @property
    def digest(self) -> str:
        """SHA-256 over rate, gain and recordings."""
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
        self, recording: Recording, start: int = 0, stop: int | None = None
    ) -> Float32[np.ndarray, " samples"]:
        """Read part of a recording at the level policy `keep`: true level times the gain.

        Args:
            recording: One of this corpus.
            start: First sample, relative to the recording.
            stop: End, exclusive; None for the recording's end.

        Returns:
            Amplitude, full scale ±1; its magnitude never exceeds 0.99.

        Raises:
            ValueError: If the range leaves the recording.
        """
        stop = recording.samples if stop is None else stop
        if not 0 <= start <= stop <= recording.samples:
            raise ValueError(
                f"start, stop = {start}, {stop} must lie in order within the "
                f"{recording.samples} samples of {recording.source!r}"
            )
        part = self.stored[recording.start + start : recording.start + stop]
        factor = np.float32(recording.scale * self.gain / FULL_SCALE)
        return np.asarray(part).astype(np.float32) * factor


def read_index(folder: Path) -> CorpusIndex:
    """Read corpus.json, strictly.

    Raises:
        CorpusError: If it is missing, of another version or not what this version writes.
    """
    from pydantic import TypeAdapter, ValidationError

    path = folder / INDEX
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise CorpusError(
            f"{folder} holds no corpus ({INDEX} is missing); "
            f"make one with `samplewise prepare FOLDER -o {folder}`"
        ) from None
    except NotADirectoryError:
        raise CorpusError(f"{folder} is not a folder; name the folder of a corpus") from None
    _check_format(path, text)
    try:
        return TypeAdapter(CorpusIndex).validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "the file"
        raise CorpusError(
            f"{path} is damaged: {where}: {first['msg']} ({error.error_count()} faults); "
            "delete the corpus folder and prepare it again"
        ) from None


def map_samples(folder: Path) -> Int16[np.ndarray, " samples"]:
    """Map samples.npy read-only.

    Raises:
        CorpusError: If it is missing, cut short or not one flat int16 array.
    """
    path = folder / SAMPLES
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise CorpusError(f"{path} is missing; prepare the corpus again") from None
    except (ValueError, EOFError, SyntaxError) as error:
        raise CorpusError(f"{path} is damaged ({error}); prepare the corpus again") from None
    if not isinstance(stored, np.ndarray) or stored.ndim != 1 or stored.dtype != np.dtype("<i2"):
        raise CorpusError(
            f"{path} must be one flat array of 16-bit samples; prepare the corpus again"
        )
    return stored


def _check_format(path: Path, text: bytes) -> None:
    try:
        found = json.loads(text)["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CorpusError(
            f"{path} is not the index of a corpus; delete the folder and prepare it again"
        ) from None
    if found != FORMAT:
        raise CorpusError(
            f"{path} has format {found!r}, this version reads format {FORMAT}; "
            "prepare the corpus again with this version"
        )


def _check(folder: Path, index: CorpusIndex, stored: int) -> None:
    """Check what types cannot say."""
    faults = []
    if index.channels != 1:
        faults.append(f"channels = {index.channels} must be 1")
    if index.sample_rate <= 0:
        faults.append(f"sample_rate = {index.sample_rate} must be positive")
    if not (math.isfinite(index.gain) and index.gain > 0):
        faults.append(f"gain = {index.gain} must be positive")
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
                f"but {SAMPLES} holds {stored}"
            )
        if not (math.isfinite(recording.scale) and recording.scale >= 1):
            faults.append(f"{recording.source}: scale = {recording.scale} must be at least 1")
    if not faults and index.digest != corpus_digest(
        index.sample_rate, index.gain, index.recordings
    ):
        faults.append(f"digest does not match the recordings; was {INDEX} edited by hand?")
    if faults:
        more = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
        raise CorpusError(
            f"{folder} is damaged: {faults[0]}{more}; delete the folder and prepare it again"
        )
