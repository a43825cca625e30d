"""The report of a listening test as one HTML page."""

from collections.abc import Callable
from typing import Any

from samplewise.report import markup
from samplewise.report.document import document
from samplewise.report.markup import esc
from samplewise.web.listening.results import POWER, REASONS, ListenerResult, Results

KINDS = {
    "ab": "AB preference test",
    "abx": "ABX test",
    "mos": "Mean opinion scores",
    "cmos": "Comparison scores",
}
WIDTH, LEFT, RIGHT, ROW = 640, 170, 70, 30
"""Size of the charts, in units of their view boxes."""


def report_page(results: Results) -> str:
    """Return the whole page."""
    study = results.study
    parts = {"ab": _preferences, "abx": _abx, "mos": _scores, "cmos": _comparisons}
    body = "".join(
        [
            _head(results),
            parts[study.plan.kind](results),
            _power(results),
            _listeners(results),
            _method(results),
        ]
    )
    return document(study.texts.title, body)


def _head(results: Results) -> str:
    study = results.study
    kept = sum(not one.reasons for one in results.listeners)
    figures = {
        "votes": f"{results.counted:,}",
        "listeners": str(kept),
        "excluded": str(len(results.listeners) - kept),
        "systems": str(len(study.systems)),
    }
    items = "".join(
        f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures.items()
    )
    return (
        f'<header><p class="kind">{KINDS[study.plan.kind]}</p><h1>{esc(study.texts.title)}</h1>'
        f'<p class="lead">{esc(study.question)}</p><dl class="key">{items}</dl></header>'
    )


def _preferences(results: Results) -> str:
    if not results.counted:
        return _nothing()
    charts = "".join(f"<figure>{_bars(pair)}</figure>" for pair in results.pairs)
    rows = [
        (
            f"{markup.name(pair['first'])} · {markup.name(pair['second'])}",
            *(
                _share(pair["shares"][side], pair["intervals"][side], pair["votes"][side])
                for side in ("first", "neither", "second")
            ),
            _p(pair["p"]),
            _p(pair["p_holm"]),
            "–" if pair["listeners_needed"] is None else f"{pair['listeners_needed']:,}",
        )
        for pair in results.pairs
    ]
    head = ("Pair", "First", "No preference", "Second", "p", "p, Holm", "Listeners needed")
    note = (
        "Shares of the votes with Wilson intervals at 95% and, in brackets, numbers of votes. "
        "p: two-sided sign test of first against second; Holm: corrected for the number of pairs. "
        f"Listeners needed: to find a difference as large as this one with a power of {POWER:.0%}."
    )
    return (
        f'<section><h2>Preferences</h2><div class="charts">{charts}</div>'
        f'{markup.table(head, rows)}<p class="legend">{note}</p></section>{_ranking(results)}'
    )


def _bars(pair: dict[str, Any]) -> str:
    """Return the chart of one pair: three bars with intervals, as in the paper's figures."""
    rows = (("first", pair["first"]), ("neither", "no preference"), ("second", pair["second"]))
    best = max("first", "second", key=lambda side: pair["shares"][side])
    drawn = [
        _bar(i, name, pair["shares"][side], pair["intervals"][side], side == best)
        for i, (side, name) in enumerate(rows)
    ]
    words = ", ".join(f"{name} {pair['shares'][side]:.0%}" for side, name in rows)
    return _chart(drawn, words)


def _bar(
    row: int,
    name: str,
    value: float,
    interval: list[float],
    is_best: bool,
    span: tuple[float, float] | None = None,
) -> str:
    shown = f"{value:.0%}" if span is None else f"{value:.2f}"
    span = span or (0.0, 1.0)
    x = _scale(span)
    top, middle = row * ROW + 6, row * ROW + ROW / 2 + 1
    start, end = sorted((x(max(span[0], 0.0)), x(value)))
    low, high = (x(min(max(bound, span[0]), span[1])) for bound in interval)
    kind = "bar best" if is_best else "bar"
    return (
        f'<text class="name" x="{LEFT - 12}" y="{middle + 5:.1f}">{esc(_short(name))}</text>'
        f'<rect class="{kind}" x="{start:.1f}" y="{top}" width="{max(end - start, 1):.1f}" '
        f'height="{ROW - 10}"/>'
        f'<path class="whisker" d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 5}v10'
        f'M{high:.1f} {middle - 5}v10"/>'
        f'<text class="value" x="{WIDTH}" y="{middle + 5:.1f}">{shown}</text>'
    )


def _scale(span: tuple[float, float]) -> Callable[[float], float]:
    width = WIDTH - LEFT - RIGHT
    return lambda value: LEFT + width * (value - span[0]) / (span[1] - span[0])


def _chart(rows: list[str], words: str, extra: str = "", height: int = 0) -> str:
    total = len(rows) * ROW + 4 + height
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {total}" role="img" aria-label="{esc(words)}">'
        f"{extra}{''.join(rows)}</svg>"
    )


