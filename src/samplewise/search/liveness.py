"""Detection of dead workers: a kernel lock on the same machine, heartbeats on other machines."""

import fcntl
import itertools
import os
import secrets
import socket
import threading
from pathlib import Path
from typing import BinaryIO

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial

from samplewise.atomic_io import NO_LOCKS

WORKERS = "workers"
BEAT = "beat"
"""Attribute of a trial: number of heartbeats of its worker."""
BEAT_S = 20.0
"""Seconds between two heartbeats."""


class Liveness:
    """Context in which this process holds the lock file of a worker of a search."""

    def __init__(self, folder: Path):
        self._folder = folder.resolve() / WORKERS
        self.id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.card = {"host": socket.gethostname(), "folder": str(self._folder), "id": self.id}
        """Where other workers find the lock file."""
        self._file: BinaryIO | None = None

    def __enter__(self) -> "Liveness":
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / self.id
        while True:
            self._file = path.open("ab")
            _lock(self._file, fcntl.LOCK_EX)
            if path.exists():  # otherwise another worker removed it before it was locked
                return self
            self._file.close()

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()

    def sweep(self, needed: set[str]) -> None:
        """Remove the lock files of dead workers whose ids are not in ``needed``."""
        for path in self._folder.iterdir():
            if path.name not in {*needed, self.id} and _is_locked(path) is False:
                path.unlink(missing_ok=True)


def is_alive(card: dict[str, str]) -> bool | None:
    """Return whether the worker with this card lives; None if this machine cannot tell."""
    if card["host"] != socket.gethostname():
        return None
    return _is_locked(Path(card["folder"]) / card["id"])


def _is_locked(path: Path) -> bool | None:
    try:
        with path.open("rb") as file:
            free = _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, PermissionError):
        return None
    return None if free is None else not free


def _lock(file: BinaryIO, operation: int) -> bool | None:
    """Return whether the lock was taken; None if the file system has no locks."""
    try:
        fcntl.flock(file, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return None
    return True


class Heartbeat(threading.Thread):
    """Context in which a thread counts heartbeats in an attribute of a trial.

    Differs: Optuna's heartbeats need a database and ``Study.optimize``, and end at the first error
    of the storage. These work with a journal too, and go on when the storage is reachable again.
    """

    def __init__(self, trial: Trial):
        super().__init__(daemon=True)
        self._trial = trial
        self._over = threading.Event()
        self.lost = False
        """Whether another worker has ended the trial."""

    def __enter__(self) -> "Heartbeat":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Send heartbeats until the context or the trial ends."""
        for count in itertools.count(1):
            if self._over.wait(BEAT_S):
                return
            try:
                self._trial.set_user_attr(BEAT, count)
            except UpdateFinishedTrialError:
                self.lost = True
                return
            except Exception:  # noqa: S112  # any error of the storage may pass
                continue
