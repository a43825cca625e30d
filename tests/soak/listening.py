"""Long checks of the listening test: kills under load, blindness, malformed requests, twenty pairs.

    python -m tests.soak.listening kills --kills 50 --listeners 50
    python -m tests.soak.listening blind
    python -m tests.soak.listening fuzz --cases 2000      # needs the schemathesis command
    python -m tests.soak.listening twenty                 # needs Chromium
    python -m tests.soak.listening load --connections 32 --seconds 8
    python -m tests.soak.listening scripts --study FOLDER --listeners 20

Each prints its figures and exits 1 if something is wrong.
"""

import argparse
import hashlib
import http.client
import json
import math
import os
import random
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from tests.soak.api_fuzz import ACCESS, schema_of, schemathesis
from tests.web import studies
from tests.web.studies import TOKEN, make_study, serving_study

from samplewise.audio.files import read_audio
from samplewise.web.listening.routes import Listening, make_router
from samplewise.web.listening.stimuli import Source
from samplewise.web.listening.study import CLIPS, Making, assemble, open_study, write_study
from samplewise.web.listening.votes import VoteStore, database_url

ANSWERS = ("a", "none", "b")


class Client:
    """One listener over a connection of its own, which is opened again when it breaks."""

    def __init__(self, port):
        self.port, self.cookie, self.connection = port, ACCESS, None

    def request(self, method, path, body=None):
        """Return status, headers and body; raise OSError if the server is away."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {"cookie": self.cookie, "content-type": "application/json"}
        try:
            self.connection.request(method, path, body and json.dumps(body), headers)
            response = self.connection.getresponse()
            return response.status, response.headers, response.read()
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()
            self.connection = None
            raise ConnectionError from error

    def begin(self):
        """Become a listener; return the key of the cookie."""
        status, headers, _ = self.request("POST", "/api/listeners", {"consent": True})
        if status != 201:
            raise ConnectionError(status)
        name, _, key = headers["set-cookie"].partition(";")[0].partition("=")
        self.cookie = f"{ACCESS}; {name}={key}"
        return key

    def vote(self, number, answer):
        """Vote; return whether it was acknowledged, and in how many seconds."""
        body = {"answer": answer, "elapsed_ms": 9000, "audible_ms": [900, 900]}
        began = time.perf_counter()
        status, *_ = self.request("PUT", f"/api/trials/{number}/vote", body)
        return status, time.perf_counter() - began


def start(folder, port):
    """Start the command and wait until it listens."""
    command = [sys.executable, "-m", "samplewise.cli.main", "listen", "serve", str(folder)]
    options = ["--port", str(port), "--token", TOKEN]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=sys.stderr)
    assert process.stdout.readline()
    return process


def free_port():
    """Return a port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def vote_for_ever(port, acknowledged, stop, latencies):
    """Vote until ``stop``; an answer that was not acknowledged is sent again."""
    client, key, number, answer = Client(port), None, 0, None
    rng = random.Random()  # noqa: S311
    while not stop.is_set():
        try:
            if key is None or number > 200:
                client.cookie = ACCESS
                key, number = client.begin(), 0
            if answer is None:
                answer = "b" if number == 0 else rng.choice(ANSWERS)
            status, seconds = client.vote(number, answer)
            if status == 409 and number == 0:
                answer = "a" if answer == "b" else "b"  # the practice trial has a right answer
                continue
            if status == 200:
                acknowledged.append((key, number, answer))
                latencies.append(seconds)
                number, answer = number + 1, None
            elif status not in (503, 429):
                raise AssertionError(f"status {status} at trial {number}")
        except ConnectionError:
            time.sleep(0.05)


