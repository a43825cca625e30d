"""Trials that really train: runs, resumption, pruning, kills, several workers, databases."""

import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
import torch
from tests.forked import context, start_process

from samplewise.config.codec import with_fields
from samplewise.models.io import load_model
from samplewise.search import trial as trial_module
from samplewise.search.settings import Search
from samplewise.search.space import Choices
from samplewise.search.storage import open_study
from samplewise.search.summary import summarise
from samplewise.search.trial import folder_of
from samplewise.search.trial_queue import by_draw
from samplewise.search.workers import run_search


def work(search: Search) -> None:
    """Be one worker of a search."""
    os.fsync = lambda descriptor: None
    torch.set_num_threads(1)
    run_search(search, 1, print)


def wait_for(process: ForkServerProcess, folder: Path, pattern: str) -> None:
    """Wait until there is such a file."""
    while not list(folder.glob(pattern)):
        assert process.is_alive()
        time.sleep(0.002)


def results(search: Search, digest: str):
    """Return ``{draw: (values, bits)}`` of the complete trials; every draw has exactly one."""
    trials = open_study(search, digest).get_trials()
    assert [trial.number for trial in trials] == list(range(len(trials)))
    found = {}
    for draw, same in by_draw(trials).items():
        if draw >= search.trials:  # two workers drew the last draw at once; one handed it back
            assert {trial.user_attrs["outcome"] for trial in same} == {"returned"}
            continue
        (complete,) = [trial for trial in same if trial.state.name == "COMPLETE"]
        found[draw] = (complete.params, complete.value)
    return found


@pytest.fixture(scope="session")
def whole(tmp_path_factory, corpus, base):
    """Runs a search in one go, once for each set of settings."""
    done = {}

    def run(search):
        key = repr((search.space, search.base, search.sampler, search.trials))
        if key not in done:
            one = replace(search, folder=tmp_path_factory.mktemp("whole") / "mine", storage=None)
            assert run_search(one, 1, str) is False
            done[key] = results(one, corpus.digest)
        return done[key]

    return run


def test_every_trial_is_a_run(search, corpus, silent):
    assert run_search(search, 1, silent) is False
    summary = summarise(open_study(search, corpus.digest), search, corpus.sample_rate)
    assert summary["counts"] == {"complete": 3}
    for record in summary["trials"]:
        folder = search.folder / record["folder"]
        model = load_model(folder)
        assert model.provenance["valid_bits"] == record["bits"]
        assert model.model.config.dim == record["values"]["model.dim"]
        events = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        assert min(e["bits"] for e in events if e["event"] == "valid") == record["bits"]
    assert summary["best"] == min(summary["trials"], key=lambda r: r["bits"])["number"]


def test_a_search_in_two_parts_equals_the_search_in_one(search, corpus, silent, whole):
    search = replace(search, storage=f"sqlite:///{search.folder.parent}/study.db")
    for trials in (1, 3):
        run_search(replace(search, trials=trials), 1, silent)
    assert results(search, corpus.digest) == whole(search)


def test_a_kill_changes_no_configuration_and_loses_no_trial(search, corpus, silent, whole):
    """SIGKILL while the second trial trains; its run is gone on with, to the same bits."""
    search = replace(search, base=with_fields(search.base, steps=20, save_every=1))
    process, output = start_process(work, search)
    second = folder_of(search, 1)
    wait_for(process, second, "state/step-*")
    process.kill()
    process.join()
    output.close()
    began = json.loads((second / "config.json").read_text())["train"]
    run_search(search, 1, silent)
    trials = open_study(search, corpus.digest).get_trials()
    assert [trial.state.name for trial in trials][:3] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert trials[2].user_attrs["retry_of"] == 1
    assert not second.exists()
    assert json.loads((folder_of(search, 2) / "config.json").read_text())["train"] == began
    assert results(search, corpus.digest) == whole(search)


def test_a_request_to_stop_keeps_the_trial_for_the_next_time(search, corpus, silent, whole):
    search = replace(search, base=with_fields(search.base, steps=20, save_every=1))
    lines = []

    def say(line):
        lines.append(line)
        if line.startswith("trial 1: 50%"):
            os.kill(os.getpid(), signal.SIGTERM)

    assert run_search(search, 1, say) is True
    assert lines[-1] == "trial 1: interrupted"
    assert run_search(search, 1, silent) is False
    trials = open_study(search, corpus.digest).get_trials()
    assert trials[1].user_attrs["outcome"] == "interrupted"
    assert min(trials[2].intermediate_values) == 6  # rungs 1 to 5 were not trained again
    assert results(search, corpus.digest) == whole(search)


