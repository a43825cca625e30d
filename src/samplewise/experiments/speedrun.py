"""The speedrun: bits and sound of a preset after some minutes, with and without its two parts."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from samplewise.config.models import SampleRNNConfig
from samplewise.config.presets import SMALL
from samplewise.config.training import TrainConfig
from samplewise.experiments.experiment import Budget, Experiment, Row

BUDGETS = (Budget(minutes=2.0), Budget(minutes=5.0), Budget(minutes=20.0))
ALONE, NETWORK, BOTH = "predictor alone", "network alone", "both"
SYSTEMS = (ALONE, NETWORK, BOTH)
HEAD = (
    "",
    "samples/s",
    "steps",
    "valid bits",
    "test bits",
    "entropy of what is drawn",
    "log-mel distance",
    "flagged",
)


def speedrun(budgets: Sequence[Budget] = BUDGETS, config: TrainConfig = SMALL) -> Experiment:
    """Return the speedrun: the predictor alone, then the network alone and both for each budget.

    Args:
        budgets: Of the rows that are trained.
        config: A SampleRNN with a linear predictor.

    Raises:
        ValueError: If a budget is the paper's: there is none.
    """
    if Budget() in budgets:
        raise ValueError("budget = paper, but the speedrun is of no paper; give minutes or steps")
    systems = {BOTH: config}
    assert isinstance(config.model, SampleRNNConfig)
    if config.model.head == "categorical":  # a mixture needs a predictor to be around
        # Without a predictor, the settings that were best before there was one.
        model = replace(config.model, lp_order=0, mlp_maps=3)
        systems = {NETWORK: replace(config, model=model, sample_stride=1)} | systems
    rows = (
        Row(f"{name}, {budget}", system, {}, budget=budget)
        for budget in budgets
        for name, system in systems.items()
    )
    return Experiment(
        name="speedrun",
        title="Bits and sound after some minutes",
        source="docs/speedrun.md",
        unit="bits per sample",
        rows=(Row(ALONE, config, {}, is_trained=False), *rows),
        kind="speedrun",
        splits=("test", "valid"),
        note=(
            "samples/s: samples trained on per second of the budget, in which validation is. Drawn "
            "at default settings; in brackets the bootstrap interval of 95%."
        ),
    )


def speedrun_cells(rows: dict[str, Any]) -> list[list[str | None]]:
    """Return the lines of a table with the columns of ``HEAD``; None is a figure that is not there.

    Args:
        rows: Records by name of the row, as a results file holds them.
    """
    return [[name, *_figures(row)] for name, row in sorted(rows.items(), key=_order)]


def _order(item: tuple[str, dict[str, Any]]) -> tuple[int, float, int]:
    """Return what rows are sorted by: system, minutes, steps."""
    name, row = item
    budget = row["train"]["budget"]
    system = SYSTEMS.index(name.partition(",")[0])
    return system, budget["minutes"] or 0.0, budget["steps"] or 0


def _figures(row: dict[str, Any]) -> list[str | None]:
    scores, sound, seconds = row["scores"], row.get("sound"), row["seconds"]
    cells = [
        f"{row['samples_seen'] / seconds:,.0f}" if seconds else None,
        f"{row['steps']:,}",
        *(f"{scores[split]['bits_per_sample']:.3f}" for split in ("valid", "test")),
    ]
    if sound is None:
        return [*cells, None, None, None]
    distance, flagged = sound["log_mel_distance"], sound["flagged"]["value"]
    return [
        *cells,
        f"{sound['drawn_bits']['value']:.3f}",
        f"{distance['value']:.3f} [{distance['low']:.3f}, {distance['high']:.3f}]",
        f"{round(flagged * sound['count'])} of {sound['count']}",
    ]