def _ranking(results: Results) -> str:
    """Return the strengths of Bradley and Terry as points with intervals."""
    if not results.systems:
        return ""
    bounds = [bound for row in results.systems for bound in row["interval"]]
    span = min(-0.5, *bounds), max(0.5, *bounds)
    x = _scale(span)
    drawn = []
    for i, row in enumerate(results.systems):
        low, high = map(x, row["interval"])
        middle = i * ROW + ROW / 2 + 1
        drawn.append(
            f'<text class="name" x="{LEFT - 12}" y="{middle + 5:.1f}">{esc(_short(row["name"]))}'
            f'</text><path class="whisker" d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 5}'
            f'v10M{high:.1f} {middle - 5}v10"/><circle class="dot" cx="{x(row["strength"]):.1f}" '
            f'cy="{middle}" r="6"/><text class="value" x="{WIDTH}" y="{middle + 5:.1f}">'
            f"{row['strength']:+.2f}</text>".replace("-0.00", "0.00")
        )
    line = f'<path class="zero" d="M{x(0.0):.1f} 0V{len(drawn) * ROW}"/>'
    words = ", ".join(f"{row['name']} {row['strength']:+.2f}" for row in results.systems)
    bounded = (
        ""
        if results.ranking_is_bounded
        else " The votes set no bounds, so half a win was added to each side of each pair."
    )
    return (
        f"<section><h2>Ranking</h2><figure>{_chart(drawn, words, line)}</figure>"
        '<p class="legend">Strengths in the model of Bradley and Terry, with intervals at 95% '
        "that allow for listeners who differ; their mean is 0, and a vote without a preference "
        "counts half for both. A system that is stronger by d is preferred with probability "
        f"1 / (1 + exp(−d)): 1 is 73%, 2 is 88%.{bounded}</p></section>"
    )


def _abx(results: Results) -> str:
    if not results.counted:
        return _nothing()
    drawn = [
        _bar(i, f"{p['first']} · {p['second']}", p["share"], p["interval"], p["p"] < 0.05)
        for i, p in enumerate(results.pairs)
    ]
    half = _scale((0.0, 1.0))(0.5)
    line = f'<path class="zero" d="M{half:.1f} 0V{len(drawn) * ROW}"/>'
    rows = [
        (
            f"{markup.name(p['first'])} · {markup.name(p['second'])}",
            f"{p['right']} of {p['votes']}",
            f"{p['share']:.0%} <small>{_interval(p['interval'])}</small>",
            _p(p["p"]),
        )
        for p in results.pairs
    ]
    return (
        f"<section><h2>Recognised</h2><figure>{_chart(drawn, 'Shares of right answers', line)}"
        f"</figure>{markup.table(('Pair', 'Right', 'Share', 'p'), rows)}"
        '<p class="legend">Share of right answers with Wilson intervals at 95%; the line is '
        "chance. p: one-sided binomial test against chance.</p></section>"
    )


def _scores(results: Results) -> str:
    if not results.counted:
        return _nothing()
    drawn = [
        _bar(i, row["name"], row["mean"], row["interval"], i == 0, (1.0, 5.0))
        for i, row in enumerate(results.systems)
    ]
    rows = [
        (
            markup.name(row["name"]),
            f"{row['mean']:.2f} <small>{row['interval'][0]:.2f}–{row['interval'][1]:.2f}</small>",
            f"{row['votes']:,}",
            *(str(row["counts"][str(score)]) for score in range(1, 6)),
        )
        for row in results.systems
    ]
    head = ("System", "Mean", "Votes", "1", "2", "3", "4", "5")
    words = ", ".join(f"{row['name']} {row['mean']:.2f}" for row in results.systems)
    return (
        f"<section><h2>Mean opinion scores</h2><figure>{_chart(drawn, words)}</figure>"
        f"{markup.table(head, rows)}"
        '<p class="legend">1 bad to 5 excellent, with intervals at 95% that allow for listeners '
        "who differ.</p></section>"
    )


def _comparisons(results: Results) -> str:
    if not results.counted:
        return _nothing()
    drawn = [
        _bar(
            i, f"{p['first']} · {p['second']}", p["mean"], p["interval"], p["p"] < 0.05, (-3.0, 3.0)
        )
        for i, p in enumerate(results.pairs)
    ]
    zero = _scale((-3.0, 3.0))(0.0)
    line = f'<path class="zero" d="M{zero:.1f} 0V{len(drawn) * ROW}"/>'
    rows = [
        (
            f"{markup.name(p['first'])} · {markup.name(p['second'])}",
            f"{p['mean']:+.2f} <small>{p['interval'][0]:+.2f} to {p['interval'][1]:+.2f}</small>",
            f"{p['votes']:,}",
            _p(p["p"]),
        )
        for p in results.pairs
    ]
    return (
        f"<section><h2>Comparisons</h2><figure>{_chart(drawn, 'Mean comparisons', line)}</figure>"
        f"{markup.table(('Pair', 'Mean', 'Votes', 'p'), rows)}"
        '<p class="legend">How much better the first system of a pair is, −3 to +3, with intervals '
        "at 95% that allow for listeners who differ. p: two-sided sign test.</p></section>"
    )


