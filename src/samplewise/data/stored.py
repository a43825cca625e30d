"""Reading of the samples of a corpus in parts; each block is compared once with its checksum."""

import hashlib
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np
from jaxtyping import Int16

from samplewise.data.index import SAMPLES, Shard, SourceFile
from samplewise.data.parts import BLOCK_BYTES, SAMPLE_BYTES, Part, open_parts, repair
from samplewise.data.prepare.summary import names
from samplewise.data.remote import Folder
from samplewise.errors import CorpusError

DIGITS = 8
"""Number of hexadecimal digits of a checksum."""
CHUNK_BYTES = 2**22
"""Length of the parts in which whole recordings are read."""


class Checksums:
    """The CRC-32 of each block of a stream of bytes."""

    def __init__(self) -> None:
        self._done: list[str] = []
        self._sum = self._size = 0

    def add(self, data: bytes | memoryview) -> None:
        """Add the next bytes."""
        view = memoryview(data)
        while view:
            part = view[: BLOCK_BYTES - self._size]
            self._sum, self._size = zlib.crc32(part, self._sum), self._size + len(part)
            view = view[len(part) :]
            if self._size == BLOCK_BYTES:
                self._close()

    def text(self) -> str:
        """Return the checksums of all blocks, the last one too, in hexadecimal."""
        if self._size:
            self._close()
        return "".join(self._done)

    def _close(self) -> None:
        self._done.append(f"{self._sum:0{DIGITS}x}")
        self._sum = self._size = 0


class StoredSamples:
    """The samples of a corpus, in one file or in shards; a slice is read from the files.

    Chosen: the files are not mapped into memory. If a mapped file is truncated or its disk fails,
    the system kills the process; a read gives an error.
    """

    def __init__(
        self,
        folder: Folder,
        checksums: str = "",
        files: Sequence[SourceFile] = (),
        shards: Sequence[Shard] = (),
        *,
        digest: str = "",
        lenient: bool = False,
        single: str = SAMPLES,
    ) -> None:
        """Open the files in ``folder``.

        Args:
            folder: The corpus.
            checksums: Checksums from :class:`Checksums`; empty if there are none.
            files: Files of the samples, named in errors.
            shards: The shards; empty if there is one file.
            digest: Digest of the corpus; the cache of a remote one is found by it.
            lenient: Open what is sound; :meth:`holds` and :meth:`damaged` tell what is not.
            single: Name of the one file.

        Raises:
            CorpusError: If a file is missing, truncated or not one flat int16 array.
        """
        self.folder, self._files, self._checksums = folder, files, checksums
        self._parts = open_parts(folder, shards, digest, lenient, single)
        self._ends = list(accumulate(part.samples * SAMPLE_BYTES for part in self._parts))
        self._unchecked = bytearray(b"\1" * (len(checksums) // DIGITS))

    def __len__(self) -> int:
        return self._ends[-1] // SAMPLE_BYTES

    def __getitem__(self, part: slice) -> Int16[np.ndarray, " samples"]:
        """Read a contiguous slice; each block is checked the first time that it is touched.

        Raises:
            CorpusError: If a file is damaged there, or was cut short after it was opened.
        """
        start, stop, _ = part.indices(len(self))
        first, last = start * SAMPLE_BYTES, stop * SAMPLE_BYTES
        blocks = range(first // BLOCK_BYTES, -(-last // BLOCK_BYTES))
        new = [block for block in blocks if self._unchecked[block : block + 1] == b"\1"]
        begin = first if not new else min(first, new[0] * BLOCK_BYTES)
        end = last if not new else max(last, min((new[-1] + 1) * BLOCK_BYTES, self._ends[-1]))
        data = self._read(begin, end)
        for block in new:
            at = block * BLOCK_BYTES - begin
            if not self._is_as_written(block, memoryview(data)[at : at + BLOCK_BYTES]):
                if not self._is_sound_without_copies(block):
                    raise CorpusError(self._damage(block))
                return self[part]  # fetched again
            self._unchecked[block] = 0
        whole = np.frombuffer(data, "<i2")
        return whole[(first - begin) // SAMPLE_BYTES : (last - begin) // SAMPLE_BYTES]

    def chunks(self, start: int, samples: int) -> Iterator[bytes]:
        """Yield the bytes of a stretch as they are stored now, in small parts, unchecked.

        Raises:
            CorpusError: If they cannot be read.
        """
        first, last = start * SAMPLE_BYTES, (start + samples) * SAMPLE_BYTES
        for begin in range(first, last, CHUNK_BYTES):
            yield self._read(begin, min(begin + CHUNK_BYTES, last), past_copies=True)

    def holds(self, file: SourceFile) -> bool:
        """Return whether all the files that hold samples of ``file`` are there."""
        first, last = file.start * SAMPLE_BYTES, (file.start + file.samples) * SAMPLE_BYTES
        return last <= self._ends[-1] and all(
            part.is_there for part, _, _ in self._touched(first, last)
        )

    def damaged(self, files: Sequence[SourceFile]) -> list[str]:
        """Return the sources of the files whose samples do not match their SHA-256."""
        return [file.source for file in files if not self._is_sound(file)]

    def _is_sound(self, file: SourceFile) -> bool:
        digest = hashlib.sha256()
        if not self.holds(file):
            return False
        for chunk in self.chunks(file.start, file.samples):
            digest.update(chunk)
        return digest.hexdigest() == file.sha256

    def _is_as_written(self, block: int, data: memoryview) -> bool:
        expected = self._checksums[DIGITS * block : DIGITS * (block + 1)]
        return f"{zlib.crc32(data):0{DIGITS}x}" == expected

    def _damage(self, block: int) -> str:
        """Return the message for a block that is damaged."""
        first = block * BLOCK_BYTES
        last = min(first + BLOCK_BYTES, self._ends[-1])
        touched = [
            file
            for file in self._files
            if SAMPLE_BYTES * file.start < last
            and SAMPLE_BYTES * (file.start + file.samples) > first
        ]
        part, _, _ = next(self._touched(first, last))
        sources = self.damaged(touched) or [file.source for file in touched]
        return damage(self.folder, sources, part.name)

    def _is_sound_without_copies(self, block: int) -> bool:
        """Remove the copies of a block; return whether there were any and the original is sound."""
        first = block * BLOCK_BYTES
        last = min(first + BLOCK_BYTES, self._ends[-1])
        had_copies = [part.forget(begin, end) for part, begin, end in self._touched(first, last)]
        return any(had_copies) and self._is_as_written(
            block, memoryview(self._read(first, last, past_copies=True))
        )

    def _touched(self, first: int, last: int) -> Iterator[tuple[Part, int, int]]:
        """Yield the files of a stretch of bytes, and where the stretch begins and ends in each."""
        index = bisect_right(self._ends, first)
        while first < last:
            part, begin = self._parts[index], self._ends[index - 1] if index else 0
            until = min(last, self._ends[index])
            yield part, first - begin, until - begin
            first, index = until, index + 1

    def _read(self, first: int, last: int, past_copies: bool = False) -> bytes:
        pieces = [
            part.fetch(begin, end) if past_copies else part.read(begin, end)
            for part, begin, end in self._touched(first, last)
        ]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def damage(folder: Folder, sources: Sequence[str], name: str = SAMPLES) -> str:
    """Return the message for recordings whose stored samples are damaged."""
    return (
        f"{folder / name} is damaged: it no longer holds what was prepared from "
        f"{names(sources)}; {repair(folder)}"
    )
