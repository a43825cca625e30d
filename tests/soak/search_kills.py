"""Kill workers of a search at random moments, over and over, on every kind of storage.

    python tests/soak/search_kills.py --kills 60

Two workers share a study; their objective takes a moment and is a function of the values drawn.
One of them at a time is killed (SIGKILL) and started again. Prints, for each storage: kills, how
many of them left a trial as running (the control: if none did, the harness proves nothing), trials
with the same number, complete trials that had been acknowledged and are lost or changed, trials
still running at the end, draws that are missing or complete twice, and draws whose values are not
those of a search that was never stopped (0 are allowed of each). PostgreSQL is started by the
script itself if it is installed.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from samplewise.config.codec import with_fields
from samplewise.config.presets import PRESETS
from samplewise.search.settings import Search
from samplewise.search.space import default_space
from samplewise.search.storage import open_study
from samplewise.search.trial import suggest
from samplewise.search.trial_queue import MAX_KILLS, by_draw

WORKER = """
import json, random, sys, time
sys.path.insert(0, sys.argv[1])
from search_kills import search_of, value_of
from samplewise.search.trial import suggest
from samplewise.search.trial_queue import TrialQueue
from samplewise.search.liveness import Liveness
from samplewise.search.storage import open_study
search = search_of(sys.argv[2], sys.argv[3] or None, int(sys.argv[4]))
study = open_study(search, "soak")
generator = random.Random()
with Liveness(search.folder) as liveness:
    queue = TrialQueue(study, search, liveness)
    print("ready", flush=True)
    while True:
        queue.requeue()
        trial = queue.next_trial()
        if trial is None:
            if queue.is_settled():
                break
            time.sleep(0.2)
            continue
        values = suggest(trial, search)
        for rung in range(1, 4):
            time.sleep(generator.uniform(0, 0.02))
            trial.report(value_of(values), rung)
        study.tell(trial, value_of(values))
        print("done", trial.number, repr(value_of(values)), flush=True)
