"""Folders on object stores, named by a URL such as s3://bucket/corpus; read through fsspec."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from samplewise.errors import CorpusError

Result = TypeVar("Result")
URL = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
REQUESTS, PAUSE_S = 4, 1.0
"""How often a request is made at most, and seconds before the second; each later pause is twice as
long."""
PIECE_BYTES = 2**23
"""Bytes per request where a whole file is read or written."""


@dataclass(frozen=True)
class RemoteFolder:
    """A folder, or a file, on an object store; as much of a ``Path`` as corpora need."""

    url: str
    """URL without a slash at its end."""

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> "RemoteFolder":
        return RemoteFolder(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        """Last part of the URL."""
        return self.url.rpartition("/")[2]

    def resolve(self) -> "RemoteFolder":
        """Return the same folder: a URL is absolute."""
        return self

    def sizes(self) -> dict[str, int]:
        """Return the size in bytes of each file in this folder, by its name.

        Raises:
            CorpusError: If the store cannot be listed.
        """
        return {name: info["size"] for name, info in self.files(depth=1).items() if "/" not in name}

    def files(self, depth: int | None = None) -> dict[str, dict[str, Any]]:
        """Return what the store says of each file below, by its path relative to this folder.

        Raises:
            CorpusError: If the store cannot be listed.
        """

        def listed(system: Any, path: str) -> dict[str, dict[str, Any]]:
            system.invalidate_cache()
            root = path.rstrip("/") + "/"
            found = system.find(path, maxdepth=depth, detail=True)
            return {
                name.removeprefix(root): info
                for name, info in found.items()
                if name.startswith(root) and info["type"] == "file"
            }

        try:
            return self._ask("list", listed)
        except FileNotFoundError:
            return {}

    def read(self, first: int, last: int) -> bytes:
        """Return the bytes from ``first`` to ``last``, exclusive.

        Raises:
            FileNotFoundError: If there is no such file.
            CorpusError: If it cannot be read.
        """
        return self._ask("read", lambda system, path: system.cat_file(path, start=first, end=last))

    def read_bounded(self, most: int) -> bytes:
        """Return the whole file; ValueError if it is larger than ``most`` bytes."""
        if (size := self._ask("read", lambda system, path: system.size(path))) > most:
            raise ValueError(f"it is larger than {most / 2**20:g} MiB")
        return self.read(0, size)

    def download(self, target: Path, tick: Callable[[], None] = lambda: None) -> None:
        """Copy the file to ``target``.

        Args:
            target: File on this machine.
            tick: Called after each piece.
        """
        size = self._ask("read", lambda system, path: system.size(path))
        with target.open("wb") as file:
            for first in range(0, size, PIECE_BYTES):
                file.write(self.read(first, min(first + PIECE_BYTES, size)))
                tick()

    def upload(self, source: Path) -> None:
        """Copy a file of this machine here; it appears whole or not at all."""
        self._ask("write", lambda system, path: system.put_file(str(source), path))

    def remove(self) -> None:
        """Remove the file."""
        self._ask("remove", lambda system, path: system.rm_file(path))

    def _ask(self, verb: str, request: Callable[[Any, str], Result]) -> Result:
        """Return the answer to a request; the store may be out of reach for some seconds."""
        system, path = self._system()
        count = 1
        while True:
            try:
                return request(system, path)
            except FileNotFoundError as error:
                raise FileNotFoundError(f"{self.url} does not exist") from error
            except Exception as error:  # each store has errors of its own
                if count == REQUESTS or isinstance(error, PermissionError | NotImplementedError):
                    raise CorpusError(f"cannot {verb} {self.url}: {_words(error)}") from error
            time.sleep(PAUSE_S * 2 ** (count - 1))
            count += 1

    def _system(self) -> tuple[Any, str]:
        try:
            from fsspec.core import url_to_fs

            return url_to_fs(self.url)
        except ImportError as error:
            scheme = URL.match(self.url)
            extra = "; pip install 'samplewise[s3]'" if scheme and scheme[1] == "s3" else ""
            raise CorpusError(
                f"{self.url} needs a package that is not installed ({_words(error)}){extra}"
            ) from None
        except Exception as error:  # no such protocol, no credentials
            raise CorpusError(f"{self.url} cannot be used: {_words(error)}") from error


Folder = Path | RemoteFolder


def as_folder(place: "str | Folder") -> Folder:
    """Return a path, or for a URL other than file:// a folder on an object store."""
    if not isinstance(place, str):
        return place
    found = URL.match(place)
    if found is None:
        return Path(place)
    if found[1].lower() == "file":
        return Path(unquote(place[found.end() :]))
    return RemoteFolder(place.rstrip("/"))


@contextmanager
def on_this_machine(
    path: str, beside: Path, tick: Callable[[], None] = lambda: None
) -> Iterator[Path]:
    """Give a file of this machine: ``path`` itself, or for a URL a copy, which is then removed.

    Args:
        path: Path or URL of the file.
        beside: The copy is in the same folder.
        tick: Called after each piece.
    """
    place = as_folder(path)
    if isinstance(place, Path):
        yield place
        return
    copy = beside.with_name(f"{beside.name}.copy")
    try:
        place.download(copy, tick)
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def _words(error: Exception) -> str:
    return str(error).strip().replace("\n", " ") or type(error).__name__
