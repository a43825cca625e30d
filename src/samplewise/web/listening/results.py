"""Results of a listening test: exclusions by rule, then the statistics of what is left."""

import csv
import io
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from samplewise.evaluate import preference
from samplewise.evaluate.preference import Preference
from samplewise.web.listening.design import Trial, right_answers
from samplewise.web.listening.study import Study
from samplewise.web.listening.votes import Listener, Vote

LEAST_VOTES_FOR_SIDES = 10
"""Votes with a preference from which on one-sided listeners are looked for."""
POWER_SHARES = (0.55, 0.6, 0.65, 0.7, 0.75, 0.8)
"""Shares of the better system for which the table of power gives numbers of listeners."""
POWER = 0.8
REASONS = {
    "checks": "failed attention checks",
    "fast": "answered faster than the clips play",
    "one-sided": "voted for one side almost always",
    "headphones": "did not pass the headphone check",
    "incomplete": "did not finish",
}


@dataclass(frozen=True)
class ListenerResult:
    """What one listener did."""

    number: int
    participant: str
    code: str
    """Completion code; empty before the end."""
    answered: int
    """Trials with an answer, without practice."""
    trials: int
    headphones: bool | None
    failed_checks: int
    checks: int
    relative_time: float | None
    """Median time of an answer, as a share of the time that the clips take to play once."""
    one_sided: float | None
    """Share of the votes with a preference that are on the commoner side."""
    repeats: int
    agreed: int
    """Repeated trials with the same answer."""
    circular: int
    triads: int
    """Triples of systems that the listener compared, and how many of them are circular."""
    reasons: tuple[str, ...]
    """Rules by which the listener is excluded."""

    @property
    def is_complete(self) -> bool:
        """Whether every trial has an answer."""
        return self.answered == self.trials


@dataclass(frozen=True)
class Results:
    """Everything that a report shows."""

    study: Study
    listeners: tuple[ListenerResult, ...]
    pairs: tuple[dict[str, Any], ...] = ()
    """Of pairs of systems: preferences, ABX or comparisons."""
    systems: tuple[dict[str, Any], ...] = ()
    """Of systems: mean opinion scores, or strengths."""
    ranking_is_bounded: bool = True
    power: tuple[dict[str, Any], ...] = ()
    counted: int = 0
    """Votes that count."""
    left_out: int = 0
    """Votes of excluded listeners."""
    rules: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the results as JSON values."""
        study = self.study
        return {
            "study": study.id,
            "kind": study.plan.kind,
            "title": study.texts.title,
            "question": study.question,
            "confidence": preference.CONFIDENCE,
            "systems": [
                {"name": s.name, "source": s.path, "recordings": s.is_recordings, "clips": s.clips}
                for s in study.systems
            ],
            "stimuli": {
                "seconds": study.seconds,
                "sample_rate": study.sample_rate,
                "loudness_lufs": study.loudness_lufs,
            },
            "votes": {"counted": self.counted, "left_out": self.left_out},
            "rules": self.rules,
            "pairs": list(self.pairs),
            "scores": list(self.systems),
            "ranking_is_bounded": self.ranking_is_bounded,
            "power": list(self.power),
            "listeners": [
                {**vars(one), "reasons": list(one.reasons), "complete": one.is_complete}
                for one in self.listeners
            ],
        }


def analyse(
    study: Study, listeners: Sequence[Listener], votes: Sequence[Vote], require_all: bool = False
) -> Results:
    """Return the results of a study.

    Args:
        study: The study.
        listeners: All listeners.
        votes: All votes.
        require_all: Exclude listeners who have not answered every trial.
    """
    by_listener: dict[int, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_listener[vote.listener].append(vote)
    judged = tuple(_judge(study, one, by_listener[one.number], require_all) for one in listeners)
    kept = {one.number for one in judged if not one.reasons}
    tests = [vote for vote in votes if vote.shown["kind"] == "test"]
    counted = [vote for vote in tests if vote.listener in kept]
    make = {"ab": _preferences, "abx": _abx, "mos": _scores, "cmos": _comparisons}[study.plan.kind]
    return Results(
        study=study,
        listeners=judged,
        counted=len(counted),
        left_out=len(tests) - len(counted),
        rules={**vars(study.rules), "require_all": require_all},
        power=_power(study, counted),
        **make(study, counted),
    )


def votes_csv(study: Study, results: Results, votes: Iterable[Vote]) -> str:
    """Return every vote as a row, with the systems that were compared."""
    by_number = {one.number: one for one in results.listeners}
    text = io.StringIO()
    columns = (
        "listener participant excluded trial kind system_a system_b clip_a clip_b clip_x answer "
        "elapsed_ms audible_ms switches time"
    )
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns.split())
    for vote in votes:
        listener, clips = by_number[vote.listener], vote.shown["clips"]
        names = [
            study.systems[s].name if s is not None else "beeps" for s in _systems(study, clips)
        ]
        writer.writerow(
            [
                vote.listener,
                _plain(listener.participant),
                " ".join(listener.reasons),
                vote.trial,
                vote.shown["kind"],
                *_padded(names, 2),
                *_padded(clips, 3),
                vote.answer,
                vote.details.get("elapsed_ms", ""),
                " ".join(map(str, vote.details.get("audible_ms", []))),
                vote.details.get("switches", ""),
                f"{vote.time:.3f}",
            ]
        )
    return text.getvalue()


def _plain(text: str) -> str:
    """Keep a spreadsheet from taking a participant number for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _padded(values: Sequence[str], count: int) -> list[str]:
    return [*values[:count], *[""] * (count - len(values))]


