"""Designs are balanced, seeded, and never let a listener hear one clip twice."""

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samplewise.web.listening.design import Plan, Pool, listener_trials, right_answers

KINDS = ("ab", "abx", "mos", "cmos")


def pool_of(systems, clips):
    ids = tuple(tuple(f"{s}-{c}" for c in range(clips)) for s in range(systems))
    return Pool(ids, tuple((ids[0][i % clips], f"beeps-{i}") for i in range(4)))


def system(clip):
    return int(clip.partition("-")[0])


def trials_of(plan, pool, listeners, kind="test"):
    everything = (t for i in range(listeners) for t in listener_trials(plan, pool, i))
    return [trial for trial in everything if trial.kind == kind]


@settings(max_examples=40)
@given(
    kind=st.sampled_from(KINDS),
    systems=st.integers(2, 5),
    clips=st.integers(1, 30),
    trials=st.integers(1, 30),
    listeners=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_pairs_sides_and_systems_are_balanced(kind, systems, clips, trials, listeners, seed):
    plan, pool = Plan(kind, trials, 0, 0, seed), pool_of(systems, clips)
    shown = trials_of(plan, pool, listeners)
    assert len(shown) == trials * listeners
    if kind == "mos":
        counts = Counter(system(trial.clips[0]) for trial in shown)
        assert max(counts.values()) - min(counts[s] for s in range(systems)) <= 1
        return
    counts = Counter(tuple(sorted(map(system, trial.clips[:2]))) for trial in shown)
    pairs = list(combinations(range(systems), 2))
    assert max(counts.values()) - min(counts[pair] for pair in pairs) <= 1
    for pair in pairs:
        sides = [t.clips[0] for t in shown if {system(c) for c in t.clips[:2]} == set(pair)]
        first = sum(system(clip) == pair[0] for clip in sides)
        assert abs(2 * first - len(sides)) <= 1 + len(sides) % 2
    if kind == "abx":
        assert all(trial.clips[2] in trial.clips[:2] for trial in shown)


def test_no_listener_hears_a_clip_twice_and_clips_are_used_equally_often():
    plan, pool = Plan("ab", 20, 0, 0, 5), pool_of(3, 20)
    for listener in range(30):
        tests = [t for t in listener_trials(plan, pool, listener) if t.kind == "test"]
        heard = Counter(clip for trial in tests for clip in trial.clips)
        assert max(heard.values()) == 1
    used = Counter(clip for trial in trials_of(plan, pool, 30) for clip in trial.clips)
    assert len(used) == 60
    assert max(used.values()) - min(used.values()) <= 6  # of 20 on average
    met = {frozenset(trial.clips) for trial in trials_of(plan, pool, 30)}
    assert len(met) > 300  # of 600 trials: clips meet other clips from round to round


@pytest.mark.parametrize("kind", KINDS)
def test_checks_and_repeats(kind):
    plan, pool = Plan(kind, 10, 2, 3, 1), pool_of(2, 10)
    for listener in range(20):
        trials = listener_trials(plan, pool, listener)
        kinds = [trial.kind for trial in trials]
        assert kinds[0] == "practice"
        assert Counter(kinds) == {"practice": 1, "test": 10, "check": 2, "repeat": 3}
        assert kinds[1] == "test"
        assert kinds[-3:] == ["repeat"] * 3
        for trial in trials:
            right = right_answers(plan, pool, trial)
            assert bool(right) == (trial.kind in ("practice", "check") or kind == "abx")
            if kind == "ab" and right:
                assert not trial.clips[trial.slots.index(*right)].startswith("beeps")
            if trial.kind == "repeat":
                assert sorted(trial.clips) == sorted(trials[trial.repeats].clips)
                assert (trial.clips == trials[trial.repeats].clips) == (kind == "mos")
        beeps = {clip for t in trials if t.kind == "check" for clip in t.clips if "beeps" in clip}
        assert len(beeps) == 2
        assert not beeps & set(trials[0].clips)


def test_a_design_follows_from_its_seed_alone():
    pool = pool_of(3, 8)
    one = [listener_trials(Plan("ab", 20, 2, 2, 1), pool, i) for i in range(4)]
    assert one == [listener_trials(Plan("ab", 20, 2, 2, 1), pool, i) for i in range(4)]
    assert one != [listener_trials(Plan("ab", 20, 2, 2, 2), pool, i) for i in range(4)]
    assert len({tuple(trials) for trials in one}) == 4
