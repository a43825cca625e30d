"""Storage of a study: a journal in the folder of the search, or a database with a URL."""

import fcntl
import random
import time
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from samplewise.atomic_io import NO_LOCKS
from samplewise.errors import SamplewiseError
from samplewise.search.settings import RUNGS, Search
from samplewise.search.trial_queue import DrawSampler

JOURNAL = "study.jsonl"
IDENTITY = "identity"
"""Attribute of a study: the settings that its workers share."""
ATTEMPTS = 5
"""Attempts to open a database: several machines may create its tables at the same moment."""
BUSY_S = 60
"""Seconds that SQLite waits for another writer."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


class KernelLock:
    """Lock of the journal that ends with its process, however the process ends.

    Differs: Optuna's lock is a file, which blocks the others for 30 s when its worker is killed.
    """

    def __init__(self, path: Path):
        self._path = path

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._file = self._path.open("ab")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Release the lock."""
        self._file.close()


def open_study(search: Search, digest: str) -> optuna.Study:
    """Open the study of a search, or create it.

    The pruner reads the bits at each rung. median: worse than half of the trials at the same rung,
    once 5 trials are complete and a fifth of the budget is used. halving: not in the best third of
    those that reached rung 1, 3 or 9 (Li et al. 2020).

    Args:
        search: Settings of the search.
        digest: Digest of the corpus.

    Raises:
        SamplewiseError: If the storage cannot be opened, or its study has other settings.
    """
    pruners = {
        "median": optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=RUNGS // 5),
        "halving": optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
        "none": optuna.pruners.NopPruner(),
    }
    folder = search.folder
    study = optuna.create_study(
        storage=_open_journal(folder) if search.storage is None else _open_database(search.storage),
        study_name=search.name,
        direction="minimize",
        sampler=DrawSampler(search.seed, search.sampler),
        pruner=pruners[search.prune],
        load_if_exists=True,
    )
    ours = search.identity(digest)
    if IDENTITY not in study.user_attrs:
        study.set_user_attr(IDENTITY, ours)
    stored = study.user_attrs[IDENTITY]
    theirs = {**stored, **search.defaults(), **stored}  # in the order of the stored settings
    changed = [
        f"{name} was {theirs.get(name, 'absent')}, now {ours.get(name, 'absent')}"
        for name in {**theirs, **ours}
        if theirs.get(name) != ours.get(name)
    ]
    if changed:
        where = folder if search.storage is None else f"study '{search.name}'"
        raise SamplewiseError(
            f"{where} holds a search with other settings ({'; '.join(changed)}). Give the same "
            "command to go on, or another -o for a new search"
        )
    return study


def _open_database(url: str) -> BaseStorage:
    """Open a database; passwords are left out of the message of a failure."""
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
    if place.drivername in ("postgresql", "postgres"):
        place = place.set(drivername="postgresql+psycopg")
    # No connection is kept, because hours pass between two calls.
    options: dict[str, Any] = {"poolclass": NullPool}
    if place.get_backend_name() == "sqlite":
        options["connect_args"] = {"timeout": BUSY_S}
    reason = ""
    for _ in range(ATTEMPTS):
        try:
            return RDBStorage(place.render_as_string(hide_password=False), engine_kwargs=options)
        except (SQLAlchemyError, ImportError) as error:
            reason = storage_error(error)
            time.sleep(random.uniform(0.1, 0.5))  # noqa: S311  # random, so that machines separate
    raise SamplewiseError(f"cannot open storage = {place!r}: {reason}")  # no password


def storage_error(error: BaseException) -> str:
    """Return the first line of a database's own message."""
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]


def _open_journal(folder: Path) -> JournalStorage:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / JOURNAL
    lock: Any = KernelLock(folder / f"{JOURNAL}.lock")  # Optuna's base class is private
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        lock.release()
        lock = JournalFileSymlinkLock(str(path))
        lock.acquire()
    try:
        _trim(path)
    finally:
        lock.release()
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _trim(path: Path) -> None:
    """Remove an incomplete last line, which Optuna could not read once others follow."""
    with path.open("a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
