"""Writing of the samples and of corpus.json from decoded files; they are replaced together."""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from samplewise.atomic_io import atomic_writer, fsync_folder, write_json
from samplewise.audio.level import peak_gain
from samplewise.data.index import (
    FORMAT,
    INDEX,
    PENDING_INDEX,
    SAMPLES,
    SHARD_NAME,
    SHARDS_FORMAT,
    WORK_FOLDER,
    CorpusIndex,
    Note,
    Recording,
    Settings,
    Shard,
    Skipped,
    SourceFile,
    corpus_digest,
    read_index,
)
from samplewise.data.parts import BLOCK_BYTES, SAMPLE_BYTES, header, repair
from samplewise.data.prepare.summary import names, plural, silent_files, summarise, warnings_about
from samplewise.data.splits import (
    BY_FOLDER,
    BY_PART,
    BY_RECORDING,
    Piece,
    Shares,
    folder_split,
    split_by_folder,
    split_by_recording,
)
from samplewise.data.stored import Checksums, StoredSamples
from samplewise.errors import CorpusError

PENDING_SAMPLES = "new-samples.npy"
COPY_BYTES = 2**20
SHARD_BYTES = 10**9
"""Default size of a shard; smaller corpora have one file."""
MAX_SHARDS = 200
"""Most shards of a corpus: all of them stay open, and a system may allow 256 files."""

Bar = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]
"""A function that opens a progress bar from a description and a total."""


@dataclass(frozen=True)
class Stored:
    """Decoded samples and where they are now."""

    file: SourceFile
    """Properties of the file; ``start`` is not final yet."""
    place: Path | StoredSamples
    """Path of a decoded part, or the samples of the earlier corpus."""
    position: int
    """First sample in ``place``."""

    @property
    def is_earlier(self) -> bool:
        """Whether the samples come from the earlier corpus."""
        return isinstance(self.place, StoredSamples)

    def chunks(self) -> Iterator[bytes]:
        """Yield the samples as bytes, in small parts."""
        if isinstance(self.place, StoredSamples):
            yield from self.place.chunks(self.position, self.file.samples)
            return
        with self.place.open("rb") as file:
            file.seek(SAMPLE_BYTES * self.position)
            yield from _read_exactly(file, SAMPLE_BYTES * self.file.samples)

    def remedy(self) -> str:
        """Return what to do if the samples are damaged."""
        if isinstance(self.place, StoredSamples):
            return repair(self.place.folder)
        return f"delete {self.place.parent} and prepare again"


def without_copies(stored: Sequence[Stored]) -> tuple[list[Stored], list[Skipped]]:
    """Keep identical audio once: earlier files first, then held-out ones, then by name."""
    rank = {"test": 0, "valid": 1}
    order = sorted(
        stored,
        key=lambda item: (
            not item.is_earlier,
            rank.get(folder_split(item.file.source) or "", 2),
            item.file.source,
        ),
    )
    first: dict[str, Stored] = {}
    copies = []
    for item in order:
        kept = first.setdefault(item.file.sha256, item)
        if kept is not item:
            source = kept.file.source
            file = item.file
            reason = "; ".join([f"same audio as {source}", *file.notes])
            copies.append(Skipped(file.source, reason, file.bytes, file.modified_ns, source))
    return sorted(first.values(), key=lambda item: item.file.source), copies


def assemble(
    output: Path,
    settings: Settings,
    stored: Sequence[Stored],
    skipped: Sequence[Skipped],
    earlier: CorpusIndex | None,
    use_folders: bool,
    bar: Bar,
    shard_samples: Callable[[int], int] = lambda samples: 0,
) -> CorpusIndex:
    """Write a corpus and replace the one in ``output``.

    Args:
        output: Folder of the corpus.
        settings: Settings that determine the content.
        stored: Decoded samples.
        skipped: Files that are left out.
        earlier: The corpus that is brought up to date.
        use_folders: Whether top-level folders name the splits.
        bar: Opens progress bars.
        shard_samples: Returns the length of the shards of a corpus of so many samples; 0: one
            file.

    Raises:
        CorpusError: If nothing is usable, or stored samples are damaged.
        OSError: If the corpus cannot be written; the earlier corpus is then unchanged.
    """
    kept, copies = without_copies(stored)
    if not kept:
        raise CorpusError(_nothing_usable(skipped))
    files = _lay_out([item.file for item in kept])
    before = earlier if earlier is not None and _same_splits(earlier.settings, settings) else None
    plan = _plan(settings, files, before, use_folders)
    work = output / WORK_FOLDER
    length = shard_samples(sum(file.samples for file in files))
    checksums, shards = _write_samples(work, kept, bar, length)
    written = StoredSamples(work, shards=shards, single=PENDING_SAMPLES)
    recordings = _recordings(files, plan, written, settings)
    gain = peak_gain(max(file.level(settings) for file in files), settings.peak)
    all_skipped = tuple(sorted([*skipped, *copies], key=lambda item: item.source))
    summary = summarise(settings, files, recordings, all_skipped)
    warnings = warnings_about(settings, summary, files, recordings, all_skipped, use_folders)
    index = CorpusIndex(
        format=SHARDS_FORMAT if shards else FORMAT,
        sample_rate=settings.sample_rate,
        channels=1,
        gain=gain,
        split_rule=_rule(files, recordings, use_folders),
        digest=corpus_digest(settings.sample_rate, gain, recordings),
        settings=settings,
        summary=summary,
        warnings=(*warnings, *_changes(earlier, before, files)),
        recordings=recordings,
        files=tuple(files),
        skipped=all_skipped,
        notes=tuple(Note(file.source, note) for file in files for note in file.notes),
        checksums=checksums,
        shards=shards,
    )
    write_json(work / PENDING_INDEX, asdict(index))  # from here on the new corpus is valid
    finish_pending(output)
    return index


