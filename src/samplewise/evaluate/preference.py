"""Statistics of listening tests: preferences, ranking, mean scores, consistency and power.

Votes of one listener resemble each other. Standard errors therefore allow for listeners that differ
(Liang & Zeger 1986); Wilson intervals and sign tests count votes as independent, as is usual.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float64, Int

CONFIDENCE = 0.95
"""Default confidence of intervals."""
VIRTUAL_WINS = 0.5
"""Wins added to both sides of each compared pair where the likelihood has no maximum."""
NEWTON_STEPS = 100


@dataclass(frozen=True)
class Preference:
    """Votes on one pair of systems."""

    first: int
    """Votes for the first system."""
    second: int
    """Votes for the second system."""
    neither: int
    """Votes without a preference."""

    @property
    def votes(self) -> int:
        """Number of votes."""
        return self.first + self.second + self.neither

    @property
    def shares(self) -> tuple[float, float, float]:
        """Shares of first, second and no preference; zeros without votes."""
        total = max(1, self.votes)
        return self.first / total, self.second / total, self.neither / total


@dataclass(frozen=True, eq=False)
class Ranking:
    """Strengths of systems in the model of Bradley & Terry (1952)."""

    strengths: Float64[np.ndarray, " systems"]
    """ln of the worth; their mean is 0. P(i is preferred to j) = 1 / (1 + exp(s_j - s_i))."""
    low: Float64[np.ndarray, " systems"]
    """Lower ends of the intervals."""
    high: Float64[np.ndarray, " systems"]
    """Upper ends of the intervals."""
    is_bounded: bool
    """Whether the likelihood has a maximum; else half a win was added to each side of each pair."""


def wilson_interval(
    successes: int, trials: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return the interval of Wilson (1927) for a share; (0, 1) without trials.

    Raises:
        ValueError: If the counts make no share.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"successes = {successes} must lie in [0, trials = {trials}]")
    if trials == 0:
        return 0.0, 1.0
    z = _quantile(confidence)
    share, extra = successes / trials, z * z / trials
    middle = (share + extra / 2) / (1 + extra)
    half = z / (1 + extra) * math.sqrt(share * (1 - share) / trials + extra / trials / 4)
    low = 0.0 if successes == 0 else middle - half
    return low, 1.0 if successes == trials else middle + half


def sign_test(first: int, second: int) -> float:
    """Return the two-sided p-value of the exact sign test; votes without a preference are left out.

    Raises:
        ValueError: If a count is negative.
    """
    if min(first, second) < 0:
        raise ValueError(f"first, second = {first}, {second} must not be negative")
    return min(1.0, 2 * tail_probability(max(first, second), first + second, 0.5))


def tail_probability(successes: int, trials: int, chance: float) -> float:
    """Return P(at least ``successes`` of ``trials``) at a probability ``chance`` in (0, 1)."""
    log_odds = [
        math.lgamma(trials + 1)
        - math.lgamma(k + 1)
        - math.lgamma(trials - k + 1)
        + k * math.log(chance)
        + (trials - k) * math.log1p(-chance)
        for k in range(successes, trials + 1)
    ]
    return min(1.0, math.fsum(math.exp(value) for value in log_odds))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for the number of tests (Holm 1979), in the order given."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def bradley_terry(
    wins: Float64[np.ndarray, "listeners systems systems"], confidence: float = CONFIDENCE
) -> Ranking:
    """Rank systems by maximum likelihood, with intervals.

    The standard error is the larger of two: that of independent votes (the information matrix) and
    that of independent listeners (the sandwich estimator).

    Args:
        wins: For each listener, how often row was preferred to column; a vote without a preference
            counts half for both.
        confidence: Of the intervals, in (0, 1).
    """
    total = wins.sum(0)
    is_bounded = _has_maximum(total)
    counted = total if is_bounded else total + VIRTUAL_WINS * (total + total.T > 0)
    strengths = _maximise(counted)
    information = np.linalg.pinv(_information(counted, strengths))
    gradients = np.stack([_gradient(part, strengths) for part in wins])
    count = len(wins)
    spread = gradients.T @ gradients * (count / (count - 1) if count > 1 else 1.0)
    sandwich = information @ spread @ information
    variance = np.maximum(np.diag(information), np.diag(sandwich))
    half = _quantile(confidence) * np.sqrt(variance)
    return Ranking(strengths, strengths - half, strengths + half, is_bounded)


def mean_interval(
    scores: Float64[np.ndarray, " votes"],
    listeners: Int[np.ndarray, " votes"],
    confidence: float = CONFIDENCE,
) -> tuple[float, float, float]:
    """Return the mean of scores and its interval, for listeners that differ.

    The standard error is the larger of that of independent votes and that of independent listeners.

    Raises:
        ValueError: If there are no scores.
    """
    if not len(scores):
        raise ValueError("a mean needs at least one score")
    mean = float(scores.mean())
    residuals = scores - mean
    _, places = np.unique(listeners, return_inverse=True)
    sums = np.bincount(places, residuals)
    count, votes = len(sums), len(scores)
    of_votes = float(residuals @ residuals) * _factor(votes) / votes**2
    of_listeners = float(sums @ sums) * _factor(count) / votes**2
    half = _quantile(confidence) * math.sqrt(max(of_votes, of_listeners))
    return mean, mean - half, mean + half


def votes_needed(share: float, neither: float = 0.0, power: float = 0.8) -> int:
    """Return how many votes on a pair find a difference with a sign test at p < 0.05.

    Normal approximation; votes count as independent.

    Args:
        share: Of the votes with a preference, the share of the better system; in (0.5, 1).
        neither: Share of votes without a preference, in [0, 1).
        power: Probability that the difference is found, in (0, 1).

    Raises:
        ValueError: If an argument is out of range.
    """
    if not (0.5 < share < 1 and 0 <= neither < 1 and 0 < power < 1):
        raise ValueError(
            f"share, neither, power = {share:g}, {neither:g}, {power:g} must lie in (0.5, 1), "
            "[0, 1) and (0, 1)"
        )
    z = 0.5 * _quantile(CONFIDENCE) + NormalDist().inv_cdf(power) * math.sqrt(share * (1 - share))
    return math.ceil((z / (share - 0.5)) ** 2 / (1 - neither))


def circular_triads(prefers: Bool[np.ndarray, "systems systems"]) -> tuple[int, int]:
    """Return how many triples of systems are circular (a over b over c over a), and of how many.

    Args:
        prefers: Whether a listener mostly prefers row to column; a triple counts if its three
            pairs have a preference.
    """
    circular = decided = 0
    count = len(prefers)
    for i in range(count):
        for j in range(i + 1, count):
            for k in range(j + 1, count):
                pairs = ((i, j), (j, k), (k, i))
                if not all(prefers[a, b] or prefers[b, a] for a, b in pairs):
                    continue
                decided += 1
                circular += all(prefers[a, b] for a, b in pairs) or all(
                    prefers[b, a] for a, b in pairs
                )
    return circular, decided


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _factor(count: int) -> float:
    return count / (count - 1) if count > 1 else 1.0


def _has_maximum(wins: Float64[np.ndarray, "systems systems"]) -> bool:
    """Return whether every system can be reached from every other along wins (Ford 1957)."""
    reach = wins > 0
    for middle in range(len(wins)):
        reach = reach | (reach[:, [middle]] & reach[[middle], :])
    return bool((reach | np.eye(len(wins), dtype=bool)).all())


def _maximise(wins: Float64[np.ndarray, "systems systems"]) -> Float64[np.ndarray, " systems"]:
    """Return the strengths of greatest likelihood, by Newton's method with halved steps."""
    strengths = np.zeros(len(wins))
    value = _log_likelihood(wins, strengths)
    for _ in range(NEWTON_STEPS):
        step = np.linalg.pinv(_information(wins, strengths)) @ _gradient(wins, strengths)
        scale = 1.0
        while (found := _log_likelihood(wins, strengths + scale * step)) < value and scale > 1e-6:
            scale /= 2
        strengths, value = strengths + scale * step, max(found, value)
        if np.abs(step).max() < 1e-12:
            break
    return strengths - strengths.mean()


def _probabilities(
    strengths: Float64[np.ndarray, " systems"],
) -> Float64[np.ndarray, "systems systems"]:
    return 1 / (1 + np.exp(strengths[None, :] - strengths[:, None]))


def _log_likelihood(
    wins: Float64[np.ndarray, "systems systems"], strengths: Float64[np.ndarray, " systems"]
) -> float:
    return float((wins * np.log(_probabilities(strengths))).sum())


def _gradient(
    wins: Float64[np.ndarray, "systems systems"], strengths: Float64[np.ndarray, " systems"]
) -> Float64[np.ndarray, " systems"]:
    expected = (wins + wins.T) * _probabilities(strengths)
    return (wins - expected).sum(1)


def _information(
    wins: Float64[np.ndarray, "systems systems"], strengths: Float64[np.ndarray, " systems"]
) -> Float64[np.ndarray, "systems systems"]:
    p = _probabilities(strengths)
    weights = (wins + wins.T) * p * (1 - p)
    np.fill_diagonal(weights, 0)
    return np.diag(weights.sum(1)) - weights
