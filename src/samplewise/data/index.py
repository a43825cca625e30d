"""corpus.json, the description of a corpus, read strictly."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from samplewise.audio.level import PEAK_TARGET
from samplewise.data.remote import Folder, RemoteFolder
from samplewise.errors import CorpusError
from samplewise.kinds import CORPUS, mistaken
from samplewise.strict_json import parse_object, read_bounded

FORMAT, SHARDS_FORMAT = 1, 2
"""Format of an index: one file of samples, or shards."""
INDEX = "corpus.json"
MAX_BYTES = 2**30
"""Largest size of corpus.json; a million recordings take about half of it."""
SAMPLES = "samples.npy"
SHARD_NAME = re.compile(r"samples-[0-9]{3,5}-[0-9a-f]{8}\.npy")
WORK_FOLDER = ".prepare"
PENDING_INDEX = "new-corpus.json"
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Recording:
    """One continuous stretch of audio that belongs to one split."""

    source: str
    """Path relative to the prepared folder, with slashes; bytes that are not UTF-8 are escaped."""
    start: int
    """First sample in the corpus."""
    samples: int
    """Length in samples."""
    split: str
    """train, valid or test."""
    sha256: str
    """SHA-256 of the stored int16 samples, little endian."""
    scale: float
    """Amplitude is int16 / 32768 * scale; 1 unless the recording exceeds full scale."""
    peak: float
    """Largest |amplitude| after ``dc`` is subtracted, before the gain of the corpus."""
    offset: int = 0
    """Where this part begins in its recording, in samples; 0 unless the recording was cut."""
    dc: float = 0.0
    """Constant that is subtracted: with ``--remove-dc`` the mean of the recording, else 0."""


@dataclass(frozen=True)
class SourceFile:
    """One decoded file in the corpus, which a later prepare reuses."""

    source: str
    """Path relative to the prepared folder, as in :class:`Recording`."""
    bytes: int
    """Size of the file."""
    modified_ns: int
    """Time of its last change, nanoseconds since 1970."""
    start: int
    """First sample in the corpus."""
    samples: int
    """Length in samples, at the rate of the corpus."""
    sha256: str
    """SHA-256 of the stored int16 samples."""
    scale: float
    """Amplitude is int16 / 32768 * scale."""
    peak: float
    """Largest |amplitude|."""
    sum_squares: float
    """Sum of the squared amplitudes."""
    silent_windows: int
    """Number of 20 ms windows with an RMS about their mean below -60 dBFS."""
    windows: int
    """Number of whole 20 ms windows."""
    rate: int
    """Sample rate of the file, Hz."""
    channels: int
    """Number of channels of the file."""
    notes: tuple[str, ...] = ()
    """Notes about oddities of the file."""
    mean: float | None = None
    """Mean amplitude (DC); None in corpora of earlier versions."""
    peak_about_mean: float | None = None
    """Largest |amplitude - mean|; None if ``mean`` is."""
    sound_end: int | None = None
    """End of the last window that is not silent, in samples; None if ``mean`` is."""

    def dc(self, settings: "Settings") -> float:
        """Return the constant that is subtracted from the amplitude."""
        return (self.mean or 0.0) if settings.remove_dc else 0.0

    def level(self, settings: "Settings") -> float:
        """Return the largest |amplitude| after ``dc`` is subtracted."""
        about_mean = self.peak_about_mean if settings.remove_dc else None
        return self.peak if about_mean is None else about_mean


@dataclass(frozen=True)
class Shard:
    """A file with a part of the samples."""

    file: str
    """Name of the file: samples-NUMBER-HASH.npy."""
    samples: int
    """Length in samples."""
    sha256: str
    """SHA-256 of the whole file."""


@dataclass(frozen=True)
class Skipped:
    """A file that is not in the corpus."""

    source: str
    """Path relative to the prepared folder."""
    reason: str
    """Reason, in one line."""
    bytes: int = -1
    """Size of the file; -1 if it has to be tried again next time."""
    modified_ns: int = -1
    """Time of its last change; -1 if it has to be tried again next time."""
    same_as: str = ""
    """Recording of which this file is a copy; the file is tried again once that one is gone."""


@dataclass(frozen=True)
class Note:
    """Something odd about a file that is in the corpus."""

    source: str
    """Path relative to the prepared folder."""
    note: str
    """The note, in one line."""


@dataclass(frozen=True)
class Settings:
    """Settings that determine the content of a corpus, besides the recordings."""

    sample_rate: int
    """Rate of the corpus, Hz."""
    valid: float
    """Share of the seconds for validation."""
    test: float
    """Share of the seconds for the test."""
    seed: int
    """Seed of the splits."""
    split: str
    """Split rule: auto, recordings or folders."""
    remove_dc: bool = False
    """Subtract the mean of each recording."""
    peak: float = PEAK_TARGET
    """Peak of the corpus after its gain."""

    def __post_init__(self) -> None:
        """Check the peak."""
        if not 0 < self.peak <= 1:
            raise ValueError(f"peak = {self.peak} must lie in (0, 1]")


@dataclass(frozen=True)
class Summary:
    """Figures about a corpus; every level is before the gain."""

    recordings: int
    """Number of files in the corpus."""
    minutes: dict[str, float]
    """Minutes per split."""
    peak_dbfs: float | None
    """Peak, dB relative to full scale; None for digital silence."""
    loudness_rms_dbfs: float | None
    """RMS over everything, each file about its mean, dB relative to full scale; None for digital
    silence."""
    silence_share: float
    """Share of 20 ms windows with an RMS about their mean below -60 dBFS."""
    resampled: int
    """Number of files with another sample rate."""
    mixed: int
    """Number of files whose channels were averaged to one."""
    over_full_scale: int
    """Number of files above full scale, stored with a scale above 1."""
    skipped: int
    """Number of files that are not in the corpus."""


@dataclass(frozen=True)
class CorpusIndex:
    """The content of corpus.json."""

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
    checksums: str = ""
    """Checksums of the blocks of the samples (data/stored.py); empty in older corpora."""
    shards: tuple[Shard, ...] = ()
    """Files that hold the samples, in order; empty if samples.npy holds them all."""


def corpus_digest(sample_rate: int, gain: float, recordings: tuple[Recording, ...]) -> str:
    """Return the identity of a corpus: SHA-256 over its rate, its gain and its recordings."""
    values = [sample_rate, gain, [_identity(recording) for recording in recordings]]
    return hashlib.sha256(json.dumps(values, allow_nan=False).encode()).hexdigest()


def _identity(recording: Recording) -> list[object]:
    *values, dc = asdict(recording).values()
    return [*values, dc] if dc else values  # earlier versions had no ``dc``


def read_index(folder: Folder) -> CorpusIndex:
    """Read corpus.json, strictly.

    Raises:
        CorpusError: If it is missing, of another version or damaged.
    """
    from pydantic import TypeAdapter, ValidationError

    path = folder / INDEX
    try:
        text = (
            path.read_bounded(MAX_BYTES)
            if isinstance(path, RemoteFolder)
            else read_bounded(path, MAX_BYTES)
        )
    except FileNotFoundError:
        raise CorpusError(
            (isinstance(folder, Path) and mistaken(folder, CORPUS))
            or f"{folder} holds no corpus ({INDEX} is missing); "
            f"make one with `samplewise prepare FOLDER -o {folder}`"
        ) from None
    except NotADirectoryError:
        raise CorpusError(
            (isinstance(folder, Path) and mistaken(folder, CORPUS))
            or f"{folder} is not a folder; name the folder of a corpus"
        ) from None
    except ValueError as error:
        raise CorpusError(f"{path} cannot be used: {error}") from None
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


def _check_format(path: Folder, text: bytes) -> None:
    try:
        found = parse_object(text)["format"]
    except (ValueError, KeyError) as error:
        raise CorpusError(
            f"{path} is not the index of a corpus ({error}); delete the folder and prepare it again"
        ) from None
    if found not in (FORMAT, SHARDS_FORMAT):
        raise CorpusError(
            f"{path} has format {found!r}, this version reads {FORMAT} and {SHARDS_FORMAT}; "
            "prepare the corpus again with this version"
        )
