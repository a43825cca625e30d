"""Tables and pictures of an experiment, from its results files alone."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from samplewise.atomic_io import write_bytes, write_text
from samplewise.errors import SamplewiseError
from samplewise.evaluate.nll import bits_to_nats
from samplewise.experiments.experiment import Experiment, Row
from samplewise.experiments.speedrun import HEAD, speedrun_cells
from samplewise.plots.dots import dots_png
from samplewise.plots.sparsity import sparsity_png
from samplewise.strict_json import read_object

ABSENT = "—"


def read_results(folder: Path, experiment: Experiment) -> list[dict[str, Any]]:
    """Return the results of an experiment on every corpus, by name.

    Raises:
        SamplewiseError: If there are none, or a file cannot be read.
    """
    paths = sorted((folder / experiment.name).glob("*.json"))
    if not paths:
        raise SamplewiseError(
            f"{folder / experiment.name} holds no results; run the experiment on a --corpus first"
        )
    found = []
    for path in paths:
        try:
            results = read_object(path)
            assert isinstance(results["rows"], dict)
            assert results["experiment"] == experiment.name
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise SamplewiseError(f"{path} is not a file of results ({error})") from None
        found.append(results)
    return found


def write_rendered(folder: Path, experiment: Experiment) -> list[Path]:
    """Write table.md and, where there are figures to draw, table.png; return their paths."""
    results = read_results(folder, experiment)
    table = folder / experiment.name / "table.md"
    write_text(table, to_markdown(experiment, results))
    written = [table]
    drawn = {column: values for column, values in _columns(experiment, results).items() if values}
    if experiment.kind not in ("figure", "speedrun") and drawn:
        picture = table.with_suffix(".png")
        limits = (0.0, 1.0) if experiment.kind == "memory" else None
        if experiment.paper_curves:
            png = sparsity_png(_curves(experiment, drawn), experiment.unit)
        else:
            png = dots_png(list(experiment.paper), drawn, experiment.unit, limits)
        write_bytes(picture, png)
        written.append(picture)
    return written


def to_markdown(experiment: Experiment, results: list[dict[str, Any]]) -> str:
    """Return the table, the paper's figures and ours side by side, and its caption."""
    source = "; ".join(filter(None, [experiment.source, experiment.unit]))
    lines = [f"# {experiment.title}", "", f"{source}.", ""]
    if experiment.kind == "speedrun":
        for one in results:
            lines += [f"## {one['corpus']['name']}", "", *table_line(list(HEAD))]
            for cells in speedrun_cells(one["rows"]):
                lines += table_line([cell or ABSENT for cell in cells], head=False)
            lines.append("")
        lines.pop()
    elif experiment.kind == "figure":
        lines += [f"![{one['corpus']['name']}]({one['corpus']['name']}.png)" for one in results]
    else:
        lines += _table(experiment, results)
    lines += ["", *(f"- {caption(one)}" for one in results)]
    if experiment.note:
        lines += [f"- {experiment.note}"]
    if any(one["size"] == "small" for one in results):
        lines += [f"- The {experiment.small_note}."]
    if experiment.kind in ("figure", "speedrun"):
        return "\n".join(lines) + "\n"
    lines += [
        "- The paper's figures are of other data, of models trained for days: compare the order of "
        "rows within a column, never figures across columns."
    ]
    return "\n".join(lines) + "\n"


def figures(one: dict[str, Any], split: str, in_nats: bool = False) -> dict[str, float]:
    """Return our figure of each row: bits or nats on a split, or the share of clips."""
    found = {}
    for name, row in one["rows"].items():
        if split in row.get("scores", {}):
            bits = row["scores"][split]["bits_per_sample"]
            found[name] = bits_to_nats(bits) if in_nats else bits
        elif "memory" in row and row["memory"]["same"]["share"] is not None:
            found[name] = row["memory"]["same"]["share"]
    return found


def caption(one: dict[str, Any]) -> str:
    """Return how the figures of one corpus were measured."""
    corpus, rows = one["corpus"], list(one["rows"].values())
    words = [f"**{corpus['name']}**: {corpus['minutes']['train']:g} min to train on"]
    if "budget" in one:
        words += [f"{one['size']} size", f"{one['budget']} for each row"]
    words += [f"seed {one['seed']}"]
    machines = [row["machine"] for row in rows]
    words += _each(
        f"{used.get('gpu', used['cpu'])}, {used['threads']} threads" for used in machines
    )
    words += [f"commit {', '.join(dict.fromkeys(row['commit'] or 'unknown' for row in rows))}"]
    labels = (score["label"] for row in rows for score in row.get("scores", {}).values())
    words += _each(label.partition(" · a density")[0] for label in labels)
    return " · ".join(words)


def _each(words: Iterable[str]) -> list[str]:
    """Return the different words joined by "and"; nothing if there are none."""
    return [" and ".join(found)] if (found := list(dict.fromkeys(words))) else []


