"""One trial: an ordinary run that ends with its budget, or earlier if its results are poor."""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial, TrialState

from samplewise.atomic_io import lock
from samplewise.config.training import TrainConfig
from samplewise.data.corpus import Corpus
from samplewise.errors import SamplewiseError, TrainingError, is_out_of_memory
from samplewise.search.liveness import Heartbeat
from samplewise.search.settings import RUNGS, Search
from samplewise.search.space import Choices, Space, Value, format_value, value_of
from samplewise.search.trial_queue import FAILED, INTERRUPTED, OUTCOME, REASON, by_draw, draw_of
from samplewise.training.interrupts import Interrupts
from samplewise.training.run import RunState, count_parameters
from samplewise.training.session import Outcome, train_run
from samplewise.training.train_step import share_used

Say = Callable[[str], None]


def folder_of(search: Search, number: int) -> Path:
    """Return the run folder of a trial."""
    return search.folder / "trials" / f"trial-{number:04d}"


def encode(value: Value) -> Any:
    """Return a choice in the form that Optuna stores: lists as text."""
    return format_value(value) if isinstance(value, tuple) else value


def suggest(trial: Trial, search: Search) -> dict[str, Any]:
    """Draw the values of a trial: flag -> value."""
    values: dict[str, Any] = {}
    for name, entry in search.space.items():
        if entry.only_if is not None:
            field, allowed = entry.only_if
            known = {field: value_of(search.base, field), **search.fixed, **values}
            if known[field] not in allowed:
                continue
        if isinstance(entry, Choices):
            drawn = trial.suggest_categorical(name, [encode(value) for value in entry.values])
        elif isinstance(entry.low, int) and isinstance(entry.high, int):
            drawn = trial.suggest_int(name, entry.low, entry.high, log=entry.log)
        else:
            drawn = trial.suggest_float(name, entry.low, entry.high, log=entry.log)
        values |= decode(search.space, {name: drawn})
    return values


def decode(space: Space, params: dict[str, Any]) -> dict[str, Any]:
    """Return the values that Optuna's parameters stand for."""
    values = dict(params)
    for name, param in params.items():
        entry = space[name]
        if isinstance(entry, Choices):
            values[name] = next(value for value in entry.values if encode(value) == param)
    return values


@dataclass(frozen=True)
class TrialRunner:
    """Trains the trials that a worker takes from the queue."""

    search: Search
    study: optuna.Study
    corpus: Corpus
    interrupts: Interrupts
    say: Say

    def run(self, trial: Trial) -> None:
        """Train a trial and record its result in the study.

        A trial that is impossible (out of memory, infinite cost, values that do not fit each other)
        ends as failed, with the reason. After any other error, such as a full disk, the trial is
        repeated by the next worker.
        """
        try:
            try:
                values = suggest(trial, self.search)
                config = self.search.config_of(values, self.corpus.sample_rate)
                outcome = self._train(trial, config)
            except (Exception, KeyboardInterrupt) as error:
                cause = _failure_of_trial(error)
                self._fail(trial, FAILED if cause else INTERRUPTED, cause or str(error))
                if cause is None:
                    raise
                return
            bits = outcome.run.progress.best_bits
            if outcome.is_interrupted:
                self._fail(trial, INTERRUPTED, "interrupted")
            elif outcome.is_stopped_early:
                self.study.tell(trial, state=TrialState.PRUNED)
                self.say(f"trial {trial.number}: given up at {bits:.3f} bits per sample")
            else:
                self.study.tell(trial, bits)
                self.say(f"trial {trial.number}: {bits:.3f} bits per sample")
        except UpdateFinishedTrialError:
            self.say(f"trial {trial.number}: another worker took it over; it is left to that one")

    def _fail(self, trial: Trial, outcome: str, reason: str) -> None:
        trial.set_user_attr(REASON, reason)
        trial.set_user_attr(OUTCOME, outcome)
        self.study.tell(trial, state=TrialState.FAIL)
        self.say(f"trial {trial.number}: {'failed: ' if outcome == FAILED else ''}{reason}")

    def _train(self, trial: Trial, config: TrainConfig) -> Outcome:
        last_rung = 0

        def announce(run: RunState) -> None:
            size = count_parameters(run.model)
            trial.set_user_attr("parameters", size)
            drawn = ", ".join(f"{name} {format_value(v)}" for name, v in trial.params.items())
            self.say(f"trial {trial.number}: {size / 1e6:.2f} M parameters, {drawn}")

        def should_stop(run: RunState, bits: float) -> bool:
            """Report each rung of the budget; ask the pruner whether to stop there."""
            nonlocal last_rung
            if heartbeat.lost:
                raise UpdateFinishedTrialError
            rung = int(share_used(run) * RUNGS)
            if not last_rung < rung < RUNGS:
                return False
            last_rung = rung
            self.say(f"trial {trial.number}: {rung / RUNGS:.0%}, {bits:.3f} bits")
            trial.report(bits, rung)
            return bool(trial.should_prune())

        with Heartbeat(trial) as heartbeat:
            outcome = train_run(
                config,
                self.corpus,
                self._take_over(trial),
                say=_ignore,
                interrupts=self.interrupts,
                on_start=announce,
                should_stop=should_stop,
            )
        progress = outcome.run.progress
        trial.set_user_attr("steps", progress.step)
        trial.set_user_attr("seconds", round(progress.seconds, 1))
        trial.set_user_attr("best_step", progress.best_step)
        return outcome

    def _take_over(self, trial: Trial) -> Path:
        """Return the folder of a trial, with the run of the trial that it repeats, if any."""
        folder = folder_of(self.search, trial.number)
        trials = self.study.get_trials(deepcopy=False)
        for before in reversed(by_draw(trials)[draw_of(trial, trials)]):
            older = folder_of(self.search, before.number)
            if before.number < trial.number and older.is_dir():
                try:
                    with lock(older, "training"):
                        older.rename(folder)
                except SamplewiseError:
                    pass  # its worker still lives; this trial starts anew
                break
        return folder


def _failure_of_trial(error: BaseException) -> str | None:
    """Return why a trial is impossible; None if the error has another cause."""
    if is_out_of_memory(error) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return "out of memory"
    if isinstance(error, TrainingError):
        return str(error).split(":", maxsplit=1)[0]
    return str(error) if isinstance(error, ValueError) else None


def _ignore(line: str) -> None:
    """Print nothing: the lines of a trial are in its metrics.jsonl."""
