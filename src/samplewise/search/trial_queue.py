"""Which configurations are tried, by whom, and which have to be tried again.

A *draw* is a configuration, an Optuna *trial* one attempt at it. A trial whose worker died is
marked failed and its draw is queued again; so is one that was interrupted. Everything is decided
from the study alone, so any worker may do it at any time, and doing it twice does no harm.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from samplewise.atomic_io import lock
from samplewise.errors import SamplewiseError
from samplewise.search.liveness import Liveness, is_alive
from samplewise.search.sampler import DRAW, RETRY, draw_of
from samplewise.search.settings import Search

WORKER, BEAT, OUTCOME, REASON = "worker", "beat", "outcome", "reason"
"""Attributes of a trial."""
FAILED, INTERRUPTED, RETURNED = "failed", "interrupted", "returned"
"""Outcomes of failed trials: impossible; to be gone on with; one too many. None: killed."""
MAX_KILLS = 3
"""A draw whose worker died so often is given up: it may be what kills them."""
GRACE_S = 120.0
"""A worker on another machine that gives no sign of life for so long is taken for dead."""
UNOWNED_S = 10.0
"""The same for a trial that nobody has put a name to: a matter of milliseconds."""


class TrialQueue:
    """One worker's view of a study."""

    def __init__(self, study: optuna.Study, search: Search, liveness: Liveness):
        self._study = study
        self._search = search
        self._presence = liveness
        self._seen: dict[int, tuple[int | None, float]] = {}
        self._alive: set[int] = set()

    def next_trial(self) -> Trial | None:
        """Return a trial to work on; None if all draws are taken."""
        while True:
            trials = self._study.get_trials(deepcopy=False)
            waiting = any(trial.state == TrialState.WAITING for trial in trials)
            drawn = sum(RETRY not in trial.user_attrs for trial in trials)
            if not waiting and drawn >= self._search.trials:
                return None
            trial = self._study.ask()
            trial.set_user_attr(WORKER, self._presence.card)
            if not self._is_one_too_many(trial):
                return trial
            trial.set_user_attr(OUTCOME, RETURNED)
            self._study.tell(trial, state=TrialState.FAIL)

    def mend(self) -> None:
        """Mark the trials of dead workers as failed; queue draws that nobody works on again."""
        with self._alone() as is_alone:
            if not is_alone:
                return  # another worker is at it
            running = self._trials(TrialState.RUNNING)
            for trial in running:
                if self._is_dead(trial):
                    self._fail(trial)
            for draw, attempts in by_draw(self._study.get_trials(deepcopy=False)).items():
                if draw < self._search.trials and is_open(attempts):
                    known = max(attempts, key=lambda trial: len(trial.params))
                    facts = {DRAW: draw, RETRY: attempts[-1].number}
                    self._study.enqueue_trial(known.params, user_attrs=facts)
            self._presence.sweep({card["id"] for card in map(_card, running) if card})

    def may_end(self) -> bool:
        """Return whether no trial is left of which it is unknown if anybody works on it."""
        return all(trial.number in self._alive for trial in self._trials(TrialState.RUNNING))

    def _trials(self, state: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(state,))

    def _is_dead(self, trial: FrozenTrial) -> bool:
        card = _card(trial)
        lives = is_alive(card) if card else None
        if lives is not None:
            self._alive |= {trial.number} if lives else set()
            return not lives
        # Not on this machine: no clocks are compared, only whether it goes on beating.
        beat, now = trial.user_attrs.get(BEAT), time.monotonic()
        if trial.number not in self._seen:
            self._seen[trial.number] = beat, now
        last, since = self._seen[trial.number]
        if beat != last:
            self._seen[trial.number] = beat, now
            self._alive.add(trial.number)
            return False
        return now - since > (GRACE_S if card else UNOWNED_S)

    def _fail(self, trial: FrozenTrial) -> None:
        try:
            self._study.tell(trial.number, state=TrialState.FAIL)
        except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
            return  # it ended, or another worker was quicker

    def _is_one_too_many(self, trial: Trial) -> bool:
        """Return whether a race made a trial that nobody needs."""
        trials = self._study.get_trials(deepcopy=False)
        mine = trials[trial.number]
        if RETRY not in mine.user_attrs:
            return draw_of(mine, trials) >= self._search.trials
        same = [other for other in trials if other.user_attrs.get(RETRY) == mine.user_attrs[RETRY]]
        return mine.number > min(other.number for other in same)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Spare workers on this machine the work that another one is doing."""
        try:
            with lock(self._search.folder / "mending", "worker"):
                yield True
        except SamplewiseError:
            yield False


def by_draw(trials: list[FrozenTrial]) -> dict[int, list[FrozenTrial]]:
    """Return the trials of each draw, oldest first."""
    found: dict[int, list[FrozenTrial]] = {}
    retries = 0
    for trial in sorted(trials, key=lambda trial: trial.number):
        is_retry = RETRY in trial.user_attrs
        draw = trial.user_attrs[DRAW] if is_retry else trial.number - retries
        found.setdefault(draw, []).append(trial)
        retries += is_retry
    return found


def is_open(attempts: list[FrozenTrial]) -> bool:
    """Return whether a draw must be tried again: every attempt was killed or interrupted."""
    if any(trial.state != TrialState.FAIL for trial in attempts):
        return False
    outcomes = [trial.user_attrs.get(OUTCOME) for trial in attempts]
    return FAILED not in outcomes and outcomes.count(None) < MAX_KILLS


def ancestors(trial: FrozenTrial | Trial, trials: list[FrozenTrial]) -> list[int]:
    """Return the numbers of the trials that this one repeats, newest first."""
    found: list[int] = []
    number: Any = trial.user_attrs.get(RETRY)
    while number is not None:
        found.append(number)
        number = trials[number].user_attrs.get(RETRY)
    return found


def _card(trial: FrozenTrial) -> dict[str, str] | None:
    return trial.user_attrs.get(WORKER)
