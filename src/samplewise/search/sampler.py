"""Configurations as a pure function of the seed and of how many were drawn before."""

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from samplewise.config.seeds import derive

RETRY = "retry_of"
"""Attribute of a trial that repeats another: number of the other."""
DRAW = "draw"
"""Attribute of such a trial: which draw it repeats."""


def draw_of(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """Return which draw a trial tries, counted from 0.

    Retries are numbered among the trials but draw nothing, and no later event changes the answer:
    it depends on the trials before this one alone.

    Args:
        trial: The trial.
        trials: Of the study, this one and all before it included.
    """
    if DRAW in trial.user_attrs:
        return trial.user_attrs[DRAW]
    retries = sum(RETRY in other.user_attrs for other in trials if other.number < trial.number)
    return trial.number - retries


class DrawSampler(BaseSampler):
    """Random search (Bergstra & Bengio 2012), or TPE (Bergstra et al. 2011), seeded by draw.

    With random search a value depends on the seed, the draw, the name and the range alone: not on
    the worker, on other parameters, or on how often the search was stopped. TPE adds what it has
    seen.
    """

    def __init__(self, seed: int, kind: str):
        self._seed = seed
        self._kind = kind
        self._draw = 0
        self._tpe = TPESampler(seed=0)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Find out which draw it is."""
        self._draw = draw_of(trial, study.get_trials(deepcopy=False))
        self._tpe = TPESampler(seed=self._small("tpe"))

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the parameters that are drawn together: none, or TPE's."""
        if self._kind == "random":
            return {}
        return self._tpe.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw those parameters."""
        if self._kind == "random":
            return {}
        return self._tpe.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw one parameter."""
        is_random = self._kind == "random"
        one = RandomSampler(seed=self._small(param_name)) if is_random else self._tpe
        return one.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Tell TPE how it went."""
        if self._kind == "tpe":
            self._tpe.after_trial(study, trial, state, values)

    def _small(self, purpose: str) -> int:
        return derive(self._seed, f"search.{purpose}", self._draw) % 2**32