def test_two_workers_share_a_journal(search, corpus, silent, whole, monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_context", lambda method: context)
    assert run_search(search, 2, silent) is False
    assert results(search, corpus.digest) == whole(search)


def test_two_workers_share_a_postgresql_from_folders_of_their_own(
    search, corpus, whole, postgres, tmp_path
):
    search = replace(search, storage=postgres)
    places = [tmp_path / name / search.folder.name for name in ("one", "other")]
    one, other = (replace(search, folder=place) for place in places)
    (killed, lost), (kept, output) = start_process(work, one), start_process(work, other)
    wait_for(killed, one.folder / "trials", "*/weights.safetensors")
    killed.kill()
    killed.join()
    with lost, output:
        printed = output.read()
    kept.join()
    assert kept.exitcode == 0, printed
    assert results(one, corpus.digest) == whole(search)


def test_poor_trials_are_stopped_early(search, corpus, silent):
    rates = Choices((1e-2, 3e-3, 1e-9))  # with the last nothing is learned
    search = replace(
        search,
        space={"learning_rate": rates},
        base=with_fields(search.base, steps=20, schedule="constant"),
        trials=12,
        prune="median",
    )
    run_search(search, 1, silent)
    trials = open_study(search, corpus.digest).get_trials()
    given_up = [trial for trial in trials if trial.state.name == "PRUNED"]
    assert given_up
    assert {trial.params["learning_rate"] for trial in given_up} == {1e-9}
    for trial in given_up:
        state = folder_of(search, trial.number) / "state"
        last = max(int(path.name.partition("-")[2]) for path in state.iterdir())
        assert last == 2 * max(trial.intermediate_values) < 20
        assert load_model(folder_of(search, trial.number))
    assert all(len(trial.intermediate_values) == 9 for trial in trials if trial not in given_up)


def test_an_impossible_trial_fails_with_its_reason_and_leaves_no_folder(search, corpus, silent):
    sizes = Choices(((4, 16), (4, 24)))  # 32 is no multiple of 24
    search = replace(search, space={"model.frame_sizes": sizes}, trials=6)
    run_search(search, 1, silent)
    trials = open_study(search, corpus.digest).get_trials()
    failed = [trial for trial in trials if trial.state.name == "FAIL"]
    assert 0 < len(failed) < 6
    assert {trial.params["model.frame_sizes"] for trial in failed} == {"[4, 24]"}
    assert "seq_len = 32 must be a multiple of the top frame (24)" in failed[0].user_attrs["reason"]
    assert not any(folder_of(search, trial.number).exists() for trial in failed)
    run_search(search, 1, silent)  # and is not tried again
    assert len(open_study(search, corpus.digest).get_trials()) == 6


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (trial_module.TrainingError("the cost is nan: try"), "the cost is nan"),
    ],
)
def test_the_reason_of_a_failure_is_kept(search, corpus, silent, monkeypatch, error, reason):
    def fail(*arguments):
        raise error

    monkeypatch.setattr("samplewise.training.session.fit", fail)
    run_search(replace(search, trials=1), 1, silent)
    (trial,) = open_study(search, corpus.digest).get_trials()
    assert (trial.state.name, trial.user_attrs["reason"]) == ("FAIL", reason)


def test_an_error_outside_the_trial_stops_the_search_and_keeps_the_trial(
    search, corpus, silent, monkeypatch, whole
):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("samplewise.training.session.fit", full)
        with pytest.raises(OSError, match="No space left"):
            run_search(search, 1, silent)
    run_search(search, 1, silent)
    assert results(search, corpus.digest) == whole(search)


def test_a_worker_whose_trial_was_taken_over_leaves_it_alone(search, corpus, silent):
    """Another worker fails and retries the trial while this one still trains it."""
    search = replace(search, base=with_fields(search.base, steps=20), trials=1)
    lines = []

    def say(line):
        lines.append(line)
        if line == lines[0]:
            open_study(search, corpus.digest).tell(0, state=failed)

    from optuna.trial import TrialState

    failed = TrialState.FAIL
    run_search(search, 1, say)
    assert "trial 0: another worker took it over; it is left to that one" in lines
    states = [trial.state.name for trial in open_study(search, corpus.digest).get_trials()]
    assert states == ["FAIL", "COMPLETE"]


def test_zero_workers_are_refused(search, silent):
    with pytest.raises(ValueError, match="workers = 0 must be at least 1"):
        run_search(search, 0, silent)