def kills(folder, arguments):
    """Kill the server under load; no acknowledged vote may be missing, none may be doubled."""
    study = make_study(folder / "study", trials=200, checks=0, repeats=0)
    port, stop, acknowledged, latencies = free_port(), threading.Event(), [], []
    rows = [
        threading.Thread(target=vote_for_ever, args=(port, acknowledged, stop, latencies))
        for _ in range(arguments.listeners)
    ]
    process = start(study.folder, port)
    for row in rows:
        row.start()
    during = 0
    for _ in range(arguments.kills):
        before = len(acknowledged)
        while len(acknowledged) < before + 20:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.5))  # noqa: S311
        process.kill()
        process.wait()
        during += len(acknowledged) > before
        process = start(study.folder, port)
    time.sleep(1)
    stop.set()
    for row in rows:
        row.join()
    process.terminate()
    process.wait()
    with sqlite3.connect(study.folder / "votes.db") as connection:
        stored = connection.execute(
            "SELECT key, trial, answer FROM votes JOIN listeners ON number = listener"
        ).fetchall()
        intact = connection.execute("PRAGMA integrity_check").fetchone()[0]
    found = {(key, trial): answer for key, trial, answer in stored}
    lost = sum(
        found.get((hashlib.sha256(key.encode()).hexdigest(), trial)) != answer
        for key, trial, answer in acknowledged
    )
    doubled = len(stored) - len(found)
    print(
        f"kills {arguments.kills} (with votes between them: {during}), listeners "
        f"{arguments.listeners}, acknowledged {len(acknowledged)}, stored {len(stored)}, lost "
        f"{lost}, doubled {doubled}, database {intact}"
    )
    return not lost and not doubled and intact == "ok" and during == arguments.kills


def load(folder, arguments):
    """Votes per second, their latency, and the CPU time of both sides: the median of the runs."""
    runs = [load_once(folder / str(run), arguments) for run in range(arguments.runs)]
    for row in runs:
        print("{:.0f} votes/s, p50 {:.0f} ms, p99 {:.0f} ms, CPU {:.2f} + {:.2f} ms".format(*row))
    rate, _, p99, server, client = np.median(runs, 0)
    print(
        f"{arguments.connections} connections, median: {rate:.0f} votes/s, p99 {p99:.0f} ms; CPU "
        f"of a vote: server {server:.2f} ms, this script {client:.2f} ms"
    )
    return rate >= 300 and p99 <= 250


def load_once(folder, arguments):
    """Rate, median and 99th percentile in ms, CPU ms of server and client per vote."""
    study = make_study(folder, trials=200, checks=0, repeats=0)
    port, stop, acknowledged, latencies = free_port(), threading.Event(), [], []
    process = start(study.folder, port)
    rows = [
        threading.Thread(target=vote_for_ever, args=(port, acknowledged, stop, latencies))
        for _ in range(arguments.connections)
    ]
    for row in rows:
        row.start()
    time.sleep(2)
    before, used = len(latencies), (cpu_seconds(process.pid), time.process_time())
    began = time.perf_counter()
    time.sleep(arguments.seconds)
    taken = sorted(latencies[before:])
    seconds = time.perf_counter() - began
    cpu = cpu_seconds(process.pid) - used[0], time.process_time() - used[1]
    stop.set()
    for row in rows:
        row.join()
    process.terminate()
    process.wait()
    p50, p99 = (1000 * taken[int(share * len(taken))] for share in (0.5, 0.99))
    return len(taken) / seconds, p50, p99, *(1000 * part / len(taken) for part in cpu)


