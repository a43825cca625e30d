"""Where a study is kept: a journal in the search's folder, or a database with a URL."""

import fcntl
import os
import random
import time
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from samplewise.atomic_io import NO_LOCKS
from samplewise.errors import SamplewiseError
from samplewise.search.sampler import DrawSampler
from samplewise.search.settings import RUNGS, Search

JOURNAL = "study.jsonl"
IDENTITY = "identity"
"""Attribute of a study: what its workers agree on."""
ATTEMPTS = 5
"""Of opening a database: several machines may create its tables at the same moment."""
BUSY_S = 60
"""Seconds that SQLite waits for another writer."""
DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}

optuna.logging.set_verbosity(optuna.logging.WARNING)


class KernelLock:
    """Lock of the journal that ends with its process, however that ends.

    Optuna's own is a file that a killed worker leaves behind for half a minute.
    """

    def __init__(self, path: Path):
        self._path = path
        self._descriptor = -1

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except OSError:
            os.close(self._descriptor)
            raise
        return True

    def release(self) -> None:
        """Give it to the next."""
        os.close(self._descriptor)


def open_study(search: Search, digest: str) -> optuna.Study:
    """Open the study of a search, or make it.

    Args:
        search: Whose study.
        digest: Of the corpus.

    Raises:
        SamplewiseError: If the storage cannot be opened, or its study is another search's.
    """
    storage = open_storage(search.storage, search.folder)
    study = optuna.create_study(
        storage=storage,
        study_name=search.name,
        direction="minimize",
        sampler=DrawSampler(search.seed, search.sampler),
        pruner=_pruner(search.prune),
        load_if_exists=True,
    )
    _agree(study, search, digest)
    return study


def open_storage(url: str | None, folder: Path) -> BaseStorage:
    """Open a storage.

    Args:
        url: Of a database; None: the journal in ``folder``.
        folder: Of the search.

    Raises:
        SamplewiseError: If it cannot be opened; passwords are left out of the message.
    """
    if url is None:
        return _journal(folder)
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        place = make_url(url)
    except ArgumentError:
        raise SamplewiseError(
            "storage is no URL of a database; examples: sqlite:///study.db, "
            "postgresql://name:password@host/database"
        ) from None
    place = place.set(drivername=DRIVERS.get(place.drivername, place.drivername))
    is_file = place.get_backend_name() == "sqlite"
    # Hours pass between two calls: no connection is kept.
    options: dict[str, Any] = {"poolclass": NullPool}
    if is_file:
        options["connect_args"] = {"timeout": BUSY_S}
    for attempt in range(ATTEMPTS):
        try:
            address = place.render_as_string(hide_password=False)
            return RDBStorage(address, engine_kwargs=options)
        except (SQLAlchemyError, ImportError) as error:
            if attempt == ATTEMPTS - 1 or isinstance(error, ImportError):
                reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
                shown = place.render_as_string(hide_password=True)
                raise SamplewiseError(f"cannot open storage = {shown}: {reason}") from None
            time.sleep(random.uniform(0.1, 0.5))  # noqa: S311  # no two machines in step
    raise AssertionError


def _journal(folder: Path) -> JournalStorage:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / JOURNAL
    lock = KernelLock(folder / f"{JOURNAL}.lock")
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        lock = JournalFileSymlinkLock(str(path))
        lock.acquire()
    try:
        _trim(path)
    finally:
        lock.release()
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))  # pyright: ignore[reportArgumentType]  # no public base class


def _trim(path: Path) -> None:
    """Cut off a line that a full disk or a lost machine left torn: nobody was told of it."""
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with path.open("r+b") as file:
            file.truncate(whole)


def _pruner(name: str) -> optuna.pruners.BasePruner:
    """Return what decides whether a trial is hopeless, from its bits at each rung.

    median: worse than half of the trials at the same rung, once 5 trials are complete and 2 rungs
    passed; halving: not in the best third of those that reached rung 1, 3 or 9 (Li et al. 2020).
    """
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=RUNGS // 5)
    if name == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    return optuna.pruners.NopPruner()


def _agree(study: optuna.Study, search: Search, digest: str) -> None:
    """Note what the search is, or check that it is the one that is there."""
    mine = search.identity(digest)
    if IDENTITY not in study.user_attrs:
        study.set_user_attr(IDENTITY, mine)
    theirs = study.user_attrs[IDENTITY]
    changed = [
        f"{name} was {theirs.get(name, 'absent')}, now {mine.get(name, 'absent')}"
        for name in {**theirs, **mine}
        if theirs.get(name) != mine.get(name)
    ]
    if changed:
        where = search.folder if search.storage is None else f"study '{search.name}'"
        raise SamplewiseError(
            f"{where} holds a search with other settings ({'; '.join(changed)}). Give the same "
            "command to go on, or another -o for a new search"
        )
