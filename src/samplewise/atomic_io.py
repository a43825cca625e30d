"""Files that appear whole or not at all: temporary name, fsync, rename, fsync of the folder."""

import contextlib
import errno
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from samplewise.errors import SamplewiseError
from samplewise.strict_json import to_text

TEMPORARY_PREFIX = ".tmp-"
TEMPORARY = re.compile(r"\.tmp-([a-z0-9_]{8}|step-[0-9]{8,}|[0-9a-f]{40}-[0-9]+)")
"""What :func:`atomic_writer`, checkpoints and decoders call what is not whole yet."""
LOCK = ".lock"
"""File in a folder that one process at a time may write; it stays, and names that process."""
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system without locks answers."""


@contextmanager
def lock(folder: Path, work: str) -> Iterator[None]:
    """Let one process at a time do ``work`` on ``folder``; the lock ends with its process.

    What killed processes left in the folder is removed. A file system that has no locks (some
    network mounts) is not guarded.

    Raises:
        SamplewiseError: If another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+b", buffering=0) as file:
        if not _flock(file.fileno()):
            file.seek(0)
            holder = file.read(200).decode(errors="replace").strip() or work
            raise SamplewiseError(
                f"another {holder} is writing {folder}; wait for it, or choose another -o"
            )
        sweep_temporaries(folder)
        with contextlib.suppress(OSError):  # a full disk is reported by what is written next
            began = time.strftime("%Y-%m-%d %H:%M:%S")
            file.truncate(0)
            file.write(
                f"{work} (process {os.getpid()} on {socket.gethostname()}, since {began})".encode()
            )
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                file.truncate(0)


@contextmanager
def claim(folder: Path, work: str, mark: str, kind: str) -> Iterator[None]:
    """Lock an output folder that is new, empty or ours; others are refused and left untouched.

    Args:
        folder: The output folder; made if it does not exist.
        work: What is done, for the message to another process.
        mark: Name of the file that makes a folder one of ours.
        kind: Such a folder, in words.

    Raises:
        SamplewiseError: If the folder holds other things, or another process holds it.
    """
    refuse_others(folder, mark, kind)
    with lock(folder, work):
        refuse_others(folder, mark, kind)
        yield


def refuse_others(folder: Path, mark: str, kind: str) -> None:
    """Check that ``folder`` is absent, empty or holds ``mark``.

    Raises:
        SamplewiseError: If it holds something else.
    """
    names = contents(folder) if folder.exists() else []
    if names and mark not in names:
        raise SamplewiseError(
            f"{folder} holds {names[0]!r} and no {mark}: it is not {kind}, and it is left alone; "
            "choose another folder with -o"
        )


def contents(folder: Path) -> list[str]:
    """Return the names in ``folder``, sorted, without the lock and what killed writers left."""
    names = sorted(path.name for path in folder.iterdir())
    return [name for name in names if name != LOCK and not TEMPORARY.fullmatch(name)]


def _flock(descriptor: int) -> bool:
    """Lock an open file; False if another process holds it."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return True


def fsync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def explain_failed_write(error: OSError, path: Path, needed: int | None = None) -> OSError:
    """Return ``error`` again with the path, the bytes needed and the bytes free in its message."""
    if (error.strerror or "").startswith("cannot write"):
        return error  # a file in this folder, already explained
    parts = [f"cannot write {path}: {error.strerror or error}"]
    if needed:
        parts.append(f"needs {needed / 1e6:.1f} MB")
    try:
        parts.append(f"{shutil.disk_usage(path.parent).free / 1e6:.1f} MB free")
    except OSError:
        parts.append("the folder cannot be examined")
    return OSError(error.errno, "; ".join(parts))


@contextmanager
def named_failures(path: Path | None) -> Iterator[None]:
    """Name the file whose write fails, None for stdout; a reader that left is let through."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if path is None:
            raise OSError(error.errno, f"cannot write to stdout: {error.strerror}") from error
        raise explain_failed_write(error, path) from error


@contextmanager
def atomic_writer(path: Path, needed: int | None = None) -> Iterator[BinaryIO]:
    """Give a binary file that takes the name ``path`` only once it is complete and on disk.

    Args:
        path: The name; its folder must exist.
        needed: Bytes that will be written, if known; only for the message of an error.

    Raises:
        OSError: If anything could not be written; ``path`` is then as it was before.
    """
    temporary = None
    try:
        descriptor, temporary = _temporary_file(path.parent)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)  # while it is locked: nobody sweeps it away
        fsync_folder(path.parent)
    except OSError as error:
        raise explain_failed_write(error, path, needed) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _temporary_file(folder: Path) -> tuple[int, Path]:
    """Make a file that :func:`sweep_temporaries` leaves alone as long as it is open."""
    while True:
        descriptor, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=folder)
        if _flock(descriptor) and Path(name).exists():
            return descriptor, Path(name)
        os.close(descriptor)  # it was swept before it was locked


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``, whole or not at all."""
    with atomic_writer(path, len(data)) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, whole or not at all.

    Bytes of a file name that are no text (lone surrogates) are written as a backslash and a number.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as readable JSON to ``path``; NaN and infinity are refused."""
    write_text(path, to_text(value, indent=2) + "\n")


def sweep_temporaries(folder: Path) -> int:
    """Remove what killed writers left in ``folder`` and below; return how many files there were.

    Files that a living process is writing are left alone.
    """
    swept = 0
    with contextlib.suppress(FileNotFoundError):  # a folder below is being removed
        leftovers = [path for path in folder.rglob(f"{TEMPORARY_PREFIX}*") if path.is_file()]
        for leftover in filter(lambda path: TEMPORARY.fullmatch(path.name), leftovers):
            with contextlib.suppress(OSError), leftover.open("rb") as file:
                if _flock(file.fileno()):
                    leftover.unlink()
                    swept += 1
    return swept


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
