"""Votes in a database: a vote is acknowledged once it is durable, and is never counted twice.

SQLite (write-ahead log, ``synchronous=FULL``) unless another SQLAlchemy URL is given; several
servers can share a PostgreSQL database.
"""

import asyncio
import hashlib
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from samplewise.errors import SamplewiseError
from samplewise.strict_json import parse_object, to_text

CODE_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
"""Of completion codes, without letters that resemble digits."""
BUSY_MS = 20_000
MOST_COLLISIONS = 50
_METADATA = sql.MetaData()
LISTENERS = sql.Table(
    "listeners",
    _METADATA,
    sql.Column("study", sql.String(32), primary_key=True),
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("key", sql.String(64), nullable=False, unique=True),  # SHA-256 of the cookie
    sql.Column("participant", sql.String(64), nullable=False),
    sql.Column("code", sql.String(16), nullable=False),
    sql.Column("headphones", sql.Boolean),
    sql.Column("began", sql.Float, nullable=False),
)
VOTES = sql.Table(
    "votes",
    _METADATA,
    sql.Column("study", sql.String(32), primary_key=True),
    sql.Column("listener", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("trial", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("answer", sql.String(8), nullable=False),
    sql.Column("shown", sql.Text, nullable=False),
    sql.Column("details", sql.Text, nullable=False),
    sql.Column("time", sql.Float, nullable=False),
)


@dataclass(frozen=True)
class Listener:
    """One person who takes a test."""

    number: int
    """From 0, in order of arrival; it decides what is heard."""
    participant: str
    """Participant number from the link; empty if there was none."""
    code: str
    """Completion code."""
    headphones: bool | None
    """Whether the headphone check was passed; None before it."""
    began: float
    """Seconds since 1970."""


@dataclass(frozen=True)
class Vote:
    """One answer."""

    listener: int
    trial: int
    answer: str
    shown: dict[str, Any]
    """Kind and clips of the trial."""
    details: dict[str, Any]
    """Times and plays, as the page measured them."""
    time: float
    """When it was stored, seconds since 1970."""


class StoreError(SamplewiseError):
    """A failure of the database; what was asked for may be asked for again."""


class VoteStore:
    """The votes of one study."""

    def __init__(self, study: str, url: str):
        self.study = study
        self.engine = _open(url)
        is_sqlite = self.engine.dialect.name == "sqlite"
        self._writer = threading.Lock() if is_sqlite else nullcontext()  # else they would poll

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def add_listener(self, participant: str) -> tuple[Listener, str]:
        """Store a new listener; return it with the key of its cookie."""
        key = secrets.token_urlsafe(24)
        code = "".join(secrets.choice(CODE_LETTERS) for _ in range(8))
        began = time.time()
        highest = sql.select(sql.func.coalesce(sql.func.max(LISTENERS.c.number), -1)).where(
            LISTENERS.c.study == self.study
        )
        for _ in range(MOST_COLLISIONS):  # another server may take the same number
            with self._writer, self._errors():
                try:
                    with self.engine.begin() as connection:
                        number = int(connection.execute(highest).scalar_one()) + 1
                        connection.execute(
                            LISTENERS.insert().values(
                                study=self.study,
                                number=number,
                                key=_digest(key),
                                participant=participant,
                                code=code,
                                headphones=None,
                                began=began,
                            )
                        )
                except IntegrityError:
                    continue
            return Listener(number, participant, code, None, began), key
        raise SamplewiseError("too many listeners came at once; try again")

    def find_listener(self, key: str) -> Listener | None:
        """Return the listener of a cookie."""
        query = sql.select(LISTENERS).where(
            LISTENERS.c.key == _digest(key), LISTENERS.c.study == self.study
        )
        with self._errors(), self.engine.connect() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else _listener(row)

    def set_headphones(self, listener: int, passed: bool) -> None:
        """Store the result of the headphone check; the first one counts."""
        change = (
            LISTENERS.update()
            .where(
                LISTENERS.c.study == self.study,
                LISTENERS.c.number == listener,
                LISTENERS.c.headphones.is_(None),
            )
            .values(headphones=passed)
        )
        with self._writer, self._errors(), self.engine.begin() as connection:
            connection.execute(change)

    def add_votes(self, votes: Sequence[Vote]) -> list[str]:
        """Store votes in one transaction; return the answers that are stored.

        The first answer to a trial stays. When this returns, the votes are durable.
        """
        rows = [
            asdict(vote)
            | {"study": self.study, "shown": to_text(vote.shown), "details": to_text(vote.details)}
            for vote in votes
        ]
        with self._writer, self._errors():
            try:
                with self.engine.begin() as connection:
                    connection.execute(VOTES.insert(), rows)
            except IntegrityError:
                if len(votes) == 1:
                    return [self.answers(votes[0].listener)[votes[0].trial]]
            else:
                return [vote.answer for vote in votes]
        return [self.add_votes([vote])[0] for vote in votes]

    def answers(self, listener: int) -> dict[int, str]:
        """Return the answers of a listener by their trials."""
        query = sql.select(VOTES.c.trial, VOTES.c.answer).where(
            VOTES.c.study == self.study, VOTES.c.listener == listener
        )
        with self._errors(), self.engine.connect() as connection:
            return {int(trial): str(answer) for trial, answer in connection.execute(query)}

    def listeners(self) -> list[Listener]:
        """Return all listeners, by number."""
        query = sql.select(LISTENERS).where(LISTENERS.c.study == self.study)
        with self._errors(), self.engine.connect() as connection:
            rows = connection.execute(query.order_by(LISTENERS.c.number)).mappings().all()
        return [_listener(row) for row in rows]

    def votes(self) -> list[Vote]:
        """Return all votes, by listener and trial."""
        query = sql.select(VOTES).where(VOTES.c.study == self.study)
        with self._errors(), self.engine.connect() as connection:
            rows = connection.execute(query.order_by(VOTES.c.listener, VOTES.c.trial)).mappings()
            return [
                Vote(
                    row["listener"],
                    row["trial"],
                    row["answer"],
                    parse_object(row["shown"]),
                    parse_object(row["details"]),
                    row["time"],
                )
                for row in rows
            ]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn errors of the database into ours."""
        try:
            yield
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            raise StoreError(f"the database of the votes failed: {_reason(error)}") from error


class VoteQueue:
    """Votes on their way to a store: those that come during a transaction share the next one.

    A transaction waits for the disk once, however many votes it holds.
    """

    def __init__(self, store: VoteStore):
        self._store = store
        self._waiting: list[tuple[Vote, asyncio.Future[str]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def add(self, vote: Vote) -> str:
        """Store a vote; return the answer that is stored, once it is durable."""
        stored = asyncio.get_running_loop().create_future()
        self._waiting.append((vote, stored))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        return await stored

    async def _write(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            votes, futures = zip(*group, strict=True)
            try:
                answers = await asyncio.to_thread(self._store.add_votes, votes)
            except Exception as error:  # each of those who wait is told
                answers = [error] * len(votes)
            for future, answer in zip(futures, answers, strict=True):
                if future.done():  # cancelled
                    continue
                if isinstance(answer, str):
                    future.set_result(answer)
                else:
                    future.set_exception(answer)


def database_url(folder: Path) -> str:
    """Return the URL of a study's own database."""
    return f"sqlite:///{folder / 'votes.db'}"


def _open(url: str) -> sql.Engine:
    """Connect, and make the tables if they are not there."""
    if url.startswith(("postgres://", "postgresql://")):
        url = "postgresql+psycopg://" + url.partition("://")[2]
    try:
        engine = sql.create_engine(url, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise SamplewiseError(
            f"{url.partition('://')[0]}: no such database can be used ({_reason(error)}); for "
            "PostgreSQL: pip install 'psycopg[binary]'"
        ) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    try:
        with engine.begin() as connection:
            _METADATA.create_all(connection)
    except SQLAlchemyError as error:
        engine.dispose()
        if engine.dialect.name != "sqlite" and "exists" in str(error):
            return _open(url)  # another server has just made them
        shown = engine.url.render_as_string(hide_password=True)
        raise SamplewiseError(f"{shown} cannot be used: {_reason(error)}") from None
    return engine


def _prepare_sqlite(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_MS}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _reason(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split("\n")[0].split())


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def _listener(row: Any) -> Listener:
    return Listener(row["number"], row["participant"], row["code"], row["headphones"], row["began"])
