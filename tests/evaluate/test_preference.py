"""Statistics of listening tests, against closed forms and scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from samplewise.evaluate.preference import (
    Preference,
    bradley_terry,
    circular_triads,
    holm,
    mean_interval,
    sign_test,
    tail_probability,
    votes_needed,
    wilson_interval,
)

COUNTS = [(0, 1), (0, 30), (1, 7), (15, 30), (57, 100), (100, 100), (4321, 9000)]


def test_shares_of_a_pair():
    assert Preference(57, 38, 5).shares == (0.57, 0.38, 0.05)
    assert Preference(0, 0, 0).shares == (0, 0, 0)


@pytest.mark.parametrize(("successes", "trials"), COUNTS)
def test_wilson_intervals_and_sign_tests_are_those_of_scipy(successes, trials):
    expected = stats.binomtest(successes, trials)
    ends = expected.proportion_ci(0.95, "wilson")
    assert wilson_interval(successes, trials) == pytest.approx((ends.low, ends.high), abs=1e-12)
    assert sign_test(successes, trials - successes) == pytest.approx(expected.pvalue, rel=1e-9)
    tail = stats.binomtest(successes, trials, 0.3, alternative="greater").pvalue
    assert tail_probability(successes, trials, 0.3) == pytest.approx(tail, rel=1e-9)


def test_without_votes_nothing_is_known():
    assert wilson_interval(0, 0) == (0, 1)
    assert sign_test(0, 0) == 1
    with pytest.raises(ValueError, match=r"successes = 3 must lie in \[0, trials = 2\]"):
        wilson_interval(3, 2)
    with pytest.raises(ValueError, match="first, second = -1, 2 must not be negative"):
        sign_test(-1, 2)


def test_holm_corrects_the_smallest_for_all_tests_and_keeps_the_order():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def one_vote_each(wins):
    """Split a table of wins into listeners with one vote each."""
    rows = []
    for i, j in np.ndindex(*wins.shape):
        for _ in range(int(wins[i, j])):
            row = np.zeros_like(wins)
            row[i, j] = 1
            rows.append(row)
    return np.stack(rows)


def test_two_systems_have_the_strengths_of_their_log_odds():
    ranking = bradley_terry(one_vote_each(np.array([[0.0, 60], [20, 0]])))
    difference = ranking.strengths[0] - ranking.strengths[1]
    assert difference == pytest.approx(math.log(3), abs=1e-9)
    assert ranking.is_bounded
    # Half the difference is normal with variance (1/60 + 1/20) / 4; listeners divide by n - 1.
    error = math.sqrt((1 / 60 + 1 / 20) / 4 * 80 / 79)
    assert ranking.high[0] - ranking.strengths[0] == pytest.approx(1.959964 * error, rel=1e-5)


def test_at_the_maximum_every_system_wins_as_often_as_expected():
    rng = np.random.default_rng(3)
    wins = rng.integers(1, 40, (5, 5)).astype(float)
    np.fill_diagonal(wins, 0)
    ranking = bradley_terry(wins[None])
    p = 1 / (1 + np.exp(ranking.strengths[None] - ranking.strengths[:, None]))
    assert ((wins + wins.T) * p).sum(1) == pytest.approx(wins.sum(1) + 0.0, rel=1e-8)
    assert ranking.strengths.sum() == pytest.approx(0, abs=1e-9)


def differing_listeners(rng, count):
    """Wins of listeners who differ in what they like: seven votes on each of three pairs."""
    own = np.array([0.6, 0.0, -0.6]) + rng.normal(scale=0.8, size=(count, 3))
    wins = np.zeros((count, 3, 3))
    for i, j in ((0, 1), (0, 2), (1, 2)):
        wins[:, i, j] = rng.binomial(7, 1 / (1 + np.exp(own[:, j] - own[:, i])))
        wins[:, j, i] = 7 - wins[:, i, j]
    return wins


def test_intervals_hold_the_truth_as_often_as_they_say_though_listeners_differ():
    rng = np.random.default_rng(0)
    truth = bradley_terry(differing_listeners(rng, 20_000)).strengths[0]
    rankings = [bradley_terry(differing_listeners(rng, 40)) for _ in range(200)]
    held = sum(ranking.low[0] <= truth <= ranking.high[0] for ranking in rankings)
    assert 180 <= held <= 199  # 190 expected


def test_a_system_that_never_wins_has_a_finite_strength():
    wins = np.array([[0.0, 9, 9], [9, 0, 9], [0, 0, 0]])
    ranking = bradley_terry(wins[None])
    assert not ranking.is_bounded
    assert np.isfinite([ranking.strengths, ranking.low, ranking.high]).all()
    assert ranking.strengths.argmin() == 2


def test_a_mean_has_the_error_of_listeners_who_differ():
    listeners = np.repeat(np.arange(10), 8)
    alike = np.tile([1.0, 5.0], 40)
    mean, low, high = mean_interval(alike, np.arange(80))
    assert mean == 3
    assert high - low == pytest.approx(2 * 1.959964 * alike.std(ddof=1) / math.sqrt(80), rel=1e-6)
    apart = np.repeat(np.tile([1.0, 5.0], 5), 8)  # every listener gives one score only
    _, low, high = mean_interval(apart, listeners)
    of_listeners = apart[::8].std(ddof=1) / math.sqrt(10)
    assert high - low == pytest.approx(2 * 1.959964 * of_listeners, rel=1e-6)
    with pytest.raises(ValueError, match="at least one score"):
        mean_interval(np.zeros(0), np.zeros(0, int))


@pytest.mark.parametrize("share", [0.6, 0.7, 0.8])
def test_the_votes_that_are_needed_find_the_difference_in_four_of_five_tests(share):
    votes = votes_needed(share)
    found = [k for k in range(votes + 1) if sign_test(k, votes - k) < 0.05]
    assert stats.binom.pmf(found, votes, share).sum() == pytest.approx(0.8, abs=0.06)
    assert votes_needed(share, neither=0.5) == pytest.approx(2 * votes, abs=1)
    with pytest.raises(ValueError, match="must lie in"):
        votes_needed(0.5)


def test_circular_triads():
    assert circular_triads(np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]], bool)) == (1, 1)
    assert circular_triads(np.array([[0, 1, 1], [0, 0, 1], [0, 0, 0]], bool)) == (0, 1)
    assert circular_triads(np.zeros((3, 3), bool)) == (0, 0)
