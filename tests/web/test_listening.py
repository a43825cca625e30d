"""A listening test from its sources to its report, without a browser."""

import csv
import io
import json
import shutil
import sqlite3
import wave
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.web.studies import RATE, climbing, make_study, source

from samplewise.errors import SamplewiseError
from samplewise.evaluate.preference import bradley_terry
from samplewise.web.guard import Access
from samplewise.web.listening import stimuli
from samplewise.web.listening.page import report_page
from samplewise.web.listening.results import analyse, votes_csv
from samplewise.web.listening.routes import Arrivals, create_listening
from samplewise.web.listening.study import Making, assemble, open_study
from samplewise.web.listening.votes import Listener, Vote, VoteStore, database_url

HEARD = {"elapsed_ms": 9000, "switches": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("made") / "study")


@pytest.fixture
def study(made, tmp_path):
    return open_study(shutil.copytree(made.folder, tmp_path / "study"))


@pytest.fixture
def client(study, client_of):
    store = VoteStore(study.id, database_url(study.folder))
    yield client_of(create_listening(study, store, Access("a-token-of-the-tests")))
    store.close()


def begin(client):
    answer = client.post("/api/listeners", json={"consent": True})
    assert answer.status_code == 201
    return answer.json()


def vote(client, number, answer, clips=2):
    body = {"answer": answer, "audible_ms": [700] * clips, **HEARD}
    return client.put(f"/api/trials/{number}/vote", json=body)


def right_practice(study, listener=0):
    first = study.trials(listener)[0].clips[0]
    return "b" if first in {beeps for _, beeps in study.checks} else "a"


# --- stimuli


def test_every_clip_has_one_length_rate_and_loudness_and_its_gain_is_recorded(study):
    sizes, names = set(), set()
    for clip in study.clips:
        with wave.open(str(study.clip_path(clip.id))) as sound:
            assert (sound.getframerate(), sound.getnchannels()) == (RATE, 1)
            samples = np.frombuffer(sound.readframes(-1), "<i2") / 32768
        sizes.add(study.clip_path(clip.id).stat().st_size)
        names.add(len(clip.id))
        assert np.abs(samples).max() <= stimuli.PEAK + 1e-4
        if clip.system is not None:
            made = stimuli.loudness(samples, RATE)
            assert made == pytest.approx(study.loudness_lufs, abs=0.02)
            assert clip.loudness_lufs + clip.gain_db == pytest.approx(study.loudness_lufs)
    assert (len(sizes), names) == (1, {16})
    assert open_study(study.folder) == study


def test_the_loudness_is_what_the_loudest_peaks_allow():
    rate = RATE
    spiky = source("spiky")
    spiky.waves[0][2000] = 1.0
    study, _ = assemble(Path("x"), [spiky, source("flat")], Making(loudness_lufs=-12.0))
    lowest = min(
        stimuli.highest_loudness(cut, stimuli.loudness(cut, rate))
        for wave in spiky.waves
        for cut in [stimuli.cut(wave, study.samples, rate)]
    )
    assert study.loudness_lufs == pytest.approx(lowest)
    assert study.loudness_lufs < -20


def test_clips_that_cannot_be_used_are_named():
    broken = source("broken", clips=3)
    broken.waves[0][:] = 0
    broken.waves[1][:] = 0
    broken.waves[1][100] = 0.5
    study, _ = assemble(Path("x"), [broken, source("good")], Making())
    assert study.systems[0].clips == 1
    assert [text.partition(":")[2][:12] for text in study.systems[0].left_out] == [
        " silent",
        " its peaks a",
    ]
    broken.waves[2][:] = 0
    with pytest.raises(SamplewiseError, match="broken has no clip that can be used: broken 0"):
        assemble(Path("x"), [broken, source("good")], Making())
    with pytest.raises(SamplewiseError, match=r"the shortest clip has 0\.20 s, and a test needs"):
        assemble(Path("x"), [source("short", seconds=0.2), source("good")], Making())


def test_systems_of_other_rates_are_resampled():
    systems = [source("slow"), source("fast", rate=16000)]
    study, files = assemble(Path("x"), systems, Making())
    assert study.sample_rate == 16000
    assert len(set(map(len, files.values()))) == 1


