"""Queue of trials: new draws, and repeats of draws whose trial was killed or interrupted.

A draw is one configuration; an Optuna trial is one attempt to train it. Everything is decided from
the study alone, so any worker may do it at any time, and doing it twice does no harm.

Differs: Optuna's `RetryHeartbeatStaleTrialCallback` queues a repeat in the worker that marks the
trial as failed. The repeat is lost if that worker dies in between. Here any worker queues it later.
"""

import contextlib
import time
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState

from samplewise.atomic_io import lock
from samplewise.config.seeds import derive
from samplewise.errors import SamplewiseError
from samplewise.search.liveness import BEAT, Liveness, is_alive
from samplewise.search.settings import Search

WORKER, OUTCOME, REASON, RETRY, DRAW = "worker", "outcome", "reason", "retry_of", "draw"
"""Attributes of a trial; the last two are those of a repeat: number of the trial before, draw."""
FAILED, INTERRUPTED, RETURNED = "failed", "interrupted", "returned"
"""Outcomes of failed trials: impossible; to be continued; superfluous. None: killed."""
MAX_KILLS = 3
"""Workers that may die with a draw before the draw is given up: it may be the cause."""
GRACE_S = 120.0
"""Seconds without a heartbeat after which a worker on another machine counts as dead."""
UNOWNED_S = 10.0
"""Seconds after which a trial without a worker's card counts as abandoned."""


class TrialQueue:
    """The trials of a study, as one worker takes and repairs them."""

    def __init__(self, study: optuna.Study, search: Search, liveness: Liveness):
        self._study = study
        self._search = search
        self._liveness = liveness
        self._heartbeats: dict[int, tuple[int | None, float]] = {}
        self._alive: set[int] = set()

    def next_trial(self) -> Trial | None:
        """Return a trial to train; None if all draws are taken."""
        while True:
            trials = self._study.get_trials(deepcopy=False)
            waiting = any(trial.state == TrialState.WAITING for trial in trials)
            if not waiting and len(by_draw(trials)) >= self._search.trials:
                return None
            trial = self._study.ask()
            trial.set_user_attr(WORKER, self._liveness.card)
            if not self._is_superfluous(trial):
                return trial
            trial.set_user_attr(OUTCOME, RETURNED)
            self._study.tell(trial, state=TrialState.FAIL)

    def requeue(self) -> None:
        """Mark the trials of dead workers as failed, and queue repeats of unfinished draws."""
        with contextlib.suppress(SamplewiseError), lock(self._search.folder / "mending", "worker"):
            # Suppressed: another worker on this machine holds the lock and does the same.
            running = self._running()
            for trial in running:
                if self._is_dead(trial):
                    with contextlib.suppress(UpdateFinishedTrialError):
                        self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
            for draw, trials in by_draw(self._study.get_trials(deepcopy=False)).items():
                if draw < self._search.trials and needs_repeat(trials):
                    known = max(trials, key=lambda trial: len(trial.params)).params
                    repeat = {DRAW: draw, RETRY: trials[-1].number}
                    self._study.enqueue_trial(known, user_attrs=repeat)
            cards = [trial.user_attrs.get(WORKER) for trial in running]
            self._liveness.sweep({card["id"] for card in cards if card})

    def is_settled(self) -> bool:
        """Return whether every running trial is known to have a living worker."""
        return all(trial.number in self._alive for trial in self._running())

    def _running(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def _is_dead(self, trial: FrozenTrial) -> bool:
        card = trial.user_attrs.get(WORKER)
        alive = is_alive(card) if card else None
        if alive is None:
            # Heartbeats are counted, because the clocks of two machines cannot be compared.
            beat, now = trial.user_attrs.get(BEAT), time.monotonic()
            before, since = self._heartbeats.setdefault(trial.number, (beat, now))
            if beat == before:
                return now - since > (GRACE_S if card else UNOWNED_S)
            self._heartbeats[trial.number] = beat, now
            alive = True
        if alive:
            self._alive.add(trial.number)
        return not alive

    def _is_superfluous(self, trial: Trial) -> bool:
        """Return whether two workers queued the same repeat, or drew the last draw, at once."""
        trials = self._study.get_trials(deepcopy=False)
        repeats = trials[trial.number].user_attrs.get(RETRY)
        if repeats is None:
            return draw_of(trial, trials) >= self._search.trials
        return any(other.user_attrs.get(RETRY) == repeats for other in trials[: trial.number])


def by_draw(trials: Sequence[FrozenTrial]) -> dict[int, list[FrozenTrial]]:
    """Return the trials of each draw, oldest first.

    Draws are counted from 0. The draw of a trial depends only on the trials before it.
    """
    found: dict[int, list[FrozenTrial]] = {}
    new_draws = 0
    for trial in sorted(trials, key=lambda trial: trial.number):
        is_repeat = RETRY in trial.user_attrs
        draw = trial.user_attrs[DRAW] if is_repeat else new_draws
        found.setdefault(draw, []).append(trial)
        new_draws += not is_repeat
    return found


def draw_of(trial: Trial | FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """Return the draw of a trial; ``trials`` are those of the study up to this one or further."""
    draws = by_draw(trials).items()
    return next(draw for draw, same in draws for other in same if other.number == trial.number)


def needs_repeat(trials: Sequence[FrozenTrial]) -> bool:
    """Return whether every trial of a draw was killed or interrupted."""
    outcomes = [trial.user_attrs.get(OUTCOME) for trial in trials]
    return (
        all(trial.state == TrialState.FAIL for trial in trials)
        and FAILED not in outcomes
        and outcomes.count(None) < MAX_KILLS
    )


class DrawSampler(RandomSampler):
    """Random search (Bergstra & Bengio 2012) or TPE (Bergstra et al. 2011), seeded by the draw.

    A value of random search depends only on the seed, the draw, the name and the range. It does not
    depend on the worker, on other parameters or on stops. TPE depends on the finished trials too.
    """

    def __init__(self, seed: int, kind: str):
        super().__init__()
        self._seed = seed
        self._kind = kind

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Find the draw of a new trial."""
        self._draw = draw_of(trial, study.get_trials(deepcopy=False))
        self._tpe = TPESampler(seed=self._seed_of("tpe"))

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw one parameter."""
        sampler = self._tpe if self._kind == "tpe" else RandomSampler(self._seed_of(param_name))
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def _seed_of(self, purpose: str) -> int:
        return derive(self._seed, f"search.{purpose}", self._draw) % 2**32
