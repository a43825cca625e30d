"""Votes are durable when they are acknowledged, and are never counted twice."""

import asyncio
import re
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.web.studies import run_apart

from samplewise.errors import SamplewiseError
from samplewise.web.listening.votes import Vote, VoteQueue, VoteStore

SHOWN = {"kind": "test", "clips": ["1", "2"]}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/votes.db"
    pytest.importorskip("psycopg")
    return request.getfixturevalue("postgres")


def a_vote(answer, trial=3, **details):
    return Vote(0, trial, answer, SHOWN, details, 0.0)


def test_the_first_answer_of_a_trial_stays(url):
    store = VoteStore("study", url)
    listener, key = store.add_listener("p1")
    assert store.find_listener(key) == listener
    assert store.find_listener("another") is None
    assert store.add_votes([a_vote("a", elapsed_ms=5)]) == ["a"]
    assert store.add_votes([a_vote("b")]) == ["a"]
    store.set_headphones(0, True)
    store.set_headphones(0, False)
    store.close()
    again = VoteStore("study", url)
    [vote] = again.votes()
    assert (vote.listener, vote.trial, vote.answer, vote.shown) == (0, 3, "a", SHOWN)
    assert vote.details == {"elapsed_ms": 5}
    assert [(one.participant, one.headphones) for one in again.listeners()] == [("p1", True)]
    again.close()
    another = VoteStore("another", url)
    assert another.votes() == another.listeners() == []
    another.close()


def test_votes_that_come_during_a_transaction_share_the_next_one(url, monkeypatch):
    store, groups = VoteStore("queue", url), []
    store.add_listener("")
    write = store.add_votes

    def count(votes):
        groups.append([vote.trial for vote in votes])
        return write(votes)

    monkeypatch.setattr(store, "add_votes", count)

    async def vote():
        queue = VoteQueue(store)
        first = asyncio.create_task(queue.add(a_vote("a", trial=0)))
        while not groups:
            await asyncio.sleep(0)
        rest = [a_vote("a", trial=1), a_vote("b", trial=1), a_vote("b", trial=0), a_vote("b")]
        return await asyncio.gather(first, *map(queue.add, rest))

    assert run_apart(vote()) == ["a", "a", "a", "a", "b"]
    assert groups[:2] == [[0], [1, 1, 0, 3]]  # the others: one by one, as some were known
    assert store.answers(0) == {0: "a", 1: "a", 3: "b"}
    store.close()


def test_everyone_is_told_that_the_database_failed(tmp_path, monkeypatch):
    store = VoteStore("study", f"sqlite:///{tmp_path}/votes.db")

    def fail(votes):
        raise SamplewiseError("the disk is full")

    monkeypatch.setattr(store, "add_votes", fail)

    async def vote():
        queue = VoteQueue(store)
        votes = [queue.add(a_vote("a", trial=trial)) for trial in range(3)]
        return await asyncio.gather(*votes, return_exceptions=True)

    assert [str(error) for error in run_apart(vote())] == ["the disk is full"] * 3
    store.close()


def test_listeners_that_come_at_once_have_different_numbers_and_codes(url):
    stores = [VoteStore("crowd", url) for _ in range(2)]  # as two servers
    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(lambda i: stores[i % 2].add_listener("")[0], range(24)))
    assert sorted(one.number for one in added) == list(range(24))
    assert len({one.code for one in added}) == 24
    for store in stores:
        store.close()


def test_sqlite_is_set_to_be_durable(tmp_path):
    store = VoteStore("study", f"sqlite:///{tmp_path}/votes.db")
    with store.engine.connect() as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous")
        ]
    assert pragmas == ["wal", 2]
    store.close()


def test_a_killed_process_loses_no_vote_that_it_acknowledged(tmp_path):
    url = f"sqlite:///{tmp_path}/votes.db"
    acknowledged = set()
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, Path(__file__).parent / "voting.py", url], stdout=subprocess.PIPE
        )
        for _ in range(50):
            acknowledged.add(tuple(map(int, process.stdout.readline().split())))
        process.kill()
        process.stdout.close()
        process.wait()
    with sqlite3.connect(tmp_path / "votes.db") as connection:
        stored = connection.execute("SELECT listener, trial FROM votes").fetchall()
    assert len(set(stored)) == len(stored)
    assert len(acknowledged) == 100
    assert acknowledged <= set(stored)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "no such database can be used"),
        ("oracle9://x", "no such database can be used"),
        ("sqlite:////nowhere/votes.db", "unable to open database file"),
        ("postgresql://me:secret@127.0.0.1:1/x", r"me:\*\*\*@127.0.0.1:1/x cannot be used"),
    ],
)
def test_a_database_that_cannot_be_used_is_explained(url, message):
    with pytest.raises(SamplewiseError, match=message) as caught:
        VoteStore("study", url)
    assert not re.search("secret", str(caught.value))
