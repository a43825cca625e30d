"""Tables and pictures of measured speeds, from their results files alone."""

from pathlib import Path
from typing import Any

from samplewise.atomic_io import write_bytes, write_text
from samplewise.bench.generation import WAVERNN_RATE
from samplewise.errors import SamplewiseError
from samplewise.experiments.speeds import SpeedExperiment, read_speeds, spread
from samplewise.experiments.tables import ABSENT, table_line
from samplewise.plots.bars import bars_png


def read_all_speeds(folder: Path, experiment: SpeedExperiment) -> list[dict[str, Any]]:
    """Return the results of every machine, by name.

    Raises:
        SamplewiseError: If there are none, or a file cannot be read.
    """
    paths = sorted((folder / experiment.name).glob("*.json"))
    if not paths:
        raise SamplewiseError(f"{folder / experiment.name} holds no results; measure first")
    return [read_speeds(path, experiment) for path in paths]


def write_speeds(folder: Path, experiment: SpeedExperiment) -> list[Path]:
    """Write table.md and, for samples per second, table.png; return what was written."""
    results = read_all_speeds(folder, experiment)
    table = folder / experiment.name / "table.md"
    write_text(table, speeds_to_markdown(experiment, results))
    if experiment.measures != "samples":
        return [table]
    label = "samples per second of one clip (dashed: real time at 24 kHz; phones: the paper's)"
    picture = table.with_suffix(".png")
    write_bytes(picture, bars_png(_bars(experiment, results), label, float(WAVERNN_RATE)))
    return [table, picture]


def speeds_to_markdown(experiment: SpeedExperiment, results: list[dict[str, Any]]) -> str:
    """Return the table, the paper's figures and ours side by side, and its caption."""
    lines = [f"# {experiment.title}", "", f"{experiment.source}.", ""]
    ours = [
        (one, count, unit)
        for one in results
        for count in map(str, one["counts"])
        for unit in _units(one)
    ]
    heads = [f"{_cores(one['cpu'], count)}: {unit}" for one, count, unit in ours]
    lines += table_line(["", *heads, *(f"{column} (paper)" for column in experiment.columns)])
    for row in experiment.rows:
        cells = [row.name]
        for one, count, unit in ours:
            found = one["rows"].get(row.name)
            cells.append(_ours(found and found["threads"][count], unit))
        cells += [_shown(row.paper.get(column)) for column in experiment.columns]
        lines += table_line(cells, head=False)
    lines += ["", *(f"- {_caption(one)}" for one in results), f"- {experiment.note}"]
    return "\n".join(lines) + "\n"


def _units(one: dict[str, Any]) -> list[str]:
    """Return the units of what was measured; a file without rows has none yet."""
    first = next(iter(one["rows"].values()), None)
    return list(first["threads"][str(one["counts"][0])]["figures"]) if first else []


def _cores(cpu: str, count: str) -> str:
    return f"{cpu}, {count} thread{'s' * (count != '1')}"


def _ours(run: dict[str, Any] | None, unit: str) -> str:
    """Return the median run, and the fastest in brackets."""
    if run is None:
        return ABSENT
    median = run["figures"][unit]
    return f"{_shown(median)} ({_shown(median * (1 + spread(run)))})"


def _shown(value: float | None) -> str:
    if value is None:
        return ABSENT
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _caption(one: dict[str, Any]) -> str:
    """Say on what and beside what the figures of one machine were measured."""
    rows = list(one["rows"].values())
    runs = [count for row in rows for count in row["threads"].values()]
    loads = [row["machine"]["load_before"] for row in rows if row["machine"]["load_before"]]
    fewest = min((len(run["runs"]) for run in runs), default=0)
    words = [f"**{one['cpu']}**: median of {fewest} runs, in brackets the fastest"]
    if loads:
        cores = rows[0]["machine"]["cores"]
        words += [f"load average {min(loads):g} to {max(loads):g} on {cores} cores"]
    words += list(dict.fromkeys(row["machine"]["date"][:10] for row in rows))
    words += ["commit " + ", ".join(dict.fromkeys(row["commit"] or "unknown" for row in rows))]
    return " · ".join(words)


def _bars(
    experiment: SpeedExperiment, results: list[dict[str, Any]]
) -> list[tuple[str, float, float | None]]:
    bars: list[tuple[str, float, float | None]] = []
    for row in experiment.rows:
        for column, value in row.paper.items():
            bars.append((f"{row.name}: {column.partition(':')[0]}, estimate", value, None))
        for one in results:
            for count, found in one["rows"].get(row.name, {"threads": {}})["threads"].items():
                rate = found["figures"]["samples/s"]
                bars.append((f"{row.name}: {_cores(one['cpu'], count)}", rate, None))
    return bars
