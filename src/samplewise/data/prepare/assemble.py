"""Writing of samples.npy and corpus.json from decoded files; both are replaced together."""

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
    WORK_FOLDER,
    CorpusIndex,
    Note,
    Recording,
    Settings,
    Skipped,
    SourceFile,
    corpus_digest,
)
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
from samplewise.data.stored import SAMPLE_BYTES, Checksums, repair
from samplewise.errors import CorpusError

PENDING_SAMPLES = "new-samples.npy"
COPY_BYTES = 2**20

Bar = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]
"""A function that opens a progress bar from a description and a total."""


@dataclass(frozen=True)
class Stored:
    """Decoded samples and their present place."""

    file: SourceFile
    """Properties of the file; ``start`` is not final yet."""
    path: Path
    """Path of a decoded part, or of the samples.npy of the earlier corpus."""
    position: int
    """First byte in ``path``."""
    is_earlier: bool
    """Whether the samples come from the earlier corpus."""


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
) -> CorpusIndex:
    """Write a corpus and replace the one in ``output``.

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
    checksums = _write_samples(work / PENDING_SAMPLES, kept, bar)
    recordings = _recordings(files, plan, work / PENDING_SAMPLES, settings)
    gain = peak_gain(max(file.level(settings) for file in files), settings.peak)
    all_skipped = tuple(sorted([*skipped, *copies], key=lambda item: item.source))
    summary = summarise(settings, files, recordings, all_skipped)
    warnings = warnings_about(settings, summary, files, recordings, all_skipped, use_folders)
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
        checksums=checksums,
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


def _write_samples(path: Path, kept: Sequence[Stored], bar: Bar) -> str:
    """Write samples.npy and return its checksums."""
    checksums = Checksums()
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
                checksums.add(block)
                done += len(block)
                update(done // 10**6)
            if digest.hexdigest() != item.file.sha256:
                remedy = f"delete {item.path.parent} and prepare again"
                raise CorpusError(
                    f"the stored samples of {item.file.source} in {item.path} are damaged; "
                    f"{repair(item.path.parent) if item.is_earlier else remedy}"
                )
    return checksums.text()


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
    files: Sequence[SourceFile],
    plan: Mapping[str, tuple[Piece, ...]],
    samples: Path,
    settings: Settings,
) -> tuple[Recording, ...]:
    recordings = []
    stored = np.load(samples, mmap_mode="r")
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


def _measure(stored: np.ndarray, start: int, samples: int) -> tuple[str, int, int]:
    """Return the hash, the lowest and the highest sample of a stretch, read in blocks."""
    digest, lowest, highest = hashlib.sha256(), 32767, -32768
    for first in range(start, start + samples, COPY_BYTES):
        block = np.ascontiguousarray(stored[first : min(first + COPY_BYTES, start + samples)])
        digest.update(block.data)
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
