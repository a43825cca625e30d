"""Puts decoded files together as samples.npy and corpus.json, and replaces both as one."""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from samplewise.audio.level import peak_gain
from samplewise.data.index import (
    FORMAT,
    INDEX,
    PENDING_INDEX,
    SAMPLES,
    WORK_FOLDER,
    CorpusIndex,
    Note,
    Recording,
    Settings,
    Skipped,
    SourceFile,
    corpus_digest,
)
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
from samplewise.data.summary import names, summarise, warnings_about
from samplewise.durable import atomic_writer, fsync_folder, write_json
from samplewise.errors import CorpusError

PENDING_SAMPLES = "new-samples.npy"
COPY_BYTES = 2**20
SAMPLE_BYTES = 2

Bar = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]
"""Makes a progress bar from a description and a total, as cli/progress.py does."""


@dataclass(frozen=True)
class Stored:
    """Decoded samples and where they lie now."""

    file: SourceFile
    """Facts; ``start`` is not settled yet."""
    path: Path
    """A part, or the samples.npy of the earlier corpus."""
    position: int
    """First byte in ``path``."""
    is_earlier: bool
    """Taken over from the earlier corpus."""


def without_copies(stored: Sequence[Stored]) -> tuple[list[Stored], list[Skipped]]:
    """Keep identical audio once: what was there before, then what is held out, then by name."""
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
            reason = f"same audio as {source}"
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
) -> CorpusIndex:
    """Write a corpus and replace the one in ``output``.

    Raises:
        CorpusError: If nothing is usable, or stored samples are damaged.
        OSError: If it cannot be written; the earlier corpus is then as it was.
    """
    kept, copies = without_copies(stored)
    if not kept:
        raise CorpusError(_nothing_usable(skipped))
    files = _lay_out([item.file for item in kept])
    before = earlier if earlier is not None and earlier.settings == settings else None
    plan = _plan(settings, files, before, use_folders)
    work = output / WORK_FOLDER
    _write_samples(work / PENDING_SAMPLES, kept, bar)
    recordings = _recordings(files, plan, work / PENDING_SAMPLES)
    gain = peak_gain(max(file.peak for file in files))
    all_skipped = tuple(sorted([*skipped, *copies], key=lambda item: item.source))
    summary = summarise(settings.sample_rate, files, recordings, all_skipped)
    warnings = warnings_about(settings.sample_rate, summary, files, recordings)
    index = CorpusIndex(
        format=FORMAT,
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
    )
    write_json(work / PENDING_INDEX, asdict(index))  # from here on the new corpus is the corpus
    finish_pending(output)
    return index


def finish_pending(output: Path) -> None:
    """Replace the corpus by a complete new one that waits in the work folder; clean up."""
    work = output / WORK_FOLDER
    if (work / PENDING_INDEX).exists():
        if (work / PENDING_SAMPLES).exists():
            (work / PENDING_SAMPLES).replace(output / SAMPLES)
            fsync_folder(output)
        (work / PENDING_INDEX).replace(output / INDEX)
        fsync_folder(output)
        shutil.rmtree(work)
    elif work.exists():
        (work / PENDING_SAMPLES).unlink(missing_ok=True)


def _nothing_usable(skipped: Sequence[Skipped]) -> str:
    sound = [item for item in skipped if "by its name" not in item.reason]
    if not sound:
        return (
            "there is no sound file in the folder; "
            "WAV, FLAC, OGG, MP3 and AIFF are read, nested folders too"
        )
    shown = "; ".join(f"{item.source}: {item.reason}" for item in sound[:3])
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
    by_content = split_by_recording(lengths, shares, settings.sample_rate, earlier)
    return {file.source: by_content[file.sha256] for file in files}


def _earlier_pieces(
    files: Sequence[SourceFile], before: CorpusIndex
) -> dict[str, tuple[Piece, ...]]:
    """Return what was decided before: for the same content, or for a file changed in place."""
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


def _write_samples(path: Path, kept: Sequence[Stored], bar: Bar) -> None:
    samples = sum(item.file.samples for item in kept)
    total = SAMPLE_BYTES * samples
    done = 0
    with atomic_writer(path, total + 128) as out, bar("writing (MB)", total // 10**6) as update:
        header = {"descr": "<i2", "fortran_order": False, "shape": (samples,)}
        np.lib.format.write_array_header_1_0(out, header)
        for item in kept:
            digest = hashlib.sha256()
            for block in _chunks(item):
                out.write(block)
                digest.update(block)
                done += len(block)
                update(done // 10**6)
            if digest.hexdigest() != item.file.sha256:
                raise CorpusError(
                    f"the stored samples of {item.file.source} in {item.path} are damaged; "
                    f"delete {item.path.parent} and prepare again"
                )


def _chunks(item: Stored) -> Iterator[bytes]:
    with item.path.open("rb") as file:
        file.seek(item.position)
        yield from _read_exactly(file, SAMPLE_BYTES * item.file.samples)


def _read_exactly(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0:
        block = file.read(min(COPY_BYTES, size))
        if not block:
            return
        size -= len(block)
        yield block


def _recordings(
    files: Sequence[SourceFile], plan: Mapping[str, tuple[Piece, ...]], samples: Path
) -> tuple[Recording, ...]:
    recordings = []
    stored = np.load(samples, mmap_mode="r")
    for file in files:
        for piece in plan[file.source]:
            start = file.start + piece.offset
            sha256, peak = file.sha256, file.peak
            if piece.samples < file.samples:
                sha256, largest = _measure(stored, start, piece.samples)
                peak = largest / 32768 * file.scale
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
                )
            )
    return tuple(recordings)


def _measure(stored: np.ndarray, start: int, samples: int) -> tuple[str, int]:
    """Return the hash and the largest magnitude of a stretch, read in blocks."""
    digest, largest = hashlib.sha256(), 0
    for first in range(start, start + samples, COPY_BYTES):
        block = np.ascontiguousarray(stored[first : min(first + COPY_BYTES, start + samples)])
        digest.update(block.data)
        largest = max(largest, int(block.max()), -int(block.min()))
    return digest.hexdigest(), largest


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
        warnings.append(f"{len(gone)} earlier recordings are gone: {names(gone)}")
    return warnings