def test_the_noise_of_every_clip_is_that_of_the_quietest_file():
    rng = np.random.default_rng(5)
    step = 10 ** (20 / 20) / 2**15
    for gain_db in (-6.0, 0.0, 14.0, 20.0):
        sound = rng.uniform(-0.05, 0.05, 200_000)
        gain = 10 ** (gain_db / 20)
        file = np.round(sound * 2**15) / 2**15
        made = stimuli.dither((gain * file).astype(np.float32), gain_db, 20.0, rng)
        noise = made - gain * sound
        assert noise.var() == pytest.approx(step**2 * 3 / 12, rel=0.015)


# --- requests


def test_a_listener_goes_through_the_trials_in_order(study, client):
    assert client.get("/api/trials/0/a.wav").status_code == 403
    assert client.post("/api/listeners", json={"consent": False}).status_code == 422
    state = begin(client)
    assert (state["next"], state["code"], state["headphones"]) == (0, None, False)
    quiet = [order.index("quiet") for order in state["tones"]]
    assert client.put("/api/headphones", json={"answers": quiet}).json() == {"passed": True}
    wrong = {"a": "b", "b": "a"}[right_practice(study)]
    assert vote(client, 0, wrong).status_code == 409
    assert vote(client, 1, "a").status_code == 409
    assert vote(client, 0, right_practice(study)).json()["next"] == 1
    for number in range(1, len(study.trials(0))):
        assert client.get("/api/session").json()["listener"]["next"] == number
        assert vote(client, number, "a").status_code == 200
        assert vote(client, number, "a").json()["next"] == number + 1  # a repeated request
        assert vote(client, number, "b").status_code == 409
    session = client.get("/api/session").json()["listener"]
    assert len(session["code"]) == 8
    assert vote(client, len(study.trials(0)), "a").status_code == 409


def test_a_listener_goes_on_with_another_server(study, client, client_of):
    store = VoteStore(study.id, database_url(study.folder))
    another = client_of(create_listening(study, store, Access("a-token-of-the-tests")))
    begin(client)
    another.cookies = client.cookies
    assert vote(another, 0, right_practice(study)).status_code == 200
    assert vote(client, 0, right_practice(study)).json()["next"] == 1
    for number in range(1, 4):
        assert vote(client if number % 2 else another, number, "a").json()["next"] == number + 1
    assert another.get("/api/trials/4/a.wav").status_code == 200
    assert vote(another, 4, "b").status_code == 200
    assert vote(client, 4, "a").status_code == 409
    assert client.get("/api/session").json()["listener"]["next"] == 5
    store.close()


def test_a_vote_that_the_database_refused_may_come_again(study, client):
    begin(client)
    with sqlite3.connect(study.folder / "votes.db") as connection:
        connection.execute("ALTER TABLE votes RENAME TO gone")
    refused = vote(client, 0, right_practice(study))
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    with sqlite3.connect(study.folder / "votes.db") as connection:
        connection.execute("ALTER TABLE gone RENAME TO votes")
    assert vote(client, 0, right_practice(study)).json()["next"] == 1


def test_only_the_clips_of_this_trial_and_the_next_are_given_out(study, client):
    begin(client)
    now = [client.get(f"/api/trials/{n}/{s}.wav").status_code for n in range(3) for s in "ab"]
    assert now == [200, 200, 200, 200, 404, 404]
    vote(client, 0, right_practice(study))
    assert client.get("/api/trials/0/a.wav").status_code == 404
    trial = study.trials(0)[1]
    for slot, clip in zip("ab", trial.clips, strict=True):
        given = client.get(f"/api/trials/1/{slot}.wav")
        assert given.content == study.clip_path(clip).read_bytes()


def test_nothing_but_the_sound_differs_between_systems(study, client):
    begin(client)
    vote(client, 0, right_practice(study))
    seen = set()
    for number in range(1, len(study.trials(0))):
        for slot in "ab":
            answer = client.get(f"/api/trials/{number}/{slot}.wav")
            seen.add((len(answer.content), *sorted(answer.headers.items())))
        vote(client, number, "none")
    assert len(seen) == 1
    words = json.dumps([client.get("/api/session").json(), str(seen)])
    assert not any(system.name in words or system.path in words for system in study.systems)
    assert not any(clip.id in words for clip in study.clips)


MALFORMED = [
    ({"answer": "c"}, "answer: must be one of a, none, b"),
    ({"audible_ms": [700]}, "audible_ms: must hold 2 numbers"),
    ({"audible_ms": [700, 10]}, "audible_ms: every clip must be heard"),
    ({"audible_ms": [700, -1]}, "audible_ms.1: Input should be greater than or equal to 0"),
    ({"elapsed_ms": "9"}, "elapsed_ms: Input should be a valid integer"),
    ({"more": 1}, "more: Extra inputs are not permitted"),
]


