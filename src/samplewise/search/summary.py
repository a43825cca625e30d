"""Results of a search: search.json, a table, a picture, and the command that trains the best."""

import math
import shlex
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from samplewise.config.codec import differences
from samplewise.config.presets import PRESETS, preset_for
from samplewise.plots import canvas
from samplewise.search.settings import Search
from samplewise.search.space import Entry, Range, Space, format_space, format_value
from samplewise.search.trial import decode, encode, folder_of
from samplewise.search.trial_queue import MAX_KILLS, OUTCOME, REASON, RETRY, by_draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMAT = 1
SHOWN = 5
"""Trials in the table."""
LARGER = 10
"""Factor by which the printed command enlarges the budget of the best trial."""
ENOUGH = 8
"""Complete trials that the importance of parameters needs."""
WIDTH, COLUMNS, CELL_WIDTH, CELL_HEIGHT, LEFT, TOP = 1600, 3, 510, 340, 80, 70
"""Layout of the picture; all but the number of columns in pixels."""


def summarise(study: optuna.Study, search: Search, sample_rate: int) -> dict[str, Any]:
    """Return the content of search.json.

    Args:
        study: The study.
        search: Settings of the search.
        sample_rate: Sample rate of the corpus, in Hz.
    """
    trials = study.get_trials(deepcopy=False)
    records = [_record(trial, search) for trial in trials]
    for draw, same in by_draw(trials).items():
        for trial in same:
            records[trial.number]["draw"] = draw
        kills = sum(records[trial.number]["state"] == "killed" for trial in same)
        if kills >= MAX_KILLS:
            records[same[-1].number]["reason"] = f"its worker died {kills} times"
    best = _best(records, 1)
    budget = search.base.budget
    summary = {
        "format": FORMAT,
        "corpus": str(search.corpus.resolve()),
        "preset": search.base.preset,
        "budget": f"{budget.minutes:g} minutes" if budget.minutes else f"{budget.steps} steps",
        "seed": search.seed,
        "sampler": search.sampler,
        "prune": search.prune,
        "space": format_space(search.space, search.fixed).splitlines(),
        "counts": dict(Counter(record["state"] for record in records)),
        "best": best[0]["number"] if best else None,
        "importance": importance(study),
        "trials": records,
    }
    if best:
        summary["command"] = train_command(search, best[0], sample_rate)
    return summary


