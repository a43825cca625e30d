"""Labels: the speaker, or another class, of each recording of a corpus."""

import codecs
import csv
import hashlib
import io
import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import product
from pathlib import Path

from samplewise.data.corpus import Corpus
from samplewise.data.prepare.summary import names, plural
from samplewise.data.splits import folder_split
from samplewise.errors import CorpusError

FOLDERS = "folders"
SEPARATORS = ",;\t"
"""Separators of columns; the first one that fits the first line of a table is used."""
LINES_SHOWN = 10


def read_labels(place: str, corpus: Corpus) -> dict[str, str]:
    """Return the class of each recording, by its source.

    Args:
        place: ``folders`` if each class has a folder, else the path of a CSV file.
        corpus: Corpus of the recordings.

    Raises:
        CorpusError: If a recording has no class.
    """
    if place == FOLDERS:
        return labels_by_folder(corpus)
    return labels_from_csv(Path(place), corpus)


def located(place: str | None) -> str | None:
    """Return ``place`` in a form that is valid from any working folder."""
    return place if place in (None, FOLDERS) else str(Path(place).resolve())


def labels_digest(labels: Mapping[str, str]) -> str:
    """Return a SHA-256 over recordings and their classes."""
    return hashlib.sha256(json.dumps(sorted(labels.items())).encode()).hexdigest()


def labels_by_folder(corpus: Corpus) -> dict[str, str]:
    """Return the folder of each recording: the first of its path, after ``train`` and the like.

    Raises:
        CorpusError: If a recording lies in no such folder.
    """
    labels = {}
    for source in {recording.source for recording in corpus.recordings}:
        *folders, _ = source.split("/")
        rest = folders[1:] if folder_split(source) else folders
        if rest:
            labels[source] = rest[0]
    return _complete(corpus, labels, "put the recordings of each into a folder of their own")


def labels_from_csv(path: Path, corpus: Corpus) -> dict[str, str]:
    """Return the speaker of each recording from a table with the columns file and speaker.

    Commas, semicolons or tabs separate the columns. A path may have backslashes, begin in another
    folder, have another case or Unicode form, or be a name alone, if one recording fits.

    Args:
        path: The table; other columns, and files that are not in the corpus, are ignored.
        corpus: Corpus of the recordings.

    Raises:
        CorpusError: If there is no such file, it is neither UTF-8 nor UTF-16, a column or a
            recording is missing in it, or two lines contradict each other.
    """
    known = _Names({recording.source for recording in corpus.recordings})
    best: dict[str, tuple[int, int, str]] = {}
    idle = []
    for line, name, speaker in _rows(path):
        rank, sources = known.find(name)
        if len(sources) != 1 or not speaker:
            fault = f"{len(sources)} recordings" if sources else "not in the corpus"
            idle.append(f"line {line}: {name} ({fault if len(sources) != 1 else 'no speaker'})")
            continue
        (source,) = sources
        earlier = best.get(source)
        if earlier is None or rank < earlier[0]:
            best[source] = rank, line, speaker
        elif rank == earlier[0] and speaker != earlier[2]:
            raise CorpusError(
                f"{path}: {source} is of {earlier[2]!r} in line {earlier[1]} and of {speaker!r} in "
                f"line {line}; keep one"
            )
    remedy = f"add them to {path}"
    if idle:
        remedy += (
            f". {plural(len(idle), 'line')} of it could not be used: {names(idle, LINES_SHOWN)}"
        )
    return _complete(corpus, {source: entry[2] for source, entry in best.items()}, remedy)


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield the number, the file and the speaker of each line."""
    text = _text(path)
    lines = (line for line in text.splitlines() if line.strip(SEPARATORS + " "))
    first = next((line for line in lines if not line.startswith("sep=")), "")  # Excel writes it
    columns, separator = _columns(path, first)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row] + [""] * len(columns)
            name, speaker = cells[columns.index("file")], cells[columns.index("speaker")]
            if name and _folded(row) != columns:
                yield reader.line_num, name, unicodedata.normalize("NFC", speaker)
    except csv.Error as error:
        raise CorpusError(f"{path}, line {reader.line_num}: {error}; is it a CSV file?") from None


def _columns(path: Path, first: str) -> tuple[list[str], str]:
    """Return the names of the columns, in small letters, and their separator."""
    for separator in SEPARATORS:
        cells = next(csv.reader([first], delimiter=separator, skipinitialspace=True), [])
        if {"file", "speaker"} <= set(_folded(cells)):
            return _folded(cells), separator
    raise CorpusError(
        f"{path} has no columns file and speaker: it begins with {first[:60]!r}; "
        "its first line must name them"
    )


def _folded(cells: Sequence[str]) -> list[str]:
    return [cell.strip().lower() for cell in cells]


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CorpusError(
            f"{path} does not exist; name a CSV with the columns file and speaker, or `{FOLDERS}`"
        ) from None
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise CorpusError(
            f"{path} is not UTF-8 (byte 0x{data[error.start]:02x} in line {line}); save it as UTF-8"
        ) from None
    if "\0" in text:
        raise CorpusError(f"{path} is not UTF-8 (it holds bytes 0x00); save it as UTF-8")
    return text


class _Names:
    """An index that finds recordings by other forms of their paths."""

    def __init__(self, sources: Set[str]) -> None:
        self._sources = sources
        self._whole: dict[tuple[bool, tuple[str, ...]], set[str]] = {}
        self._ends: dict[tuple[bool, tuple[str, ...]], set[str]] = {}
        for source, fold in product(sources, (False, True)):
            parts = _parts(source, fold)
            self._whole.setdefault((fold, parts), set()).add(source)
            for first in range(1, len(parts)):
                self._ends.setdefault((fold, parts[first:]), set()).add(source)

    def find(self, name: str) -> tuple[int, Set[str]]:
        """Return a distance between ``name`` and the sources that fit, and these sources."""
        if name in self._sources:
            return 0, {name}
        for fold in (False, True):
            parts = _parts(name, fold)
            for first in range(len(parts)):
                sources = self._whole.get((fold, parts[first:]))
                if sources:
                    return 1 + 3 * fold + (first > 0), sources
            sources = self._ends.get((fold, parts))
            if sources:
                return 3 + 3 * fold, sources
        return 0, set()


def _parts(name: str, fold: bool) -> tuple[str, ...]:
    path = unicodedata.normalize("NFC", name.casefold() if fold else name).replace("\\", "/")
    return tuple(part for part in path.split("/") if part not in ("", "."))


def _complete(corpus: Corpus, labels: dict[str, str], remedy: str) -> dict[str, str]:
    without = sorted({r.source for r in corpus.recordings} - labels.keys())
    if without:
        verb = "has" if len(without) == 1 else "have"
        raise CorpusError(
            f"{plural(len(without), 'recording')} of {corpus.folder} {verb} no speaker: "
            f"{names(without)}; {remedy}"
        )
    return labels