def _columns(experiment: Experiment, results: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return every column of figures, the paper's before ours: row name -> figure."""
    columns = {
        f"{column} (paper)": {
            name: paper[column] for name, paper in experiment.paper.items() if column in paper
        }
        for column in experiment.columns
    }
    for one in results:
        for index, split in enumerate(experiment.splits):
            name = one["corpus"]["name"] + (f", {split}" if index else "")
            columns[f"{name} (ours)"] = figures(one, split, experiment.in_nats)
    return columns


def _curves(
    experiment: Experiment, columns: dict[str, dict[str, float]]
) -> dict[str, dict[str, Mapping[float, float]]]:
    """Return the curves of a picture, figures by sparsity: the paper's before ours."""
    panels: dict[str, dict[str, Mapping[float, float]]] = {
        f"{experiment.columns[0]} (paper, read off)": dict(experiment.paper_curves)
    }
    prunings = [row.config.pruning for row in experiment.rows]
    blocks = dict.fromkeys(p.block for p in prunings if p.sparsity)
    for title, values in columns.items():
        if title.endswith("(ours)"):
            panels[title] = {
                f"{block} blocks": curve_of(experiment.rows, block, values) for block in blocks
            }
    return panels


def curve_of(rows: tuple[Row, ...], block: str, values: dict[str, float]) -> dict[float, float]:
    """Return figures by sparsity of rows with these blocks; a dense row belongs to every curve."""
    prunings = {row.name: row.config.pruning for row in rows if row.name in values}
    return {
        pruning.sparsity: values[name]
        for name, pruning in prunings.items()
        if not pruning.sparsity or pruning.block == block
    }


def _table(experiment: Experiment, results: list[dict[str, Any]]) -> list[str]:
    columns = _columns(experiment, results)
    best = max if experiment.kind == "memory" else min
    if experiment.in_nats:
        for one in results:
            columns[f"{one['corpus']['name']}, bits"] = figures(one, experiment.splits[0])
    lines = table_line(["Model", *columns])
    for name in experiment.paper:
        cells = [name]
        for values in columns.values():
            value = values.get(name)
            shown = ABSENT if value is None else f"{value:.3f}"
            is_best = value is not None and len(values) > 1 and value == best(values.values())
            cells.append(f"**{shown}**" if is_best else shown)
        lines += table_line(cells, head=False)
    lines += ["", "Training:", ""]
    names = [one["corpus"]["name"] for one in results]
    is_sparse = any(row.config.pruning.sparsity for row in experiment.rows)
    kept = ["wide weights kept, 1000 (zero)"] if is_sparse else []
    seen = [f"samples seen, M: {name}" for name in names]
    has_sound = any("sound" in row for one in results for row in one["rows"].values())
    sound = [f"log-mel distance: {name}" for name in names] if has_sound else []
    lines += table_line(["Model", "parameters, M", *kept, *seen, *sound])
    for row in experiment.rows:
        found = [one["rows"].get(row.name) for one in results]
        size = next((f"{one['parameters'] / 1e6:.2f}" for one in found if one), ABSENT)
        kept = [_kept(found)] if is_sparse else []
        seen = [
            f"{one['samples_seen'] / 1e6:.3g} in {one['minutes']:.1f} min"
            + (f", {one['steps']} steps" if experiment.in_nats else "")
            if one
            else ABSENT
            for one in found
        ]
        sound = [_distance(one) for one in found] if has_sound else []
        lines += table_line([row.name, size, *kept, *seen, *sound], head=False)
    return [*lines, *_extra(results)]


def _kept(found: list[dict[str, Any] | None]) -> str:
    """Return the number of weights left in pruned matrices, and the share of zeros."""
    one = next((one for one in found if one and "kept_weights" in one), None)
    if one is None:
        return ABSENT
    return f"{one['kept_weights'] / 1000:.1f}" + (
        f" ({one['sparsity']:.1%})" if one["sparsity"] else ""
    )


def _distance(row: dict[str, Any] | None) -> str:
    """Return the distance of a row's clips to the test recordings, with its interval."""
    if row is None or "sound" not in row:
        return ABSENT
    distance = row["sound"]["log_mel_distance"]
    return f"{distance['value']:.2f} [{distance['low']:.2f}, {distance['high']:.2f}]"


def table_line(cells: list[str], head: bool = True) -> list[str]:
    """Return a line of a Markdown table, and the rule below it if it is the head."""
    line = "| " + " | ".join(cells) + " |"
    return [line, "|---" * len(cells) + "|"] if head else [line]


def _extra(results: list[dict[str, Any]]) -> list[str]:
    """Return the lines below the table: baselines, densities, counts of memory figures."""
    lines = []
    for one in results:
        name = one["corpus"]["name"]
        for row_name, row in one["rows"].items():
            if "memory" in row:
                lines.append(f"- {name}, {row_name}: {_memory(row)}")
            for score in row.get("scores", {}).values():
                if " · a density" in score["label"]:
                    said = score["label"].partition(" · a density")[2]
                    lines.append(f"- {name}, {row_name}: a density{said}")
        scored = next((row["scores"] for row in one["rows"].values() if "scores" in row), {})
        counted = next(iter(scored.values()), {}).get("baselines", {})
        if counted:
            words = (f"{key.replace('_', ' ')} {value:.3f}" for key, value in counted.items())
            lines.append(f"- {name}, counted on its training split: {', '.join(words)}")
        sound = next((row["sound"] for row in one["rows"].values() if "sound" in row), None)
        if sound:
            words = (f"{key} {value:.2f}" for key, value in sound["references"].items())
            lines.append(
                f"- {name}, log-mel distance of {sound['count']} clips of {sound['seconds']:g} s; "
                f"beside it {', '.join(words)}"
            )
    return ["", *lines] if lines else []


def _memory(row: dict[str, Any]) -> str:
    memory = row["memory"]
    same, chance = memory["same"], memory["by_chance"]
    low, high = same["low"], same["high"]
    expected = "unknown" if chance is None else f"{chance:.0%}"
    unvoiced = memory["unvoiced_before"]["count"], memory["unvoiced_after"]["count"]
    return (
        f"same speaker in {same['count']} of {same['total']} judged clips [{low:.0%}, {high:.0%}], "
        f"by chance {expected}; no voice before in {unvoiced[0]}, after in {unvoiced[1]} of "
        f"{memory['plan']['count']}"
    )