def test_a_malformed_vote_is_explained(client):
    begin(client)
    for change, message in MALFORMED:
        body = {"answer": "a", "audible_ms": [700, 700], **HEARD} | change
        answer = client.put("/api/trials/0/vote", json=body)
        assert answer.status_code == 422
        assert answer.json()["error"].startswith(message)


PATHS = [
    "/../study.json",
    "/static/../study.json",
    "/static/%2e%2e/study.json",
    "/static/..%2fstudy.json",
    "/static/base.css%00.js",
    "/static/" + "a" * 5000,
    "/api/trials/0/../../study.json",
    "/api/trials/0/..%2f..%2fstudy.wav",
    "/api/trials/0/%2e%2e.wav",
    "/api/trials/0/a.wav/../../..",
    "/api/trials/-1/a.wav",
    "/api/trials/9999999999999999999999/a.wav",
    "/api/trials/0/c.wav",
    "/api/trials/0/a.WAV",
    "/api/trials/0/a.wav%00",
    "/api/trials/0/\\\\server\\a.wav",
    "/docs",
    "/openapi.json",
]


def test_no_path_leads_out(client):
    begin(client)
    for path in [*PATHS, *climbing("/", "/static/", "/api/trials/0/")]:
        answer = client.get(path)
        assert answer.status_code in (404, 422), path
        assert "loudness" not in answer.text


def test_a_request_for_thousands_of_ranges_gets_the_whole_clip(study, client):
    begin(client)
    ranges = ",".join(f"{n}-{n}" for n in range(4000))
    answer = client.get("/api/trials/0/a.wav", headers={"range": f"bytes={ranges}"})
    assert answer.content == study.clip_path(study.trials(0)[0].clips[0]).read_bytes()


def test_a_crowd_of_new_listeners_is_asked_to_wait():
    arrivals = Arrivals(most=2, window_s=60.0)
    assert [arrivals.wait_s("a", now) for now in (0.0, 10.0, 20.0, 61.0)] == [0, 0, 40, 0]
    assert arrivals.wait_s("b", 20.0) == 0


# --- results


def voted(study, listener, answers, elapsed_ms=9000):
    """Votes of a listener: a function of the trial gives each answer."""
    for number, trial in enumerate(study.trials(listener)):
        shown = {"kind": trial.kind, "clips": list(trial.clips), "repeats": trial.repeats}
        details = {"elapsed_ms": elapsed_ms, "audible_ms": [700, 700]}
        yield Vote(listener, number, answers(trial), shown, details, 0.0)


def systems(study, trial):
    of_clip = {clip.id: clip.system for clip in study.clips}
    return [of_clip[clip] for clip in trial.clips]


def test_the_papers_percentages_are_recovered_from_synthetic_votes(tmp_path):
    """57% and 38% with 5% without a preference, as printed in a panel of Figure 4."""
    names = ("3-tier", "2-tier", "RNN")
    study = make_study(tmp_path / "study", names, trials=20, checks=2, repeats=0)
    wanted = {(0, 1): (57, 38, 5), (0, 2): (82, 11, 7), (1, 2): (70, 20, 10)}
    decks = {
        pair: np.random.default_rng(1).permutation(np.repeat([1, -1, 0], counts)).tolist()
        for pair, counts in wanted.items()
    }

    def answer(trial):
        first, second = systems(study, trial)
        if first is None or second is None:
            return "b" if first is None else "a"
        pair = (min(first, second), max(first, second))
        preferred = decks[pair].pop() if decks[pair] else None
        if preferred is None:
            return "skip"
        if preferred == 0:
            return "none"
        return "a" if (preferred == 1) == (first < second) else "b"

    listeners = [Listener(number, "", "CODE", True, 0.0) for number in range(15)]
    votes = [v for one in listeners for v in voted(study, one.number, answer) if v.answer != "skip"]
    results = analyse(study, listeners, votes)
    assert not any(one.reasons for one in results.listeners)
    found = {(p["first"], p["second"]): p for p in results.pairs}
    for (i, j), counts in wanted.items():
        pair = found[names[i], names[j]]
        assert tuple(pair["shares"][k] for k in ("first", "second", "neither")) == pytest.approx(
            [count / 100 for count in counts]
        )
        assert pair["intervals"]["first"][0] < counts[0] / 100 < pair["intervals"]["first"][1]
    assert found["3-tier", "2-tier"]["p"] == pytest.approx(0.0642, abs=1e-4)  # 57 of 95
    assert [row["name"] for row in results.systems] == list(names)
    wins = np.array([[0, 59.5, 85.5], [40.5, 0, 75], [14.5, 25, 0]])
    expected = bradley_terry(wins[None]).strengths
    assert [row["strength"] for row in results.systems] == pytest.approx(expected.tolist())
    page = report_page(results)
    assert all(name in page for name in ("57.0%", "38.0%", "5.0%", "Bradley"))
    json.dumps(results.to_json(), allow_nan=False)


