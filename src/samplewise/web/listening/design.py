"""Designs of listening tests: what each listener hears, in which order and on which side.

A pure function of the test's seed and the listener's number. Over listeners, pairs of systems and
sides are balanced to within one trial, and the clips of a system are used about equally often.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

TestKind = Literal["ab", "abx", "mos", "cmos"]
TrialKind = Literal["practice", "test", "check", "repeat"]
ANSWERS: dict[str, tuple[str, ...]] = {
    "ab": ("a", "none", "b"),
    "abx": ("a", "b"),
    "mos": ("1", "2", "3", "4", "5"),
    "cmos": ("-3", "-2", "-1", "0", "1", "2", "3"),
}
"""Answers of each kind of test. ``cmos``: b compared with a."""


@dataclass(frozen=True)
class Trial:
    """What one screen of a test presents."""

    kind: TrialKind
    """``check``: one clip has beeps, and the answer is known. ``repeat``: a trial with its sides
    exchanged."""
    clips: tuple[str, ...]
    """Ids of the clips in the order of the slots: a, b, x; of a MOS test one."""
    repeats: int | None = None
    """Number of the trial that is repeated."""

    @property
    def slots(self) -> str:
        """Names of the slots, a letter each."""
        return "abx"[: len(self.clips)]


@dataclass(frozen=True)
class Pool:
    """The clips of a test, by their ids."""

    systems: tuple[tuple[str, ...], ...]
    """Clips of each system."""
    checks: tuple[tuple[str, str], ...]
    """Clips without and with beeps; the first pair is for practice."""


@dataclass(frozen=True)
class Plan:
    """Numbers that make the design of a test."""

    kind: TestKind
    trials: int
    """Trials of each listener, without practice, checks and repeats."""
    checks: int
    """Attention checks of each listener."""
    repeats: int
    """Trials that each listener answers a second time."""
    seed: int


def listener_trials(plan: Plan, pool: Pool, listener: int) -> tuple[Trial, ...]:
    """Return the trials of a listener, in order; trial 0 is for practice.

    Args:
        plan: The numbers.
        pool: The clips.
        listener: Number of the listener, from 0.
    """
    rng = random.Random(f"{plan.seed} listener {listener}")  # noqa: S311
    make = _single if plan.kind == "mos" else _paired
    tests = [make(plan, pool, listener * plan.trials + i) for i in range(plan.trials)]
    rng.shuffle(tests)
    order = [Trial("practice", _check(plan, pool.checks[0], rng.random() < 0.5))]
    order += tests
    _insert_checks(order, plan, pool, rng)
    _append_repeats(order, plan, rng)
    return tuple(order)


def right_answers(plan: Plan, pool: Pool, trial: Trial) -> frozenset[str]:
    """Return the answers that are right; empty where opinions may differ."""
    if plan.kind == "abx" and trial.kind in ("test", "repeat"):
        return frozenset("a" if trial.clips[2] == trial.clips[0] else "b")
    if trial.kind not in ("practice", "check"):
        return frozenset()
    with_beeps = {beeps for _, beeps in pool.checks}
    if plan.kind == "abx":
        return frozenset("a" if trial.clips[2] == trial.clips[0] else "b")
    if plan.kind == "mos":
        return frozenset("1")
    is_first = trial.clips[0] in with_beeps
    if plan.kind == "ab":
        return frozenset("b" if is_first else "a")
    return frozenset({"1", "2", "3"} if is_first else {"-1", "-2", "-3"})


def pair_order(systems: int, seed: int) -> list[tuple[int, int]]:
    """Return the pairs of systems in the order in which trials take turns."""
    pairs = list(combinations(range(systems), 2))
    random.Random(f"{seed} pairs").shuffle(pairs)  # noqa: S311
    return pairs


def _paired(plan: Plan, pool: Pool, slot: int) -> Trial:
    """Return the trial of a slot; slots are counted over all listeners."""
    pairs = pair_order(len(pool.systems), plan.seed)
    place, occurrence = slot % len(pairs), slot // len(pairs)
    pair = pairs[place]
    ids = [_clip(plan, pool, pairs, pair, side, slot) for side in pair]
    # Sides in blocks of two: drawn for the first of a block, exchanged for the second.
    drawn = random.Random(f"{plan.seed} side {place} {occurrence // 2}").random() < 0.5  # noqa: S311
    if drawn != (occurrence % 2 == 1):
        ids.reverse()
    if plan.kind == "abx":
        rng = random.Random(f"{plan.seed} x {place} {occurrence // 2}")  # noqa: S311
        ids.append(ids[(rng.random() < 0.5) != (occurrence % 2 == 1)])
    return Trial("test", tuple(ids))


def _clip(
    plan: Plan,
    pool: Pool,
    pairs: Sequence[tuple[int, int]],
    pair: tuple[int, int],
    system: int,
    slot: int,
) -> str:
    """Return the clip of a system in a trial.

    Within a listener, the pairs of a system walk over distant parts of its clips, so that no clip
    is heard twice as long as there are enough; from one round of the clips to the next, the clips
    meet other clips.
    """
    clips = _shuffled(plan, pool.systems[system], system)
    partners = sorted(other for one in pairs for other in one if system in one and other != system)
    rank = partners.index(pair[0] if pair[1] == system else pair[1])
    per_listener = plan.trials // len(pairs) + 2
    first_slot = slot // plan.trials * plan.trials
    round_number = first_slot // len(pairs) // len(clips)
    place = slot // len(pairs) + rank * per_listener + system * round_number
    return clips[place % len(clips)]


def _single(plan: Plan, pool: Pool, slot: int) -> Trial:
    system, occurrence = slot % len(pool.systems), slot // len(pool.systems)
    clips = _shuffled(plan, pool.systems[system], system)
    return Trial("test", (clips[occurrence % len(clips)],))


def _shuffled(plan: Plan, clips: Sequence[str], system: int) -> list[str]:
    order = list(clips)
    random.Random(f"{plan.seed} clips {system}").shuffle(order)  # noqa: S311
    return order


def _check(plan: Plan, pair: tuple[str, str], is_exchanged: bool) -> tuple[str, ...]:
    clean, beeps = pair
    if plan.kind == "mos":
        return (beeps,)
    clips = (beeps, clean) if is_exchanged else (clean, beeps)
    return (*clips, clean) if plan.kind == "abx" else clips


def _insert_checks(order: list[Trial], plan: Plan, pool: Pool, rng: random.Random) -> None:
    """Insert the checks into equal parts of the trials, at random places; none comes first."""
    chosen = [pool.checks[1 + i % (len(pool.checks) - 1)] for i in range(plan.checks)]
    rng.shuffle(chosen)
    sides = [(i + int(rng.random() < 0.5)) % 2 == 1 for i in range(plan.checks)]
    for number in reversed(range(plan.checks)):
        low = 2 + number * plan.trials // plan.checks
        high = max(low, 1 + (number + 1) * plan.trials // plan.checks)
        trial = Trial("check", _check(plan, chosen[number], sides[number]))
        order.insert(rng.randint(low, high), trial)


def _append_repeats(order: list[Trial], plan: Plan, rng: random.Random) -> None:
    """Repeat trials of the first half at the end, with their sides exchanged."""
    tests = [number for number, trial in enumerate(order) if trial.kind == "test"]
    half = tests[: max(plan.repeats, len(tests) // 2)]
    for number in rng.sample(half, plan.repeats):
        clips = order[number].clips
        exchanged = (clips[1], clips[0], *clips[2:]) if len(clips) > 1 else clips
        order.append(Trial("repeat", exchanged, repeats=number))
