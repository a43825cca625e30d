"""Reading of samples.npy in parts; each block is compared once with its checksum."""

import hashlib
import os
import weakref
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int16

from samplewise.data.index import SAMPLES, SourceFile
from samplewise.data.prepare.summary import names
from samplewise.errors import CorpusError

SAMPLE_BYTES = 2
BLOCK_BYTES = 2**19
"""Length of a block that has a checksum; 16 s at 16 kHz."""
DIGITS = 8
"""Number of hexadecimal digits of a checksum."""
MAX_READ_BYTES = 2**30
"""Maximum of bytes per read; the system returns at most 2 GiB."""


class Checksums:
    """The CRC-32 of each block of a stream of bytes."""

    def __init__(self) -> None:
        self._done: list[str] = []
        self._sum = self._size = 0

    def add(self, data: bytes) -> None:
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
    """The samples of a corpus; a slice is read from the file.

    Chosen: the file is not mapped into memory. If a mapped file is truncated or its disk fails, the
    system kills the process; a read gives an error.
    """

    def __init__(self, folder: Path, checksums: str = "", files: Sequence[SourceFile] = ()) -> None:
        """Open samples.npy in ``folder``.

        Args:
            folder: The corpus.
            checksums: Checksums from :class:`Checksums`; empty if there are none.
            files: Files of the samples, named in errors.

        Raises:
            CorpusError: If samples.npy is missing, truncated or not one flat int16 array.
        """
        self._path, self._files, self._checksums = folder / SAMPLES, files, checksums
        self.offset, self._length = _layout(self._path)
        self._unchecked = bytearray(b"\1" * (len(checksums) // DIGITS))
        self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> Int16[np.ndarray, " samples"]:
        """Read a contiguous slice; each block is checked the first time that it is touched.

        Raises:
            CorpusError: If the file is damaged there, or was cut short after it was opened.
        """
        start, stop, _ = part.indices(self._length)
        first, last = start * SAMPLE_BYTES, stop * SAMPLE_BYTES
        for block in range(first // BLOCK_BYTES, -(-last // BLOCK_BYTES)):
            if block < len(self._unchecked) and self._unchecked[block]:
                self._check(block)
        return np.frombuffer(self._read(first, last), "<i2")

    def damaged(self, files: Sequence[SourceFile]) -> list[str]:
        """Return the sources of the files whose samples do not match their SHA-256."""
        return [file.source for file in files if not self._is_sound(file)]

    def _is_sound(self, file: SourceFile) -> bool:
        digest = hashlib.sha256()
        first = file.start * SAMPLE_BYTES
        last = first + file.samples * SAMPLE_BYTES
        if last > self._length * SAMPLE_BYTES:
            return False
        for start in range(first, last, BLOCK_BYTES):
            digest.update(self._read(start, min(start + BLOCK_BYTES, last)))
        return digest.hexdigest() == file.sha256

    def _check(self, block: int) -> None:
        first = block * BLOCK_BYTES
        last = min(first + BLOCK_BYTES, self._length * SAMPLE_BYTES)
        expected = self._checksums[DIGITS * block : DIGITS * (block + 1)]
        if f"{zlib.crc32(self._read(first, last)):0{DIGITS}x}" != expected:
            touched = [
                file
                for file in self._files
                if SAMPLE_BYTES * file.start < last
                and SAMPLE_BYTES * (file.start + file.samples) > first
            ]
            raise CorpusError(
                damage(self._path.parent, self.damaged(touched) or [f.source for f in touched])
            )
        self._unchecked[block] = 0

    def _read(self, first: int, last: int) -> bytes:
        return b"".join(self._pieces(first, last))

    def _pieces(self, first: int, last: int) -> Iterator[bytes]:
        while first < last:
            wanted = min(last - first, MAX_READ_BYTES)
            piece = os.pread(self._descriptor, wanted, self.offset + first)
            if not piece:
                raise CorpusError(
                    f"{self._path} was cut short after it was opened; {repair(self._path.parent)}"
                )
            yield piece
            first += len(piece)


def damage(folder: Path, sources: Sequence[str]) -> str:
    """Return the message for recordings whose stored samples are damaged."""
    return (
        f"{folder / SAMPLES} is damaged: it no longer holds what was prepared from "
        f"{names(sources)}; {repair(folder)}"
    )


def repair(folder: Path) -> str:
    """Return the advice for damaged samples."""
    return f"`samplewise prepare RECORDINGS -o {folder} --verify` decodes what is damaged again"


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