def finish_pending(output: Path) -> None:
    """Install a complete new corpus from the work folder, if there is one, and clean up."""
    work = output / WORK_FOLDER
    if (work / PENDING_INDEX).exists():
        if (work / PENDING_SAMPLES).exists():
            (work / PENDING_SAMPLES).replace(output / SAMPLES)
        for shard in _shards_in(work):
            shard.replace(output / shard.name)
        fsync_folder(output)
        (work / PENDING_INDEX).replace(output / INDEX)
        fsync_folder(output)
        _remove_others(output)
        shutil.rmtree(work)
    elif work.exists():
        for path in [work / PENDING_SAMPLES, *_shards_in(work)]:
            path.unlink(missing_ok=True)


def shard_length(samples: int, shard_bytes: int | None) -> int:
    """Return the length in samples of the shards of a corpus; 0 if it has one file.

    Args:
        samples: Length of the corpus.
        shard_bytes: Size that was asked for; None: a corpus below 1 GB has one file, and none has
            too many shards.

    Raises:
        ValueError: If there would be too many.
    """
    block = BLOCK_BYTES // SAMPLE_BYTES
    least = -(-samples // MAX_SHARDS)
    length = max(SHARD_BYTES // SAMPLE_BYTES, least)
    if shard_bytes is not None:
        length = shard_bytes // SAMPLE_BYTES
        if length < least:
            raise ValueError(
                f"shard_size = {shard_bytes / 1e6:g} MB gives more than {MAX_SHARDS} shards; it "
                f"must be at least {-(-least * SAMPLE_BYTES // 10**6) + 1} MB"
            )
    return 0 if samples <= length else max(1, -(-length // block)) * block


def _shards_in(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if SHARD_NAME.fullmatch(path.name)]


def _remove_others(output: Path) -> None:
    """Remove samples of earlier corpora; what has them open can read on."""
    named = {shard.file for shard in read_index(output).shards} or {SAMPLES}
    for path in [output / SAMPLES, *_shards_in(output)]:
        if path.name not in named:
            path.unlink(missing_ok=True)


def _nothing_usable(skipped: Sequence[Skipped]) -> str:
    sound = [item for item in skipped if "by its name" not in item.reason]
    if not sound:
        return (
            "there is no sound file in the folder; "
            "WAV, FLAC, OGG, MP3 and AIFF are read, nested folders too"
        )
    shown = "; ".join(f"{item.source}: {item.reason}" for item in sound[:3])
    if len(sound) == 1:
        return f"the only sound file cannot be used ({shown})"
    return f"none of the {len(sound)} sound files can be used ({shown})"


def _lay_out(files: Sequence[SourceFile]) -> list[SourceFile]:
    placed, start = [], 0
    for file in files:
        placed.append(replace(file, start=start))
        start += file.samples
    return placed


def _plan(
    settings: Settings, files: Sequence[SourceFile], before: CorpusIndex | None, use_folders: bool
) -> Mapping[str, tuple[Piece, ...]]:
    """Return the pieces of each file, by source."""
    if use_folders:
        return split_by_folder({file.source: file.samples for file in files})
    earlier = _earlier_pieces(files, before) if before is not None else {}
    shares = Shares(settings.valid, settings.test, settings.seed)
    lengths = {file.sha256: file.samples for file in files}
    silent = silent_files(files)
    ends = {file.sha256: file.sound_end for file in files if file.sound_end}
    by_content = split_by_recording(
        lengths,
        shares,
        settings.sample_rate,
        earlier,
        {file.sha256 for file in files if file.source in silent},
        ends,
    )
    return {file.source: by_content[file.sha256] for file in files}


def _same_splits(earlier: Settings, settings: Settings) -> bool:
    return replace(earlier, remove_dc=settings.remove_dc, peak=settings.peak) == settings


def _earlier_pieces(
    files: Sequence[SourceFile], before: CorpusIndex
) -> dict[str, tuple[Piece, ...]]:
    """Return the earlier pieces of the same content, or of a file that changed in place."""
    by_source: dict[str, list[Piece]] = {}
    for part in before.recordings:
        piece = Piece(part.offset, part.samples, part.split)
        by_source.setdefault(part.source, []).append(piece)
    by_content = {
        file.sha256: tuple(by_source[file.source])
        for file in before.files
        if file.source in by_source
    }
    kept = {}
    for file in files:
        pieces = by_content.get(file.sha256)
        if pieces is None and len(by_source.get(file.source, ())) == 1:
            pieces = (Piece(0, file.samples, by_source[file.source][0].split),)
        if pieces is not None:
            kept[file.sha256] = pieces
    return kept


def _write_samples(
    work: Path, kept: Sequence[Stored], bar: Bar, shard_samples: int
) -> tuple[str, tuple[Shard, ...]]:
    """Write the samples into one file or into shards; return their checksums, and the shards."""
    checksums, shards = Checksums(), []
    samples = sum(item.file.samples for item in kept)
    total = SAMPLE_BYTES * samples
    with bar("writing (MB)", total // 10**6) as update:
        stream = _Blocks(kept, checksums, update)
        for start in range(0, samples, shard_samples or samples):
            length = min(shard_samples or samples, samples - start)
            path, digest = work / PENDING_SAMPLES, hashlib.sha256()
            with atomic_writer(path, SAMPLE_BYTES * length + 128) as out:
                for block in (header(length), *stream.take(SAMPLE_BYTES * length)):
                    out.write(block)
                    digest.update(block)
            if shard_samples:
                name = f"samples-{len(shards):03d}-{digest.hexdigest()[:8]}.npy"
                path.replace(work / name)
                shards.append(Shard(name, length, digest.hexdigest()))
        stream.finish()
    return checksums.text(), tuple(shards)


class _Blocks:
    """The bytes of decoded files, end to end; each file is compared with its SHA-256."""

    def __init__(
        self, kept: Sequence[Stored], checksums: Checksums, update: Callable[[int], None]
    ) -> None:
        self._blocks = self._checked(kept)
        self._checksums, self._update = checksums, update
        self._rest, self._done = memoryview(b""), 0

    def take(self, size: int) -> Iterator[memoryview]:
        """Yield the next ``size`` bytes in parts."""
        while size > 0:
            if not self._rest:
                self._rest = memoryview(next(self._blocks))
            part, self._rest = self._rest[:size], self._rest[size:]
            size -= len(part)
            self._checksums.add(part)
            self._done += len(part)
            self._update(self._done // 10**6)
            yield part

    def finish(self) -> None:
        """Compare the last file."""
        assert not list(self._blocks)

    @staticmethod
    def _checked(kept: Sequence[Stored]) -> Iterator[bytes]:
        for item in kept:
            digest = hashlib.sha256()
            for block in item.chunks():
                digest.update(block)
                yield block
            if digest.hexdigest() != item.file.sha256:
                raise CorpusError(
                    f"the stored samples of {item.file.source} are damaged; {item.remedy()}"
                )


def _read_exactly(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0:
        block = file.read(min(COPY_BYTES, size))
        if not block:
            return
        size -= len(block)
        yield block


def _recordings(
    files: Sequence[SourceFile],
    plan: Mapping[str, tuple[Piece, ...]],
    stored: StoredSamples,
    settings: Settings,
) -> tuple[Recording, ...]:
    recordings = []
    for file in files:
        for piece in plan[file.source]:
            start = file.start + piece.offset
            sha256, peak, dc = file.sha256, file.level(settings), file.dc(settings)
            if piece.samples < file.samples:
                sha256, lowest, highest = _measure(stored, start, piece.samples)
                unit = file.scale / 32768
                peak = max(highest * unit - dc, dc - lowest * unit)
            recordings.append(
                Recording(
                    file.source,
                    start,
                    piece.samples,
                    piece.split,
                    sha256,
                    file.scale,
                    peak,
                    piece.offset,
                    dc,
                )
            )
    return tuple(recordings)


def _measure(stored: StoredSamples, start: int, samples: int) -> tuple[str, int, int]:
    """Return the hash, the lowest and the highest sample of a stretch, read in parts."""
    digest, lowest, highest = hashlib.sha256(), 32767, -32768
    for chunk in stored.chunks(start, samples):
        digest.update(chunk)
        block = np.frombuffer(chunk, "<i2")
        lowest, highest = min(lowest, int(block.min())), max(highest, int(block.max()))
    return digest.hexdigest(), lowest, highest


def _rule(files: Sequence[SourceFile], recordings: Sequence[Recording], use_folders: bool) -> str:
    if use_folders:
        return BY_FOLDER
    return BY_PART if len(recordings) > len(files) else BY_RECORDING


def _changes(
    earlier: CorpusIndex | None, before: CorpusIndex | None, files: Sequence[SourceFile]
) -> list[str]:
    if earlier is None:
        return []
    warnings = []
    if before is None:
        warnings.append(
            "the settings differ from those of the corpus that was here: splits are new, "
            "and bits per sample cannot be compared with earlier ones"
        )
    gone = sorted({file.source for file in earlier.files} - {file.source for file in files})
    if gone:
        verb = "is" if len(gone) == 1 else "are"
        warnings.append(f"{plural(len(gone), 'earlier recording')} {verb} gone: {names(gone)}")
    return warnings