def cpu_seconds(process):
    """CPU time of a process so far, from Linux's /proc."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def blind(folder, arguments):
    """Try to tell two systems of the same sounds apart from all that a browser receives.

    They differ in what must not show: name, level, length, order, and kind of source. No clip is
    heard twice, so that answers are independent. As a control, the classifier must tell the
    systems apart by their clips as they were before the study.
    """
    rng = np.random.default_rng(7)
    count = 20 * arguments.listeners

    def system(name, level, seconds):
        waves = []
        for _ in range(count):
            noise = np.convolve(rng.normal(size=round(seconds * 8000) + 7), np.ones(8) / 8, "valid")
            steps = np.round(level * noise / np.abs(noise).max() * 2**15) / 2**15  # a 16-bit file
            waves.append(steps.astype(np.float32))
        names = tuple(f"{name} {i}" for i in range(count))
        return Source(name, f"/{name}", tuple(waves), names, 8000, name == "recordings")

    sources = [system("recordings", 0.9, 0.8), system("model", 0.06, 0.6)]
    study, waves = assemble(folder, sources, Making(trials=20, checks=0, repeats=0))
    (folder / CLIPS).mkdir()
    for clip, data in waves.items():
        study.clip_path(clip).write_bytes(data)
    write_study(study)
    of_clip = {clip.id: clip for clip in study.clips}
    before = {
        name: wave
        for source in sources
        for name, wave in zip(source.names, source.waves, strict=True)
    }
    rows, labels, controls = [], [], []
    with serving_study(study) as (url, _):
        for listener in range(arguments.listeners):
            client = Client(int(url.rpartition(":")[2]))
            client.begin()
            for number, trial in enumerate(study.trials(listener)):
                seen = [receive(client, f"/api/trials/{number}/{slot}.wav") for slot in "ab"]
                for answer in ("none",) if number else ("a", "b"):
                    client.vote(number, answer)
                if number:
                    first, second = np.array(seen)
                    rows.append([*(first - second), number, listener % 7, number % 2])
                    one, other = (of_clip[clip] for clip in trial.clips)
                    labels.append(one.system)
                    controls.append(sound(before[one.source]) - sound(before[other.source]))
    bound = 2.6 * math.sqrt(len(labels) / 8)  # of 100 honest runs one exceeds it
    results = {}
    for name, features in (("seen", rows), ("control", controls)):
        right, total = classify(np.array(features), np.array(labels))
        results[name] = abs(right - total / 2) < bound
        chance = f"chance {total / 2:.0f} ± {bound:.0f}"
        print(f"{name}: right {right} of {total} ({right / total:.1%}); {chance}")
    return results == {"seen": True, "control": False}


def receive(client, path):
    """Return the features of one response: time, size, headers and bytes."""
    began = time.perf_counter()
    status, headers, body = client.request("GET", path)
    seconds = time.perf_counter() - began
    assert status == 200, status
    about = hashlib.sha256(str(headers).encode()).digest()
    seen = [seconds, len(body), len(str(headers)), int.from_bytes(about[:2], "big")]
    return np.array([*seen, *sound(np.frombuffer(body[44:], "<i2") / 2**15)])


def sound(wave):
    """Return features of the samples: level, steps, spectrum, noise floor and ends."""
    samples = wave[: round(0.6 * 8000)] * 2.0**15
    values = np.unique(samples)
    magnitudes = np.abs(samples)
    power = np.log(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2 + 1e-6)
    return np.array(
        [
            magnitudes.max(),
            samples.std(),
            magnitudes.mean(),
            len(values),
            np.median(np.diff(values)),
            (samples == 0).mean(),
            *(np.mean(samples % size == 0) for size in (2, 3, 5, 8)),
            np.abs(np.diff(samples)).mean(),
            magnitudes[:200].mean(),
            magnitudes[-200:].mean(),
            *(band.mean() for band in np.array_split(power, 16)),
            *np.quantile(power, (0.002, 0.01, 0.03)),
        ]
    )


def classify(rows, labels):
    """Fit a logistic regression to the even rows; return what it gets right of the odd ones."""
    spread = rows.std(0)
    x = np.clip((rows - rows.mean(0)) / np.where(spread > 0, spread, 1), -5, 5)
    x = np.hstack([x, np.abs(x), np.ones((len(x), 1))])
    weights = np.zeros(x.shape[1])
    for _ in range(2000):
        p = 1 / (1 + np.exp(-x[::2] @ weights))
        weights += 0.1 * (x[::2].T @ (labels[::2] - p) / len(p) - 0.01 * weights)
    right = (x[1::2] @ weights > 0) == (labels[1::2] == 1)
    return int(right.sum()), len(right)


def fuzz(folder, arguments):
    """Send malformed and unexpected requests; none may fail with a status of 500 or more."""
    study = make_study(folder / "study")
    store = VoteStore(study.id, database_url(study.folder))
    with serving_study(study) as (url, _):
        client = Client(int(url.rpartition(":")[2]))
        client.begin()
        schema = schema_of(make_router(Listening(study, store)))
        passed = schemathesis(folder, schema, url, arguments, client.cookie)
        alive = Client(client.port).request("GET", "/api/session")[0]
    store.close()
    print(f"the server afterwards: {alive}")
    return passed and alive == 200


def twenty(folder, arguments):
    """A whole test of twenty pairs in Chromium, by keyboard, with a reload after ten."""
    from tests.web.test_listening_page import begin, pass_headphones, take

    study = make_study(folder / "study", clips=20, trials=20, checks=2, repeats=2)
    with serving_study(study) as (url, store), studies.browsing() as browser:
        page = browser.new_context().new_page()
        began = time.monotonic()
        begin(page, url)
        pass_headphones(page)
        meant = take(page, study, 0, range(10))
        page.reload()
        meant |= take(page, study, 0, range(10, len(study.trials(0))))
        page.locator("#done:not([hidden])").wait_for()
        same = store.answers(0) == meant
        code = page.locator("#code").text_content()
    print(f"{len(meant)} answers in {time.monotonic() - began:.0f} s, all stored: {same}, {code}")
    return same


def scripts(folder, arguments):
    """Let scripts take a real test: they prefer what resembles the recordings, with some noise."""
    study = open_study(arguments.study)
    anchor = next(i for i, system in enumerate(study.systems) if system.is_recordings)
    spectra = {clip.id: spectrum(study.clip_path(clip.id)) for clip in study.clips}
    recordings = np.mean([spectra[clip] for clip in study.pool.systems[anchor]], 0)
    distance = {clip: np.abs(one - recordings).mean() for clip, one in spectra.items()}
    beeps = {beeping for _, beeping in study.checks}
    rng = np.random.default_rng(1)
    with serving_study(study) as (url, _):
        for listener in range(arguments.listeners):
            client = Client(int(url.rpartition(":")[2]))
            client.begin()
            for number, trial in enumerate(study.trials(listener)):
                a, b = trial.clips
                margin = (distance[b] - distance[a]) / 2 + rng.normal()
                answer = "none" if abs(margin) < 0.3 else "a" if margin > 0 else "b"
                if {a, b} & beeps:
                    answer = "b" if a in beeps else "a"
                body = {
                    "answer": answer,
                    "elapsed_ms": int(3000 * study.seconds),
                    "audible_ms": [int(1000 * study.seconds)] * 2,
                }
                status, *_ = client.request("PUT", f"/api/trials/{number}/vote", body)
                assert status == 200, status
    return True


def spectrum(path):
    """Return the mean spectrum of a sound file in dB, in 40 bands."""
    wave, _ = read_audio(path, None)
    frames = np.lib.stride_tricks.sliding_window_view(wave, 1024)[::512] * np.hanning(1024)
    power = (np.abs(np.fft.rfft(frames)) ** 2).mean(0)[1:513]
    edges = np.unique(np.geomspace(1, 512, 41).astype(int)) - 1
    return 10 * np.log10(np.add.reduceat(power, edges[:-1]) + 1e-12)


def main():
    """Run one check; exit 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    checks = {check.__name__: check for check in (kills, blind, fuzz, twenty, load, scripts)}
    parser.add_argument("--study", type=Path, help="a folder of `samplewise listen create`")
    parser.add_argument("check", choices=checks)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--listeners", type=int, default=50)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--schemathesis", help="the command, if it is not on the path")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return 0 if checks[arguments.check](Path(folder), arguments) else 1


if __name__ == "__main__":
    sys.exit(main())