def test_listeners_are_excluded_by_the_rules_and_named(tmp_path):
    study = make_study(tmp_path / "study", trials=12, checks=2, repeats=2)
    beeps = {beeping for _, beeping in study.checks}

    def careful(trial):
        if set(trial.clips) & beeps:
            return "b" if trial.clips[0] in beeps else "a"
        return "a" if trial.clips[0] < trial.clips[1] else "b"

    def careless(trial):
        return {"a": "b", "b": "a"}[careful(trial)]

    behaviours = [
        (careful, 9000),
        (careless, 9000),
        (careful, 100),
        (lambda trial: careful(trial) if set(trial.clips) & beeps else "a", 9000),
    ]
    listeners = [Listener(n, "", "CODE", n != 2, 0.0) for n in range(5)]
    votes = [v for n, (f, ms) in enumerate(behaviours) for v in voted(study, n, f, ms)]
    votes += list(voted(study, 4, careful))[:-1]
    results = analyse(study, listeners, votes)
    reasons = [one.reasons for one in results.listeners]
    assert reasons == [(), ("checks",), ("fast",), ("one-sided",), ()]
    assert [one.agreed for one in results.listeners] == [2, 2, 2, 0, 1]
    assert results.listeners[0].circular == 0
    assert (results.counted, results.left_out) == (24, 36)
    whole = analyse(study, listeners, votes, require_all=True)
    assert whole.listeners[4].reasons == ("incomplete",)
    assert (whole.counted, whole.left_out) == (12, 48)
    assert [one.code for one in results.listeners] == ["CODE"] * 4 + [""]
    rows = list(csv.DictReader(io.StringIO(votes_csv(study, results, votes))))
    assert len(rows) == len(votes)
    assert Counter(row["excluded"] for row in rows)["fast"] == len(study.trials(2))
    assert {row["system_a"] for row in rows} == {"three", "two", "real", "beeps"}


def test_abx_counts_right_answers(tmp_path):
    study = make_study(tmp_path / "study", kind="abx", trials=8, checks=0, repeats=0)
    listener = Listener(0, "", "", None, 0.0)
    right = list(voted(study, 0, lambda trial: "ab"[trial.clips.index(trial.clips[2])]))
    [first, *_] = analyse(study, [listener], right).pairs
    assert (first["right"], first["share"]) == (first["votes"], 1)
    assert "Recognised" in report_page(analyse(study, [listener], right))


def test_scores_and_comparisons_are_averaged_in_the_order_of_the_systems(tmp_path):
    scores = (5, 2, 4)
    study = make_study(tmp_path / "mos", kind="mos", trials=9, checks=0, repeats=0)
    listeners = [Listener(n, "", "", None, 0.0) for n in range(3)]

    def score(trial):
        [system] = systems(study, trial)
        return "1" if system is None else str(scores[system])

    results = analyse(study, listeners, [v for n in range(3) for v in voted(study, n, score)])
    assert {row["name"]: row["mean"] for row in results.systems} == {
        "three": 5,
        "two": 2,
        "real": 4,
    }
    assert "Mean opinion" in report_page(results)

    study = make_study(tmp_path / "cmos", kind="cmos", trials=9, checks=0, repeats=0)

    def compare(trial):
        a, b = systems(study, trial)
        return "0" if None in (a, b) else str(scores[b] - scores[a])

    results = analyse(study, listeners, [v for n in range(3) for v in voted(study, n, compare)])
    found = {(pair["first"], pair["second"]): pair["mean"] for pair in results.pairs}
    assert found == {("three", "two"): 3, ("three", "real"): 1, ("two", "real"): -2}
    assert "Comparisons" in report_page(results)


def test_a_report_without_votes_says_so(study):
    assert "No votes yet" in report_page(analyse(study, [], []))
