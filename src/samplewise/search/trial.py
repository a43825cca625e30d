"""One trial: an ordinary run, trained until its budget is used up or there is no hope for it."""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import Trial, TrialState

from samplewise.atomic_io import lock
from samplewise.config.training import TrainConfig
from samplewise.data.corpus import Corpus
from samplewise.errors import SamplewiseError, TrainingError
from samplewise.search.liveness import Heartbeat
from samplewise.search.settings import RUNGS, Search
from samplewise.search.space import Choices, Entry, text, value_of
from samplewise.search.trial_queue import BEAT, FAILED, INTERRUPTED, OUTCOME, REASON, ancestors
from samplewise.training.interrupts import Interrupts
from samplewise.training.loop import STOPPED_EARLY, share_used
from samplewise.training.run import RunState, count_parameters
from samplewise.training.session import train_run

TRIALS = "trials"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Workplace:
    """What a worker has at hand for every trial."""

    search: Search
    study: optuna.Study
    corpus: Corpus
    interrupts: Interrupts
    say: Say


def folder_of(search: Search, number: int) -> Path:
    """Return the run folder of a trial."""
    return search.folder / TRIALS / f"trial-{number:04d}"


def run_trial(place: Workplace, trial: Trial) -> None:
    """Train a trial and tell the study how it went.

    A trial that cannot be (too large, exploded, values that do not fit) ends as failed, with the
    reason; what is no fault of its own (a full disk, say) leaves it to be gone on with.
    """
    try:
        try:
            values = suggest(trial, place.search)
            config = place.search.config_of(values, place.corpus.sample_rate)
            bits, reason = _train(place, trial, config)
        except (Exception, KeyboardInterrupt) as error:
            why = _impossible(error)
            _end_as(place, trial, FAILED if why else INTERRUPTED, why or str(error))
            if why is None:
                raise
            return
        _end(place, trial, bits, reason)
    except optuna.exceptions.UpdateFinishedTrialError:
        place.say(f"trial {trial.number}: another worker took it over; it is left to that one")


def _end(place: Workplace, trial: Trial, bits: float | None, reason: str) -> None:
    if reason.startswith("interrupted"):
        _end_as(place, trial, INTERRUPTED, "interrupted")
        return
    assert bits is not None
    if reason == STOPPED_EARLY:
        place.study.tell(trial, state=TrialState.PRUNED)
        place.say(f"trial {trial.number}: given up at {bits:.3f} bits per sample")
    else:
        place.study.tell(trial, bits)
        place.say(f"trial {trial.number}: {bits:.3f} bits per sample")


def _end_as(place: Workplace, trial: Trial, outcome: str, reason: str) -> None:
    trial.set_user_attr(REASON, reason)
    trial.set_user_attr(OUTCOME, outcome)
    place.study.tell(trial, state=TrialState.FAIL)
    place.say(f"trial {trial.number}: {reason if outcome == INTERRUPTED else f'failed: {reason}'}")


def suggest(trial: Trial, search: Search) -> dict[str, Any]:
    """Return the values of a trial: dotted field -> value."""
    values: dict[str, Any] = {}
    for name, entry in search.space.items():
        if entry.only_if is not None:
            field, allowed = entry.only_if
            known = {**search.fixed, **values}
            if (known[field] if field in known else value_of(search.base, field)) not in allowed:
                continue
        values[name] = _suggest_one(trial, name, entry)
    return values


def decode(search: Search, params: dict[str, Any]) -> dict[str, Any]:
    """Return the values that Optuna's parameters stand for."""
    return {name: _meant(search.space[name], value) for name, value in params.items()}


def _suggest_one(trial: Trial, name: str, entry: Entry) -> Any:
    if isinstance(entry, Choices):
        return _meant(entry, trial.suggest_categorical(name, [*map(_written, entry.values)]))
    if isinstance(entry.low, int) and isinstance(entry.high, int):
        return trial.suggest_int(name, entry.low, entry.high, log=entry.log)
    return trial.suggest_float(name, entry.low, entry.high, log=entry.log)


def _written(value: Any) -> Any:
    """Return a choice as Optuna can store it: lists as words."""
    return text(value) if isinstance(value, tuple) else value


def _meant(entry: Entry, written: Any) -> Any:
    if not isinstance(entry, Choices):
        return written
    return next(value for value in entry.values if _written(value) == written)


def _train(place: Workplace, trial: Trial, config: TrainConfig) -> tuple[float | None, str]:
    """Train; return the best validation in bits per sample, and why training stopped."""
    trials = place.study.get_trials(deepcopy=False)
    folder = _take_over(place.search, trial.number, ancestors(trial, trials))
    with Heartbeat(lambda number: _beat(trial, number)) as beats:
        outcome = train_run(
            config,
            place.corpus,
            folder,
            say=_silent,
            interrupts=place.interrupts,
            on_start=lambda run: _announce(place, trial, run),
            should_stop=_Judge(place, trial, beats),
        )
    progress = outcome.run.progress
    trial.set_user_attr("steps", progress.step)
    trial.set_user_attr("seconds", round(progress.seconds, 1))
    trial.set_user_attr("best_step", progress.best_step)
    return progress.best_bits, outcome.reason


class _Judge:
    """Says after each validation whether to give up, comparing at equal shares of the budget."""

    def __init__(self, place: Workplace, trial: Trial, beats: Heartbeat):
        self._place, self._trial, self._beats = place, trial, beats
        self._rung = 0

    def __call__(self, run: RunState, bits: float) -> bool:
        if self._beats.lost:
            raise optuna.exceptions.UpdateFinishedTrialError
        rung = int(share_used(run) * RUNGS)
        if not self._rung < rung < RUNGS:
            return False
        self._rung = rung
        self._place.say(f"trial {self._trial.number}: {rung / RUNGS:.0%}, {bits:.3f} bits")
        self._trial.report(bits, rung)
        return bool(self._trial.should_prune())


def _take_over(search: Search, number: int, before: list[int]) -> Path:
    """Return the folder of a trial; the run of the trial that it repeats is gone on with."""
    folder = folder_of(search, number)
    for older in (folder_of(search, other) for other in before):
        if older.is_dir():
            try:
                with lock(older, "training"):
                    older.rename(folder)
            except SamplewiseError:
                pass  # its worker is not dead after all; start anew
            break
    return folder


def _announce(place: Workplace, trial: Trial, run: RunState) -> None:
    size = count_parameters(run.model)
    trial.set_user_attr("parameters", size)
    drawn = ", ".join(f"{name} {text(value)}" for name, value in trial.params.items())
    place.say(f"trial {trial.number}: {size / 1e6:.2f} M parameters, {drawn}")


def _beat(trial: Trial, number: int) -> bool:
    try:
        trial.set_user_attr(BEAT, number)
    except optuna.exceptions.UpdateFinishedTrialError:
        return False
    return True


def _impossible(error: BaseException) -> str | None:
    """Return why a trial cannot be; None if the error says nothing about it."""
    memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
    memory |= isinstance(error, OSError) and error.errno == errno.ENOMEM
    memory |= isinstance(error, RuntimeError) and "allocate memory" in str(error)
    if memory:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return "out of memory"
    if isinstance(error, TrainingError):
        return str(error).split(":", maxsplit=1)[0]
    return str(error) if isinstance(error, ValueError) else None


def _silent(line: str) -> None:
    """A trial's own lines are in its metrics.jsonl."""
