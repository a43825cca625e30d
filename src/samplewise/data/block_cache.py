"""Blocks of remote corpora that were read before, in a folder of bounded size."""

import contextlib
import os
import threading
from pathlib import Path

from samplewise.atomic_io import TEMPORARY_PREFIX

FOLDER_VARIABLE, SIZE_VARIABLE = "SAMPLEWISE_CACHE", "SAMPLEWISE_CACHE_GB"
DEFAULT_GB = 20.0
KEPT = 7 / 8
"""Share of the bound that remains after blocks were removed."""
LOOK_AFTER = 1 / 64
"""Share of the bound that a process writes before it looks at the folder: eight processes that
share the folder stay below the bound."""
BLOCKS_PER_FOLDER = 256


def cache_folder() -> Path:
    """Return the folder of what can be downloaded again: $SAMPLEWISE_CACHE, or one at home."""
    if place := os.environ.get(FOLDER_VARIABLE):
        return Path(place)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "samplewise"


def cache_bytes() -> int:
    """Return the bound of the cache in bytes: $SAMPLEWISE_CACHE_GB, else 20 GB.

    Raises:
        ValueError: If the variable is no number, or negative.
    """
    text = os.environ.get(SIZE_VARIABLE, str(DEFAULT_GB))
    try:
        size = float(text)
    except ValueError:
        size = -1.0
    if not 0 <= size < 1e9:
        raise ValueError(f"{SIZE_VARIABLE} = {text!r} must be a number of gigabytes, 0 or more")
    return int(size * 1e9)


class BlockCache:
    """Blocks of one corpus; several processes may share the folder.

    The least recently used blocks of all corpora are removed. A cache that cannot be written (a
    full disk) keeps nothing, which costs time alone.
    """

    def __init__(self, root: Path, corpus: str, bound: int) -> None:
        """Keep the blocks of a corpus below ``root``.

        Args:
            root: Folder of the blocks of all corpora.
            corpus: Digest of the corpus.
            bound: Most bytes of all corpora; 0: nothing is kept.
        """
        self._root, self._place, self._bound = root, root / corpus[:32], bound
        self._written = bound  # so that the first block makes it look at the folder

    def get(self, block: int) -> bytes | None:
        """Return a block, if it is there."""
        path = self._path(block)
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        return data

    def put(self, block: int, data: bytes) -> None:
        """Keep a block."""
        if len(data) > self._bound * LOOK_AFTER:
            return
        path = self._path(block)
        temporary = path.with_name(
            f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}-{threading.get_ident()}"
        )
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.write_bytes(data)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        self._written += len(data)
        if self._written > self._bound * LOOK_AFTER:
            self._written = 0
            self._shrink()

    def drop(self, block: int) -> bool:
        """Remove a block; return whether it was there."""
        try:
            self._path(block).unlink()
        except OSError:
            return False
        return True

    def _path(self, block: int) -> Path:
        return self._place / str(block // BLOCKS_PER_FOLDER) / str(block)

    def _shrink(self) -> None:
        """Remove the least recently used blocks until ``KEPT`` of the bound remains."""
        found = []
        for path in self._root.glob("*/*/*"):
            with contextlib.suppress(OSError):
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self._bound * KEPT:
                return
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size
