"""The files that hold the samples of a corpus: on this machine, or on an object store."""

import io
import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from samplewise.data.block_cache import BlockCache, cache_bytes, cache_folder
from samplewise.data.index import Shard
from samplewise.data.remote import PIECE_BYTES, Folder, RemoteFolder
from samplewise.errors import CorpusError

SAMPLE_BYTES = 2
BLOCK_BYTES = 2**19
"""Length of a block that has a checksum; 16 s at 16 kHz."""
HEADER_BYTES = 128
"""Length of the header that NumPy writes before a flat array."""
MAX_READ_BYTES = 2**30
"""Maximum of bytes per read; the system returns at most 2 GiB."""
BLOCKS = "blocks"
"""Folder of the blocks of remote corpora in the cache."""


class Part(ABC):
    """One file of samples. Positions are bytes after its header."""

    def __init__(self, name: str, samples: int) -> None:
        self.name, self.samples = name, samples

    is_there = True

    @abstractmethod
    def read(self, first: int, last: int) -> bytes:
        """Return some bytes; they may come from a copy."""

    @abstractmethod
    def fetch(self, first: int, last: int) -> bytes:
        """Return some bytes as they are stored now."""

    def forget(self, first: int, last: int) -> bool:
        """Remove copies of some bytes; return whether there were any."""
        return False


class LocalPart(Part):
    """A file on this machine; it stays open, whatever takes its name later."""

    def __init__(self, path: Path, offset: int, samples: int) -> None:
        super().__init__(path.name, samples)
        self._path, self._offset = path, offset
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, first: int, last: int) -> bytes:
        """Return some bytes."""
        return b"".join(self._pieces(first, last))

    fetch = read

    def _pieces(self, first: int, last: int) -> Iterator[bytes]:
        while first < last:
            wanted = min(last - first, MAX_READ_BYTES)
            piece = os.pread(self._descriptor, wanted, self._offset + first)
            if not piece:
                raise CorpusError(
                    f"{self._path} was cut short after it was opened; {repair(self._path.parent)}"
                )
            yield piece
            first += len(piece)