def _power(results: Results) -> str:
    if not results.power:
        return ""
    rows = [
        (f"{row['share']:.0%}", f"{row['votes_per_pair']:,}", f"{row['listeners']:,}")
        for row in results.power
    ]
    head = ("Share of the better system", "Votes on each pair", "Listeners")
    return (
        f"<section><h2>How many listeners</h2>{markup.table(head, rows)}"
        '<p class="legend">Listeners that this design needs to find a difference of a size with a '
        f"power of {POWER:.0%} (sign test, p &lt; 0.05, one pair), with the share of votes without "
        "a preference that was found. Votes count as independent.</p></section>"
    )


def _listeners(results: Results) -> str:
    rows = [_listener(one) for one in results.listeners]
    if not rows:
        return ""
    head = (
        "Listener",
        "Answers",
        "Checks passed",
        "Repeats agreed",
        "Time",
        "Headphones",
        "Excluded",
    )
    repeats = sum(one.repeats for one in results.listeners if not one.reasons)
    agreed = sum(one.agreed for one in results.listeners if not one.reasons)
    triads = sum(one.triads for one in results.listeners if not one.reasons)
    circular = sum(one.circular for one in results.listeners if not one.reasons)
    words = []
    if repeats:
        words.append(f"{agreed} of {repeats} repeated trials had the same answer.")
    if triads:
        words.append(
            f"{circular} of {triads} triples of systems are circular within a listener "
            "(a over b over c over a); chance gives a quarter."
        )
    note = (
        "Time: median time of an answer, as a multiple of the time that the clips take to play "
        "once. Rules were fixed when the test was made."
    )
    return (
        f"<section><h2>Listeners</h2><p>{' '.join(words)}</p>"
        f'{markup.table(head, rows)}<p class="legend">{note}</p></section>'
    )


def _listener(one: ListenerResult) -> tuple[str, ...]:
    name = str(one.number + 1) + (f" {markup.name(one.participant)}" if one.participant else "")
    headphones = {None: "–", True: "yes", False: "no"}[one.headphones]
    return (
        name,
        f"{one.answered} of {one.trials}",
        f"{one.checks - one.failed_checks} of {one.checks}",
        f"{one.agreed} of {one.repeats}",
        "–" if one.relative_time is None else f"{one.relative_time:.1f}",
        headphones,
        esc(", ".join(REASONS[reason] for reason in one.reasons)),
    )


def _method(results: Results) -> str:
    study = results.study
    systems = [
        (
            markup.name(system.name),
            "real recordings" if system.is_recordings else "generated",
            str(system.clips),
            str(len(system.left_out)),
            _gains(results, place),
        )
        for place, system in enumerate(study.systems)
    ]
    head = ("System", "Kind", "Clips", "Left out", "Gain, dB")
    rules = [
        f"more than {study.rules.failed_checks} failed attention checks",
        f"a median answer faster than {study.rules.least_time:g} times the length of the clips",
        f"more than {study.rules.one_sided:.0%} of the votes on one side",
    ]
    if study.rules.headphones:
        rules.append("a headphone check that was not passed")
    if results.rules["require_all"]:
        rules.append("a trial without an answer")
    return (
        f"<section><h2>Method</h2><p>Clips of {study.seconds:.2f} s at {study.sample_rate:,} Hz, "
        f"16 bit, scaled to {study.loudness_lufs:.1f} LUFS (ITU-R BS.1770). Each listener had "
        f"{study.plan.trials} trials, {study.plan.checks} attention checks and "
        f"{study.plan.repeats} repeated trials, in random order; pairs and sides are balanced over "
        f"listeners. Excluded: {'; '.join(rules)}.</p>{markup.table(head, systems, kind='words')}"
        "</section>"
    )


def _gains(results: Results, system: int) -> str:
    gains = [clip.gain_db for clip in results.study.clips if clip.system == system]
    return f"{min(gains):+.1f} to {max(gains):+.1f}"


def _nothing() -> str:
    return (
        "<section><h2>No votes yet</h2><p>Nothing can be said before somebody votes.</p></section>"
    )


def _share(share: float, interval: list[float], votes: int) -> str:
    return f"{share:.1%} <small>{_interval(interval)} ({votes})</small>"


def _interval(interval: list[float]) -> str:
    low, high = interval
    return f"{100 * low:.0f}–{100 * high:.0f}%"


def _p(value: float) -> str:
    return "&lt; 0.0001" if value < 1e-4 else f"{value:.4f}"


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"{name[:21]}…"
