"""Files that appear whole or not at all: temporary name, fsync, rename, fsync of the folder."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from samplewise.errors import SamplewiseError
from samplewise.strict_json import to_text

TEMPORARY_PREFIX = ".tmp-"
LOCK = ".lock"
"""Empty file in a folder that one process at a time may write; it stays."""
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system without locks answers."""


@contextmanager
def lock(folder: Path, work: str) -> Iterator[None]:
    """Let one process at a time do ``work`` on ``folder``; the lock ends with its process.

    A file system that has no locks (some network mounts) is not guarded.

    Raises:
        SamplewiseError: If another process holds it.
    """
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SamplewiseError(
                f"another {work} is writing {folder}; wait for it, or choose another -o"
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield


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
    facts = [f"cannot write {path}: {error.strerror or error}"]
    if needed:
        facts.append(f"needs {needed / 1e6:.1f} MB")
    try:
        facts.append(f"{shutil.disk_usage(path.parent).free / 1e6:.1f} MB free")
    except OSError:
        facts.append("the folder cannot be examined")
    return OSError(error.errno, "; ".join(facts))


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
        descriptor, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        fsync_folder(path.parent)
    except OSError as error:
        raise explain_failed_write(error, path, needed) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``, whole or not at all."""
    with atomic_writer(path, len(data)) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as readable JSON to ``path``; NaN and infinity are refused."""
    write_text(path, to_text(value, indent=2) + "\n")


def sweep_temporaries(folder: Path) -> int:
    """Remove what killed writers left in ``folder`` and return how many there were."""
    leftovers = list(folder.glob(f"{TEMPORARY_PREFIX}*"))
    for leftover in leftovers:
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)
    return len(leftovers)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