def _systems(study: Study, clips: Iterable[str]) -> list[int | None]:
    of_clip = {clip.id: clip.system for clip in study.clips}
    return [of_clip[clip] for clip in clips]


def _judge(
    study: Study, listener: Listener, votes: Sequence[Vote], require_all: bool
) -> ListenerResult:
    """Return what a listener did, and by which rules the listener is excluded."""
    rules, plan = study.rules, study.plan
    answers = {vote.trial: vote for vote in votes}
    trials = len(study.trials(listener.number)) - 1
    checks = [vote for vote in votes if vote.shown["kind"] == "check"]
    failed = sum(vote.answer not in _right(study, vote) for vote in checks)
    timed = [vote for vote in votes if vote.shown["kind"] == "test"]
    relative_time = None
    if timed:
        shown_ms = study.seconds * 1000 * len(timed[0].shown["clips"])
        relative_time = statistics.median(v.details.get("elapsed_ms", 0) for v in timed) / shown_ms
    one_sided = _one_sided(plan.kind, timed)
    again = [vote for vote in votes if vote.shown["kind"] == "repeat"]
    agreed = sum(
        _agree(plan.kind, answers[vote.shown["repeats"]].answer, vote.answer) for vote in again
    )
    circular, triads = _triads(study, timed)
    answered = len(votes) - (0 in answers)
    reasons = {
        "checks": failed > rules.failed_checks,
        "fast": relative_time is not None and relative_time < rules.least_time,
        "one-sided": one_sided is not None and one_sided > rules.one_sided,
        "headphones": rules.headphones and not listener.headphones,
        "incomplete": require_all and answered < trials,
    }
    return ListenerResult(
        number=listener.number,
        participant=listener.participant,
        code=listener.code if answered == trials else "",
        answered=answered,
        trials=trials,
        headphones=listener.headphones,
        failed_checks=failed,
        checks=len(checks),
        relative_time=relative_time,
        one_sided=one_sided,
        repeats=len(again),
        agreed=agreed,
        circular=circular,
        triads=triads,
        reasons=tuple(name for name, applies in reasons.items() if applies),
    )


def _right(study: Study, vote: Vote) -> frozenset[str]:
    trial = Trial(vote.shown["kind"], tuple(vote.shown["clips"]))
    return right_answers(study.plan, study.pool, trial)


