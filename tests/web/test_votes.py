"""Votes are durable when they are acknowledged, and are never counted twice."""

import re
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from samplewise.errors import SamplewiseError
from samplewise.web.listening.votes import VoteStore

SHOWN = {"kind": "test", "clips": ["1", "2"]}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/votes.db"
    pytest.importorskip("psycopg")
    return request.getfixturevalue("postgres")


def test_the_first_answer_of_a_trial_stays(url):
    store = VoteStore("study", url)
    listener, key = store.add_listener("p1")
    assert store.find_listener(key) == listener
    assert store.find_listener("another") is None
    assert store.add_vote(0, 3, "a", SHOWN, {"elapsed_ms": 5}) == "a"
    assert store.add_vote(0, 3, "b", SHOWN, {}) == "a"
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