class RemotePart(Part):
    """A file on an object store; blocks that were read are kept in a cache."""

    def __init__(
        self, folder: RemoteFolder, name: str, samples: int, block: int, cache: BlockCache
    ) -> None:
        """Read from ``folder``.

        Args:
            folder: The corpus.
            name: Name of the file.
            samples: Its samples.
            block: Number of its first block among those of the corpus.
            cache: Where copies are kept.
        """
        super().__init__(name, samples)
        self._folder, self._file = folder, folder / name
        self._block, self._cache = block, cache

    def read(self, first: int, last: int) -> bytes:
        """Return some bytes; whole blocks are fetched, neighbours in one request."""
        begin, end = first // BLOCK_BYTES, -(-last // BLOCK_BYTES)
        found = {block: self._cache.get(self._block + block) for block in range(begin, end)}
        missing = [block for block in range(begin, end) if found[block] is None]
        most = max(1, PIECE_BYTES // BLOCK_BYTES)
        while missing:
            count = 1
            while count < min(most, len(missing)) and missing[count] == missing[0] + count:
                count += 1
            start = missing[0] * BLOCK_BYTES
            stop = min(start + count * BLOCK_BYTES, self.samples * SAMPLE_BYTES)
            data = self.fetch(start, stop)
            for number in range(count):
                block = missing[0] + number
                found[block] = own = data[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]
                self._cache.put(self._block + block, own)
            missing = missing[count:]
        whole = b"".join(data for data in found.values() if data is not None)
        return whole[first - begin * BLOCK_BYTES : last - begin * BLOCK_BYTES]

    def fetch(self, first: int, last: int) -> bytes:
        """Return some bytes from the store."""
        try:
            data = self._file.read(HEADER_BYTES + first, HEADER_BYTES + last)
        except FileNotFoundError:
            raise CorpusError(
                f"{self._file} is gone: the corpus was prepared anew, or removed"
            ) from None
        if len(data) != last - first:
            raise CorpusError(f"{self._file} is cut short; {repair(self._folder)}")
        return data

    def forget(self, first: int, last: int) -> bool:
        """Remove the copies of some blocks."""
        blocks = range(first // BLOCK_BYTES, -(-last // BLOCK_BYTES))
        return sum(self._cache.drop(self._block + block) for block in blocks) > 0


class MissingPart(Part):
    """A file that is missing or damaged."""

    is_there = False

    def __init__(self, shard: Shard, fault: CorpusError) -> None:
        super().__init__(shard.file, shard.samples)
        self._fault = fault

    def read(self, first: int, last: int) -> bytes:
        """Raise what is wrong with the file."""
        raise self._fault

    fetch = read


def repair(folder: Folder) -> str:
    """Return the advice for damaged samples."""
    return f"`samplewise prepare RECORDINGS -o {folder} --verify` decodes what is damaged again"


def header(samples: int) -> bytes:
    """Return the header of a file of samples, as NumPy writes it."""
    out = io.BytesIO()
    shape = {"descr": "<i2", "fortran_order": False, "shape": (samples,)}
    np.lib.format.write_array_header_1_0(out, shape)
    return out.getvalue()


def open_parts(
    folder: Folder, shards: Sequence[Shard], digest: str, lenient: bool, single: str
) -> list[Part]:
    """Open the files of a corpus; see :class:`~samplewise.data.stored.StoredSamples`."""
    if isinstance(folder, RemoteFolder):
        sizes = folder.sizes()
        cache = BlockCache(cache_folder() / BLOCKS, digest, cache_bytes())
        if not shards:
            shards = [Shard(single, (sizes.get(single, 0) - HEADER_BYTES) // SAMPLE_BYTES, "")]

        def open_remote(shard: Shard, block: int) -> Part:
            return RemotePart(folder, shard.file, shard.samples, block, cache)

        opened = open_remote
    elif shards:
        sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}

        def open_local(shard: Shard, block: int) -> Part:
            return LocalPart(folder / shard.file, HEADER_BYTES, shard.samples)

        opened = open_local
    else:
        path = folder / single
        offset, samples = _layout(path)
        return [LocalPart(path, offset, samples)]
    return _open_shards(folder, shards, sizes, opened, lenient)


def _open_shards(
    folder: Folder,
    shards: Sequence[Shard],
    sizes: dict[str, int],
    opened: Callable[[Shard, int], Part],
    lenient: bool,
) -> list[Part]:
    parts, block = [], 0
    for number, shard in enumerate(shards, 1):
        needed = HEADER_BYTES + shard.samples * SAMPLE_BYTES
        found = sizes.get(shard.file)
        if found == needed:
            parts.append(opened(shard, block))
        else:
            what = "is missing" if found is None else f"has {found:,} bytes, not {needed:,}"
            fault = CorpusError(
                f"{folder / shard.file} {what} (file {number} of {len(shards)}); {repair(folder)}"
            )
            if not lenient:
                raise fault
            parts.append(MissingPart(shard, fault))
        block += -(-shard.samples * SAMPLE_BYTES // BLOCK_BYTES)
    return parts


def _layout(path: Path) -> tuple[int, int]:
    """Return the size of the header of samples.npy in bytes, and how many samples follow."""
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise CorpusError(f"{path} is missing; prepare the corpus again") from None
    except (ValueError, EOFError, SyntaxError) as error:
        raise CorpusError(f"{path} is damaged ({error}); prepare the corpus again") from None
    if not isinstance(stored, np.memmap) or stored.ndim != 1 or stored.dtype != np.dtype("<i2"):
        raise CorpusError(
            f"{path} must be one flat array of 16-bit samples; prepare the corpus again"
        )
    return stored.offset, len(stored)