def _one_sided(kind: str, votes: Sequence[Vote]) -> float | None:
    """Return the share of the commoner side; of a MOS test, of the commonest answer."""
    if kind == "mos":
        sides = [vote.answer for vote in votes]
    elif kind == "cmos":
        sides = ["a" if vote.answer[0] == "-" else "b" for vote in votes if vote.answer != "0"]
    else:
        sides = [vote.answer for vote in votes if vote.answer != "none"]
    if len(sides) < LEAST_VOTES_FOR_SIDES:
        return None
    return max(Counter(sides).values()) / len(sides)


def _agree(kind: str, first: str, second: str) -> bool:
    """Return whether the answer to a repeated trial, its sides exchanged, agrees with the first."""
    if kind == "mos":
        return abs(int(first) - int(second)) <= 1
    if kind == "cmos":
        return abs(int(first) + int(second)) <= 1
    return {"a": "b", "b": "a"}.get(second, second) == first


def _triads(study: Study, votes: Sequence[Vote]) -> tuple[int, int]:
    if study.plan.kind not in ("ab", "cmos"):
        return 0, 0
    count = len(study.systems)
    margin = np.zeros((count, count))
    for first, second, score in _oriented(study, votes):
        margin[first, second] += np.sign(score)
    margin = margin - margin.T
    return preference.circular_triads(margin > 0)


def _oriented(study: Study, votes: Iterable[Vote]) -> Iterable[tuple[int, int, int]]:
    """Yield two systems, the lower index first, and how much better the first one was rated."""
    for vote in votes:
        first, second = _systems(study, vote.shown["clips"])[:2]
        assert first is not None
        assert second is not None
        if study.plan.kind == "cmos":
            score = -int(vote.answer)
        else:
            score = {"a": 1, "b": -1, "none": 0}[vote.answer]
        yield (first, second, score) if first < second else (second, first, -score)


def _preferences(study: Study, votes: Sequence[Vote]) -> dict[str, Any]:
    """Return pairwise preferences (Mehri et al. 2017, Figures 3 and 4) and a ranking."""
    numbers = sorted({vote.listener for vote in votes})
    row = {number: place for place, number in enumerate(numbers)}
    count = len(study.systems)
    wins = np.zeros((max(1, len(numbers)), count, count))
    tallies: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
    for vote, (first, second, score) in zip(votes, _oriented(study, votes), strict=True):
        tallies[first, second][score] += 1
        wins[row[vote.listener], first, second] += (score + 1) / 2
        wins[row[vote.listener], second, first] += (1 - score) / 2
    pairs = []
    for pair in combinations(range(count), 2):
        tally = tallies[pair]
        pairs.append(_pair(study, pair, Preference(tally[1], tally[-1], tally[0])))
    for entry, p in zip(pairs, preference.holm([pair["p"] for pair in pairs]), strict=True):
        entry["p_holm"] = p
    return {"pairs": tuple(pairs), **_ranked(study, wins if votes else None)}


def _pair(study: Study, pair: tuple[int, int], votes: Preference) -> dict[str, Any]:
    first, second, neither = votes.shares
    counts = (votes.first, votes.second, votes.neither)
    decided = votes.first + votes.second
    share = max(votes.first, votes.second) / decided if decided else 0.5
    needed = None
    if 0.5 < share < 1 and neither < 1:
        needed = _listeners(study, preference.votes_needed(share, neither, POWER))
    return {
        **_names(study, pair),
        "votes": dict(zip(("first", "second", "neither"), counts, strict=True)),
        "shares": {"first": first, "second": second, "neither": neither},
        "intervals": {
            name: list(preference.wilson_interval(number, votes.votes))
            for name, number in zip(("first", "second", "neither"), counts, strict=True)
        },
        "p": preference.sign_test(votes.first, votes.second),
        "listeners_needed": needed,
    }


def _names(study: Study, pair: tuple[int, int]) -> dict[str, str]:
    return {"first": study.systems[pair[0]].name, "second": study.systems[pair[1]].name}


