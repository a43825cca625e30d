"""Search of a folder for sound files by name; no file is opened."""

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from samplewise.data.index import Skipped
from samplewise.data.remote import Folder, RemoteFolder
from samplewise.errors import CorpusError
from samplewise.kinds import SOUND_ENDINGS


@dataclass(frozen=True)
class Candidate:
    """A regular file with the name of a sound file."""

    path: str
    """Path for the operating system, bytes that are not UTF-8 as surrogates; or URL."""
    source: str
    """Path relative to the folder, with slashes, always valid UTF-8."""
    bytes: int
    """Size of the file."""
    modified_ns: int
    """Time of the last change, nanoseconds since 1970; of a URL, a number that changes with it."""


def source_name(relative: str) -> str:
    """Return a relative path as valid UTF-8, undecodable bytes as a backslash, x and hex."""
    return os.fsencode(relative).decode("utf-8", "backslashreplace").replace(os.sep, "/")


def walk(folder: Path, leave_out: Path) -> tuple[list[Candidate], list[Skipped]]:
    """List the sound files below ``folder``, sorted by name, and the files that are skipped.

    Links to files and folders are followed; each folder is entered once, so cycles end.

    Args:
        folder: The folder; or one file, which counts as sound whatever its name is.
        leave_out: A folder that is not entered, the output.

    Raises:
        CorpusError: If ``folder`` itself cannot be read.
    """
    if folder.is_file():
        status = folder.stat()
        name = source_name(folder.name)
        return [Candidate(str(folder), name, status.st_size, status.st_mtime_ns)], []
    if not folder.is_dir():
        raise CorpusError(
            f"{folder} is not a folder or a file; name the folder that holds the recordings, "
            "or one recording"
        )
    visit = _Walk(folder, leave_out)
    visit.run()
    visit.found.sort(key=lambda candidate: os.fsencode(candidate.path))
    visit.skipped.sort(key=lambda skipped: skipped.source)
    return visit.found, visit.skipped


def walk_remote(folder: RemoteFolder, leave_out: Folder) -> tuple[list[Candidate], list[Skipped]]:
    """List the sound files below a folder on an object store; see :func:`walk`.

    Raises:
        CorpusError: If the store cannot be listed, or holds nothing there.
    """
    found, skipped = [], []
    inside = f"{leave_out}/".removeprefix(f"{folder}/")
    files = folder.files()
    if not files:
        raise CorpusError(f"{folder} holds no files; name the folder that holds the recordings")
    for name, info in sorted(files.items()):
        if name.startswith(inside):
            continue
        hidden = next((part for part in name.split("/") if part.startswith(".")), "")
        if reason := _reason_to_skip(hidden or name.rpartition("/")[2], stat.S_IFREG):
            skipped.append(Skipped(name, reason))
        else:
            found.append(Candidate(str(folder / name), name, info["size"], _version(info)))
    return found, skipped


def _version(info: Mapping[str, object]) -> int:
    """Return a number that changes if a file is replaced, from what the store says of it."""
    names = ("ETag", "etag", "md5Hash", "LastModified", "updated", "last_modified", "mtime")
    values = [str(info[name]) for name in (*names, "created") if name in info]
    return int.from_bytes(hashlib.sha256("\n".join(values).encode()).digest()[:7], "big")


class _Walk:
    def __init__(self, folder: Path, leave_out: Path) -> None:
        self.found: list[Candidate] = []
        self.skipped: list[Skipped] = []
        self._root = str(folder)
        self._seen: dict[tuple[int, int], str] = {}
        if leave_out.exists():
            self._seen[_identity(leave_out.stat())] = "the corpus"

    def run(self) -> None:
        pending = [self._root]
        self._seen.setdefault(_identity(Path(self._root).stat()), "the folder itself")
        while pending:
            pending.extend(self._enter(pending.pop()))

    def _enter(self, folder: str) -> list[str]:
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            if folder == self._root:
                raise CorpusError(f"cannot list {folder}: {error.strerror}") from None
            self._skip(folder, f"cannot list the folder: {error.strerror}")
            return []
        return [entry.path for entry in entries if self._is_new_folder(entry)]

    def _is_new_folder(self, entry: "os.DirEntry[str]") -> bool:
        """Record one entry; return whether it is a folder to be entered."""
        try:
            status = entry.stat()
        except OSError as error:
            if not entry.name.startswith("."):
                self._skip(entry.path, f"a link that leads nowhere: {error.strerror}")
            return False
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFDIR:
            first = self._seen.setdefault(_identity(status), entry.path)
            if first == "the corpus":
                return False
            if first != entry.path:
                self._skip(entry.path, f"the same folder as {self._relative(first)}")
            elif entry.name.startswith("."):
                self._skip(entry.path, "a hidden folder")
            else:
                return True
            return False
        reason = _reason_to_skip(entry.name, kind)
        if reason:
            self._skip(entry.path, reason)
        else:
            self.found.append(
                Candidate(
                    entry.path, self._relative(entry.path), status.st_size, status.st_mtime_ns
                )
            )
        return False

    def _relative(self, path: str) -> str:
        inside = path.startswith(self._root)
        return source_name(os.path.relpath(path, self._root)) if inside else path

    def _skip(self, path: str, reason: str) -> None:
        self.skipped.append(Skipped(self._relative(path), reason))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _reason_to_skip(name: str, kind: int) -> str:
    if kind != stat.S_IFREG:
        names = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
        return f"{names.get(kind, 'a device')}, not a regular file"
    if name.startswith("."):
        return "a hidden file"
    ending = os.path.splitext(name)[1].lower()  # noqa: PTH122 - names that Path would change
    if ending not in SOUND_ENDINGS:
        return "not a sound file, by its name"
    return ""
