"""What a search found: search.json, a table of the best, the command that trains the best on."""

import math
import shlex
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from samplewise.config.codec import differences
from samplewise.config.presets import PRESETS
from samplewise.config.training import TrainConfig
from samplewise.search.sampler import RETRY
from samplewise.search.settings import Search
from samplewise.search.space import describe, text
from samplewise.search.trial import decode, folder_of
from samplewise.search.trial_queue import MAX_KILLS, OUTCOME, REASON, by_draw

FORMAT = 1
SHOWN = 5
"""Trials in the table."""
LARGER = 10
"""Times the budget of a trial that the printed command spends on the best one."""
ENOUGH = 8
"""Complete trials without which nothing can be said about what mattered."""


def summarise(study: optuna.Study, search: Search, sample_rate: int) -> dict[str, Any]:
    """Return what search.json holds.

    Args:
        study: The study.
        search: Its settings.
        sample_rate: Of the corpus, in Hz.
    """
    trials = study.get_trials(deepcopy=False)
    records = [_record(trial, search) for trial in trials]
    for draw, attempts in by_draw(trials).items():
        for trial in attempts:
            records[trial.number]["draw"] = draw
        kills = sum(_state(trial) == "killed" for trial in attempts)
        if kills >= MAX_KILLS:
            records[attempts[-1].number]["reason"] = f"its worker died {kills} times"
    complete = sorted((r for r in records if r["state"] == "complete"), key=lambda r: r["bits"])
    counts: dict[str, int] = {}
    for record in records:
        counts[record["state"]] = counts.get(record["state"], 0) + 1
    summary = {
        "format": FORMAT,
        "corpus": str(search.corpus.resolve()),
        "preset": search.base.preset,
        "budget": _budget(search.base),
        "seed": search.seed,
        "sampler": search.sampler,
        "prune": search.prune,
        "space": describe(search.space, search.fixed).splitlines(),
        "counts": counts,
        "best": complete[0]["number"] if complete else None,
        "importance": importance(study),
        "trials": records,
    }
    if complete:
        summary["command"] = train_command(search, complete[0], sample_rate)
    return summary


def importance(study: optuna.Study) -> dict[str, float]:
    """Return how much each parameter mattered, most first; the shares sum to 1.

    PED-ANOVA (Watanabe et al. 2023) for reaching the best quarter of the complete trials; empty
    with too few of them.
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < ENOUGH:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few trials; the page says how many there were
        evaluator = PedAnovaImportanceEvaluator(target_quantile=0.25)
        found = get_param_importances(study, evaluator=evaluator)
    return {name: round(float(share), 4) for name, share in found.items()}


def train_command(search: Search, record: dict[str, Any], sample_rate: int) -> str:
    """Return the command that gives a trial's configuration a larger budget.

    With a constant learning rate its run goes on. Other schedules have used up theirs, so it is
    trained anew, in a folder of its own.
    """
    config = search.config_of(record["values"], sample_rate)
    folder = search.folder / "best"
    if config.schedule == "constant":
        folder = search.folder / record["folder"]
    larger = replace(
        config,
        steps=None if config.steps is None else LARGER * config.steps,
        minutes=None if config.minutes is None else LARGER * config.minutes,
        valid_every=config.valid_every * (1 if config.steps is None else LARGER),
        preview_minutes=PRESETS[config.preset].preview_minutes,
        device="auto" if config.device == "cpu" else config.device,
        threads=None,
    )
    words = ["samplewise", "train", str(search.corpus), "-o", str(folder)]
    words += ["--preset", config.preset, *_flags(PRESETS[config.preset], larger)]
    return shlex.join(words)


def table(summary: dict[str, Any]) -> str:
    """Return the best trials as columns, with what mattered beside the names."""
    counts = ", ".join(f"{count} {state}" for state, count in summary["counts"].items())
    lines = [f"{len(summary['trials'])} trials: {counts or 'none yet'}"]
    reasons: dict[str, int] = {}
    for record in summary["trials"]:
        if record["state"] == "failed":
            reasons[record["reason"]] = reasons.get(record["reason"], 0) + 1
    lines += [f"failed {count} x: {reason}" for reason, count in reasons.items()]
    complete = [record for record in summary["trials"] if record["state"] == "complete"]
    best = sorted(complete, key=lambda record: record["bits"])[:SHOWN]
    if not best:
        return "\n".join(lines)
    shares = summary["importance"]
    names = list(shares) or list(best[0]["params"])
    rows = [["", "mattered", *(Path(record["folder"]).name for record in best)]]
    rows.append(["bits per sample", "", *(f"{record['bits']:.3f}" for record in best)])
    rows.append(["parameters", "", *(f"{record['parameters'] / 1e6:.2f} M" for record in best)])
    rows.append(["minutes", "", *(f"{record['seconds'] / 60:.1f}" for record in best)])
    for name in names:
        share = f"{shares[name]:.0%}" if name in shares else ""
        values = (record["params"].get(name) for record in best)
        rows.append([name, share, *("" if value is None else text(value) for value in values)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([f"{first:<{widths[0]}}", *cells]).rstrip())
    return "\n".join(lines)


def _record(trial: FrozenTrial, search: Search) -> dict[str, Any]:
    facts, state = trial.user_attrs, _state(trial)
    bits = trial.value if trial.value is not None and math.isfinite(trial.value) else None
    return {
        "number": trial.number,
        "draw": None,
        "state": state,
        "reason": facts.get(REASON),
        "bits": bits,
        "params": dict(trial.params),
        "values": decode(search, trial.params),
        "folder": str(folder_of(search, trial.number).relative_to(search.folder)),
        "retry_of": facts.get(RETRY),
        "steps": facts.get("steps"),
        "seconds": facts.get("seconds"),
        "best_step": facts.get("best_step"),
        "parameters": facts.get("parameters"),
        "bits_on_the_way": {f"{s / 10:g}": v for s, v in trial.intermediate_values.items()},
    }


def _state(trial: FrozenTrial) -> str:
    if trial.state == TrialState.FAIL:
        return str(trial.user_attrs.get(OUTCOME, "killed"))
    return trial.state.name.lower()


def _budget(config: TrainConfig) -> str:
    return f"{config.minutes:g} minutes" if config.steps is None else f"{config.steps} steps"


def _flags(preset: TrainConfig, config: TrainConfig) -> list[str]:
    words: list[str] = []
    for name, (_, value) in differences(preset, config).items():
        head, _, last = name.rpartition(".")
        prefix = f"--{head}." if head else "--"
        flag = last.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"{prefix}{flag if value else f'no-{flag}'}")
        elif isinstance(value, tuple):
            words += [f"{prefix}{flag}", *map(str, value)]
        else:
            words += [f"{prefix}{flag}", str(value)]
    return words