def _ranked(study: Study, wins: np.ndarray | None) -> dict[str, Any]:
    if wins is None:
        return {}
    ranking = preference.bradley_terry(wins)
    rows = [
        {
            "name": system.name,
            "strength": float(ranking.strengths[place]),
            "interval": [float(ranking.low[place]), float(ranking.high[place])],
        }
        for place, system in enumerate(study.systems)
    ]
    rows.sort(key=lambda entry: -entry["strength"])
    return {"systems": tuple(rows), "ranking_is_bounded": ranking.is_bounded}


def _abx(study: Study, votes: Sequence[Vote]) -> dict[str, Any]:
    """Return for each pair how often X was recognised, against chance."""
    tallies: dict[tuple[int, ...], Counter[bool]] = defaultdict(Counter)
    for vote in votes:
        systems = [s for s in _systems(study, vote.shown["clips"])[:2] if s is not None]
        tallies[tuple(sorted(systems))][vote.answer in _right(study, vote)] += 1
    pairs = []
    for pair in combinations(range(len(study.systems)), 2):
        right, total = tallies[pair][True], tallies[pair].total()
        pairs.append(
            {
                **_names(study, pair),
                "right": right,
                "votes": total,
                "share": right / total if total else 0.0,
                "interval": list(preference.wilson_interval(right, total)),
                "p": preference.tail_probability(right, total, 0.5),
            }
        )
    return {"pairs": tuple(pairs)}


def _scores(study: Study, votes: Sequence[Vote]) -> dict[str, Any]:
    """Return the mean opinion score of each system, and how often each score was given."""
    rows = []
    for place, system in enumerate(study.systems):
        own = [vote for vote in votes if _systems(study, vote.shown["clips"])[0] == place]
        if not own:
            continue
        scores = np.array([float(vote.answer) for vote in own])
        mean, low, high = preference.mean_interval(scores, _numbers(own))
        given = Counter(vote.answer for vote in own)
        rows.append(
            {
                "name": system.name,
                "mean": mean,
                "interval": [low, high],
                "votes": len(own),
                "counts": {str(score): given[str(score)] for score in range(1, 6)},
            }
        )
    rows.sort(key=lambda entry: -entry["mean"])
    return {"systems": tuple(rows)}


def _comparisons(study: Study, votes: Sequence[Vote]) -> dict[str, Any]:
    """Return the mean comparison of each pair on the scale of Kalchbrenner et al. 2018."""
    found: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for vote, (first, second, score) in zip(votes, _oriented(study, votes), strict=True):
        found[first, second].append((vote.listener, score))
    pairs = []
    for pair in combinations(range(len(study.systems)), 2):
        entries = found[pair]
        if not entries:
            continue
        scores = np.array([float(score) for _, score in entries])
        mean, low, high = preference.mean_interval(
            scores, np.array([listener for listener, _ in entries])
        )
        pairs.append(
            {
                **_names(study, pair),
                "mean": mean,
                "interval": [low, high],
                "votes": len(entries),
                "p": preference.sign_test(int((scores > 0).sum()), int((scores < 0).sum())),
            }
        )
    return {"pairs": tuple(pairs)}


def _numbers(votes: Sequence[Vote]) -> np.ndarray:
    return np.array([vote.listener for vote in votes])


def _power(study: Study, votes: Sequence[Vote]) -> tuple[dict[str, Any], ...]:
    """Return how many listeners find a difference of a size, with this design."""
    if study.plan.kind != "ab":
        return ()
    neither = sum(vote.answer == "none" for vote in votes) / len(votes) if votes else 0.0
    if neither == 1:
        return ()
    rows = []
    for share in POWER_SHARES:
        needed = preference.votes_needed(share, neither, POWER)
        rows.append(
            {"share": share, "votes_per_pair": needed, "listeners": _listeners(study, needed)}
        )
    return tuple(rows)


def _listeners(study: Study, votes_per_pair: int) -> int:
    """Return how many listeners give so many votes on each pair."""
    pairs = len(study.systems) * (len(study.systems) - 1) // 2
    return -(-votes_per_pair * pairs // study.plan.trials)