"""
ENDLESS = 10**6


def search_of(folder: str | Path, storage: str | None, trials: int) -> Search:
    """Return the settings of the search: the space of `small`."""
    base = with_fields(PRESETS["small"], steps=10, minutes=None)
    place = Path(folder)
    return Search(place, place, base, default_space(base), {}, trials=trials, storage=storage)


def value_of(values: dict[str, Any]) -> float:
    """Return the objective."""
    return values["learning_rate"] * 1000 + values["model.dim"]


class Worker:
    """A process that says which trials it has completed."""

    def __init__(self, folder: Path, storage: str | None, trials: int, acknowledged: dict):
        here = str(Path(__file__).parent)
        arguments = [here, str(folder), storage or "", str(trials)]
        self._log = (folder / f"log-{time.monotonic_ns()}").open("w+")
        self._acknowledged = acknowledged
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, *arguments], stdout=self._log, stderr=subprocess.STDOUT
        )
        self._name = self._log.name

    def wait_until_ready(self) -> None:
        while "ready" not in Path(self._name).read_text():
            if self.process.poll() is not None:
                raise SystemExit(f"a worker ended:\n{Path(self._name).read_text()}")
            time.sleep(0.005)

    def kill(self) -> None:
        self.process.kill()
        self.end()

    def end(self) -> int:
        code = self.process.wait()
        self._log.close()
        text = Path(self._name).read_text()
        for line in text.splitlines(keepends=True):
            if line.startswith("done") and line.endswith("\n"):
                _, number, value = line.split()
                self._acknowledged[int(number)] = float(value)
        if "Traceback" in text:
            raise SystemExit(f"a worker failed:\n{text}")
        return code


def soak(storage: str | None, folder: Path, kills: int, generator: random.Random) -> dict[str, Any]:
    """Kill workers on one storage and count what went wrong."""
    acknowledged: dict[int, float] = {}
    folder.mkdir()
    study = open_study(search_of(folder, storage, ENDLESS), "soak")
    workers = [Worker(folder, storage, ENDLESS, acknowledged) for _ in range(2)]
    left_running = 0
    for _ in range(kills):
        victim = generator.randrange(2)
        workers[victim].wait_until_ready()
        time.sleep(generator.uniform(0.0, 1.0))
        workers[victim].kill()
        # Read at once: the other worker mends it before its next trial.
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        left_running += len(running) > 1
        workers[victim] = Worker(folder, storage, ENDLESS, acknowledged)
    for worker in workers:
        worker.kill()
    kills += 2
    drawn = len(by_draw(study.get_trials(deepcopy=False)))
    last = [Worker(folder, storage, drawn, acknowledged) for _ in range(2)]
    codes = [worker.end() for worker in last]
    return {
        "kills": kills,
        "left_running_by_a_kill": left_running,
        "last_exit_codes": codes,
        **_count(study, search_of(folder, storage, drawn), acknowledged),
    }


def _count(study: Any, search: Search, acknowledged: dict[int, float]) -> dict[str, int]:
    trials = study.get_trials(deepcopy=False)
    numbers = [trial.number for trial in trials]
    complete = {t.number: t.value for t in trials if t.state == TrialState.COMPLETE}
    draws = by_draw(trials)
    whole = open_study(replace(search, folder=search.folder / "whole", storage=None), "soak")
    missing = twice = given_up = other = 0
    for draw in range(search.trials):
        expected = suggest(whole.ask(), search)
        attempts = draws.get(draw, [])
        done = [trial for trial in attempts if trial.state == TrialState.COMPLETE]
        killed = sum(
            trial.state == TrialState.FAIL and "outcome" not in trial.user_attrs
            for trial in attempts
        )
        given_up += not done and killed >= MAX_KILLS
        missing += not done and killed < MAX_KILLS
        twice += len(done) > 1
        other += any(trial.value != value_of(expected) for trial in done)
    return {
        "trials": len(trials),
        "draws": search.trials,
        "acknowledged": len(acknowledged),
        "retried": sum("retry_of" in trial.user_attrs for trial in trials),
        "handed_back": sum(t.user_attrs.get("outcome") == "returned" for t in trials),
        "draws_given_up_after_three_kills": given_up,
        "duplicate_numbers": len(numbers) - len(set(numbers)),
        "acknowledged_and_lost": sum(complete.get(n) != v for n, v in acknowledged.items()),
        "stale": sum(trial.state in (TrialState.RUNNING, TrialState.WAITING) for trial in trials),
        "draws_missing": missing,
        "draws_complete_twice": twice,
        "draws_with_other_values": other,
    }


WRONG = ("duplicate_numbers", "acknowledged_and_lost", "stale", "draws_missing")
WRONG = (*WRONG, "draws_complete_twice", "draws_with_other_values")


@contextmanager
def postgres(folder: Path) -> Iterator[str | None]:
    """Run a PostgreSQL of our own, if it is installed; yields its URL."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    where = os.pathsep.join([os.environ.get("PATH", ""), *map(str, places)])
    initdb, pg_ctl = (shutil.which(name, path=where) for name in ("initdb", "pg_ctl"))
    if not (initdb and pg_ctl):
        yield None
        return
    folder.mkdir()
    options: dict[str, Any] = {"capture_output": True, "check": True, "cwd": "/"}
    if os.getuid() == 0:  # it refuses to run as root
        folder.parent.chmod(0o755)
        shutil.chown(folder, "nobody")
        options["user"] = "nobody"
    data = str(folder / "data")
    subprocess.run([initdb, "-D", data, "-U", "me", "-A", "trust"], **options)
    settings = f"-k {folder} -c listen_addresses=''"
    log = str(folder / "log")
    subprocess.run([pg_ctl, "-D", data, "-w", "-l", log, "-o", settings, "start"], **options)
    try:
        yield f"postgresql://me@/postgres?host={folder}"
    finally:
        subprocess.run([pg_ctl, "-D", data, "-m", "fast", "stop"], **options)


def main() -> int:
    """Run the soak; 0 if nothing was lost, doubled or left behind and the control showed."""
    parser = argparse.ArgumentParser(description="Kill workers of a search.")
    parser.add_argument("--kills", type=int, default=60, help="on each storage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--storage", nargs="*", default=["journal", "sqlite", "postgresql"])
    args = parser.parse_args()
    generator = random.Random(args.seed)  # noqa: S311
    failed = False
    with tempfile.TemporaryDirectory() as name, postgres(Path(name) / "postgres") as url:
        urls = {"journal": None, "sqlite": f"sqlite:///{name}/study.db", "postgresql": url}
        for kind in args.storage:
            if kind == "postgresql" and url is None:
                print("postgresql: not installed", flush=True)
                continue
            began = time.monotonic()
            found = soak(urls[kind], Path(name) / kind, args.kills, generator)
            found["seconds"] = round(time.monotonic() - began)
            print(json.dumps({kind: found}, indent=2), flush=True)
            failed |= any(found[key] for key in WRONG) or any(found["last_exit_codes"])
            failed |= not found["left_running_by_a_kill"]
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