def importance(study: optuna.Study) -> dict[str, float]:
    """Return the importance of each parameter, largest first; the shares sum to 1.

    PED-ANOVA (Watanabe et al. 2023) for reaching the best quarter of the complete trials; empty
    with fewer than `ENOUGH` of them.
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < ENOUGH:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about few trials; docs/search.md says how many it takes
        evaluator = PedAnovaImportanceEvaluator(target_quantile=0.25)
        shares = get_param_importances(study, evaluator=evaluator)
    return {name: round(float(share), 4) for name, share in shares.items()}


def train_command(search: Search, record: dict[str, Any], sample_rate: int) -> str:
    """Return the command that trains a trial's configuration with a larger budget.

    With a constant learning rate the trial's run is continued. Other schedules have ended with the
    budget, so the configuration is trained anew, in another folder.
    """
    config = search.config_of(record["values"], sample_rate)
    preset = PRESETS[config.preset]
    folder = record["folder"] if config.optimizer.schedule == "constant" else "best"
    steps, minutes = config.budget.steps, config.budget.minutes
    budget = replace(
        config.budget,
        steps=None if steps is None else LARGER * steps,
        minutes=None if minutes is None else LARGER * minutes,
    )
    larger = replace(
        config,
        budget=budget,
        valid_every=config.valid_every * (1 if steps is None else LARGER),
        preview=replace(config.preview, minutes=preset.preview.minutes),
        device="auto" if config.device == "cpu" else config.device,
        threads=None,
    )
    words = ["samplewise", "train", str(search.corpus), "-o", str(search.folder / folder)]
    words += ["--preset", config.preset]
    # A limit that is named replaces those of the preset.
    preset = preset_for(config.preset, differences(preset, larger))
    for name, (_, value) in differences(preset, larger).items():
        head, dot, last = name.rpartition(".")
        last = last.replace("_", "-")
        flag = f"--{head}{dot}{f'no-{last}' if value is False else last}"
        values = value if isinstance(value, tuple) else [value]
        words += [flag] if isinstance(value, bool) else [flag, *map(str, values)]
    return shlex.join(words)


def table(summary: dict[str, Any]) -> str:
    """Return the best trials as columns, and the importance of the parameters beside the names."""
    records, shares = summary["trials"], summary["importance"]
    counts = ", ".join(f"{count} {state}" for state, count in summary["counts"].items())
    lines = [f"{len(records)} trials: {counts or 'none yet'}"]
    reasons = Counter(record["reason"] for record in records if record["state"] == "failed")
    lines += [f"failed {count} x: {reason}" for reason, count in reasons.items()]
    best = _best(records, SHOWN)
    if not best:
        return "\n".join(lines)
    rows = [
        ["", "mattered", *(Path(record["folder"]).name for record in best)],
        ["bits per sample", "", *(f"{record['bits']:.3f}" for record in best)],
        ["parameters", "", *(f"{record['parameters'] / 1e6:.2f} M" for record in best)],
        ["minutes", "", *(f"{record['seconds'] / 60:.1f}" for record in best)],
    ]
    for name in list(shares) or list(best[0]["params"]):
        values = (record["params"].get(name) for record in best)
        cells = ("" if value is None else format_value(value) for value in values)
        rows.append([name, f"{shares[name]:.0%}" if name in shares else "", *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([f"{first:<{widths[0]}}", *cells]).rstrip())
    return "\n".join(lines)


def search_png(summary: dict[str, Any], space: Space) -> bytes | None:
    """Plot bits per sample against each parameter, the most important first.

    Chosen: our own plot, because Optuna's go through pyplot, which is not safe in threads.

    Args:
        summary: Content of search.json.
        space: Parameters that are varied.

    Returns:
        A PNG; None if no trial has a score yet.
    """
    ended = (t for t in summary["trials"] if t["state"] in ("complete", "pruned"))
    scored = [trial for trial in ended if trial["bits"] is not None]
    scored.sort(key=lambda trial: trial["number"] == summary["best"])  # on top of the others
    shares = summary["importance"]
    names = [*shares, *(name for name in space if name not in shares)]
    names = [name for name in names if any(name in trial["params"] for trial in scored)]
    if not names:
        return None
    bits = sorted(t["bits"] for t in scored if t["state"] == "complete") or [8.0]
    low, middle = bits[0], bits[len(bits) // 2]
    high = min(bits[-1], middle + 3 * (middle - low))  # worse trials lie on the upper edge
    low, high = (low, high) if high > low else (low - 0.5, low + 0.5)
    height = TOP + math.ceil(len(names) / COLUMNS) * CELL_HEIGHT
    figure = canvas.new_figure(WIDTH, height)
    for index, name in enumerate(names):
        left, top = LEFT + index % COLUMNS * CELL_WIDTH, TOP + index // COLUMNS * CELL_HEIGHT
        axes = canvas.add_axes(figure, left, top, left + CELL_WIDTH - 80, top + CELL_HEIGHT - 100)
        entry = space[name]
        _label(axes, entry)
        for trial in (trial for trial in scored if name in trial["params"]):
            x = trial["params"][name]
            axes.plot(
                x if isinstance(entry, Range) else [*map(encode, entry.values)].index(x),
                min(trial["bits"], high),
                "o",
                color=canvas.ACCENT if trial["number"] == summary["best"] else canvas.MUTED,
                markersize=4,
                fillstyle="none" if trial["state"] == "pruned" else "full",
                clip_on=False,
            )
        axes.set_ylim(low, high)
        canvas.set_title(axes, f"{name}  {shares[name]:.0%}" if name in shares else name)
        if index % COLUMNS == 0:
            axes.set_ylabel("bits per sample")
    caption = (
        f"{len(scored)} trials; filled: complete, hollow: given up, red: the best; "
        "per cent: share of what mattered (PED-ANOVA)"
    )
    figure.text(LEFT / WIDTH, 1 - 25 / height, caption, fontsize=7.5, color=canvas.INK)
    return canvas.to_png(figure)


def _best(records: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    complete = (record for record in records if record["state"] == "complete")
    return sorted(complete, key=lambda record: record["bits"])[:count]


def _record(trial: FrozenTrial, search: Search) -> dict[str, Any]:
    attributes = trial.user_attrs
    failed = trial.state == TrialState.FAIL
    state = attributes.get(OUTCOME, "killed") if failed else trial.state.name.lower()
    return {
        "number": trial.number,
        "draw": None,
        "state": state,
        "reason": attributes.get(REASON),
        "bits": trial.value if trial.value is not None and math.isfinite(trial.value) else None,
        "params": dict(trial.params),
        "values": decode(search.space, trial.params),
        "folder": str(folder_of(search, trial.number).relative_to(search.folder)),
        "retry_of": attributes.get(RETRY),
        **{key: attributes.get(key) for key in ("steps", "seconds", "best_step", "parameters")},
        "bits_on_the_way": {f"{s / 10:g}": v for s, v in trial.intermediate_values.items()},
    }


def _label(axes: "Axes", entry: Entry) -> None:
    if isinstance(entry, Range):
        axes.set_xscale("log" if entry.log else "linear")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        axes.set_xlim(entry.low, entry.high)
    else:
        names = [canvas.drawable(format_value(v).strip("[]"), 16) for v in entry.values]
        tilt = 30 if len(names) > 4 else 0
        axes.set_xticks(range(len(names)), names, rotation=tilt, ha="right" if tilt else "center")
        axes.set_xlim(-0.5, len(names) - 0.5)
