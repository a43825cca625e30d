"""Labels: the speaker, or another class, of each recording of a corpus."""

import csv
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from samplewise.data.corpus import Corpus
from samplewise.data.splits import folder_split
from samplewise.errors import CorpusError

FOLDERS = "folders"


def read_labels(words: str, corpus: Corpus) -> dict[str, str]:
    """Return the class of each recording, by its source.

    Args:
        words: ``folders`` if each class has a folder, else the path of a CSV file.
        corpus: Whose recordings.

    Raises:
        CorpusError: If a recording has none.
    """
    if words == FOLDERS:
        return labels_by_folder(corpus)
    return labels_from_csv(Path(words), corpus)


def located(words: str | None) -> str | None:
    """Return what finds the same labels from any folder."""
    return words if words in (None, FOLDERS) else str(Path(words).resolve())


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
    """Return what a CSV file with the columns file and speaker says.

    Args:
        path: Other columns, and files that are not in the corpus, do not matter.
        corpus: ``file`` is a path within the folder that it was prepared from.

    Raises:
        CorpusError: If there is no such file, or a column or a recording is missing in it.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            missing = {"file", "speaker"} - set(rows.fieldnames or ())
            if missing:
                raise CorpusError(
                    f"{path} has no column {' and '.join(sorted(missing))}; "
                    "its first line must name the columns file and speaker"
                )
            named = {row["file"]: row["speaker"] for row in rows if row["speaker"]}
    except FileNotFoundError:
        raise CorpusError(
            f"{path} does not exist; name a CSV with the columns file and speaker, or `{FOLDERS}`"
        ) from None
    labels = {r.source: named[r.source] for r in corpus.recordings if r.source in named}
    return _complete(corpus, labels, f"add them to {path}")


def _complete(corpus: Corpus, labels: dict[str, str], remedy: str) -> dict[str, str]:
    without = sorted({r.source for r in corpus.recordings} - labels.keys())
    if without:
        raise CorpusError(
            f"{len(without)} recordings of {corpus.folder} have no speaker, first {without[0]}; "
            f"{remedy}"
        )
    return labels
