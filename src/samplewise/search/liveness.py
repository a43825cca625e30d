"""Which workers are there: a lock that the kernel takes away from the dead, and beats."""

import contextlib
import errno
import fcntl
import os
import secrets
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from samplewise.atomic_io import NO_LOCKS

WORKERS = "workers"
BEAT_S = 20.0
"""Seconds between two signs of life of a worker that other machines can see."""


class Liveness:
    """Context in which this process is known to be at work on a search's folder."""

    def __init__(self, folder: Path):
        self._folder = folder.resolve() / WORKERS
        self.id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._file: BinaryIO | None = None

    @property
    def card(self) -> dict[str, str]:
        """What tells others where to look for this worker."""
        return {"host": socket.gethostname(), "folder": str(self._folder), "id": self.id}

    def __enter__(self) -> "Liveness":
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / self.id
        while True:
            self._file = path.open("ab")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
            if path.exists():  # not swept in between
                return self
            self._file.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def sweep(self, needed: set[str]) -> None:
        """Remove what dead workers left, but for those named in ``needed``."""
        for path in self._folder.iterdir():
            if path.name not in needed and path.name != self.id and _is_held(path) is False:
                path.unlink(missing_ok=True)


def is_alive(card: dict[str, str]) -> bool | None:
    """Return whether the worker with this card lives; None if that cannot be seen from here."""
    path = Path(card["folder"]) / card["id"]
    if card["host"] != socket.gethostname() or not path.exists():
        return None
    return _is_held(path)


def _is_held(path: Path) -> bool | None:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (*NO_LOCKS, errno.EACCES):
            return None
        raise
    return False


class Heartbeat:
    """Context in which ``beat(number)`` is called now and then by a thread until it says no.

    ``lost`` is then true: others took us for dead. A storage that is out of reach for a while is
    no reason to stop.
    """

    def __init__(self, beat: Callable[[int], bool]):
        self._beat = beat
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.lost = False

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._over.wait(BEAT_S):
            number += 1
            with contextlib.suppress(Exception):  # whatever the storage raises; there will be more
                if not self._beat(number):
                    self.lost = True
                    return
