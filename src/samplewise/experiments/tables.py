"""Tables and pictures of an experiment, from its results files alone."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import mean
from typing import Any

from samplewise.atomic_io import write_bytes, write_text
from samplewise.errors import SamplewiseError
from samplewise.evaluate.nll import bits_to_nats
from samplewise.experiments.experiment import Experiment, Row
from samplewise.experiments.setting import with_seed
from samplewise.experiments.speedrun import HEAD, speedrun_cells
from samplewise.plots.dots import dots_png
from samplewise.plots.sparsity import sparsity_png
from samplewise.strict_json import read_object

ABSENT = "—"
AFTER_RECORDINGS = "after 2 s of recordings"
Results = dict[str, Any]
"""What one file of results holds."""
Column = Mapping[str, Sequence[float]]
"""The figures of each row, one for each seed."""


def read_results(folder: Path, experiment: Experiment) -> list[Results]:
    """Return the results of an experiment on every corpus, by name and seed.

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
    return sorted(found, key=lambda one: (one["corpus"]["name"], one["seed"]))


def _by_corpus(results: list[Results]) -> dict[str, list[Results]]:
    """Return the results of every seed, by the name of their corpus."""
    return {
        name: list(seeds) for name, seeds in groupby(results, lambda one: one["corpus"]["name"])
    }


def write_rendered(folder: Path, experiment: Experiment) -> list[Path]:
    """Write table.md and, where there are figures to draw, table.png; return their paths."""
    results = read_results(folder, experiment)
    table = folder / experiment.name / "table.md"
    write_text(table, to_markdown(experiment, results))
    written = [table]
    drawn = {
        title: {name: mean(seeds) for name, seeds in column.items()}
        for title, column in _columns(experiment, results).items()
        if column
    }
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


def to_markdown(experiment: Experiment, results: list[Results]) -> str:
    """Return the table, the paper's figures and ours side by side, and its caption."""
    source = "; ".join(filter(None, [experiment.source, experiment.unit]))
    lines = [f"# {experiment.title}", "", f"{source}.", ""]
    if experiment.kind == "speedrun":
        for one in results:
            seed = f", seed {one['seed']}" if one["seed"] else ""
            lines += [f"## {one['corpus']['name']}{seed}", "", *table_line(list(HEAD))]
            for cells in speedrun_cells(one["rows"]):
                lines += table_line([cell or ABSENT for cell in cells], head=False)
            lines.append("")
        lines.pop()
    elif experiment.kind == "figure":
        names = [with_seed(one["corpus"]["name"], one["seed"]) for one in results]
        lines += [f"![{name}]({name}.png)" for name in names]
    else:
        lines += _table(experiment, results)
    lines += ["", *(f"- {caption(seeds)}" for seeds in _by_corpus(results).values())]
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


def bits(seeds: Sequence[Results], split: str) -> Column:
    """Return the bits per sample of each row on a split."""
    return _collect(
        (name, row["scores"][split]["bits_per_sample"])
        for name, row in _rows(seeds)
        if split in row.get("scores", {})
    )


def shares(seeds: Sequence[Results], key: str) -> Column:
    """Return the share of clips with one speaker of each row, in either memory experiment."""
    return _collect(
        (name, row[key]["same"]["share"])
        for name, row in _rows(seeds)
        if key in row and row[key]["same"]["share"] is not None
    )


def _collect(figures: Iterable[tuple[str, float]]) -> Column:
    found: dict[str, list[float]] = {}
    for name, figure in figures:
        found.setdefault(name, []).append(figure)
    return found


def _rows(seeds: Sequence[Results]) -> list[tuple[str, dict[str, Any]]]:
    """Return every row of every seed with its name."""
    return [pair for one in seeds for pair in one["rows"].items()]


def caption(seeds: Sequence[Results]) -> str:
    """Return how the figures of one corpus were measured."""
    one, rows = seeds[0], [row for _, row in _rows(seeds)]
    corpus = one["corpus"]
    words = [f"**{corpus['name']}**: {corpus['minutes']['train']:g} min to train on"]
    if "budget" in one:
        words += _each(f"{seed['size']} size" for seed in seeds)
        words += _each(f"{seed['budget']} for each row" for seed in seeds)
    words += [f"seed{'s' * (len(seeds) > 1)} {', '.join(str(seed['seed']) for seed in seeds)}"]
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


def _columns(experiment: Experiment, results: list[Results]) -> dict[str, Column]:
    """Return every column of figures, the paper's before ours."""
    columns: dict[str, Column] = {
        f"{column} (paper)": {
            name: [paper[column]] for name, paper in experiment.paper.items() if column in paper
        }
        for column in experiment.columns
    }
    for name, seeds in _by_corpus(results).items():
        if experiment.kind == "memory":
            columns[f"{name} (ours)"] = shares(seeds, "memory")
            if any("memory_after_recordings" in row for _, row in _rows(seeds)):
                after = shares(seeds, "memory_after_recordings")
                columns[f"{name}, {AFTER_RECORDINGS} (ours)"] = after
            continue
        for index, split in enumerate(experiment.splits):
            column = bits(seeds, split)
            if experiment.in_nats:
                column = {
                    row: [bits_to_nats(one) for one in found] for row, found in column.items()
                }
            columns[f"{name}{f', {split}' if index else ''} (ours)"] = column
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


def _table(experiment: Experiment, results: list[Results]) -> list[str]:
    columns, corpora = _columns(experiment, results), _by_corpus(results)
    best = max if experiment.kind == "memory" else min
    if experiment.in_nats:
        for name, seeds in corpora.items():
            columns[f"{name}, bits"] = bits(seeds, experiment.splits[0])
    lines = table_line(["Model", *columns])
    for name in experiment.paper:
        cells = [name]
        for column in columns.values():
            means = {row: mean(found) for row, found in column.items()}
            is_best = len(means) > 1 and means.get(name) == best(means.values())
            cells.append(_cell(column.get(name, ()), is_best))
        lines += table_line(cells, head=False)
    lines += ["", "Training:", ""]
    is_sparse = any(row.config.pruning.sparsity for row in experiment.rows)
    kept = ["wide weights kept, 1000 (zero)"] if is_sparse else []
    seen = [f"samples seen, M: {name}" for name in corpora]
    has_sound = any("sound" in row for _, row in _rows(results))
    sound = [f"log-mel distance: {name}" for name in corpora] if has_sound else []
    lines += table_line(["Model", "parameters, M", *kept, *seen, *sound])
    for row in experiment.rows:
        found = [
            [one["rows"][row.name] for one in seeds if row.name in one["rows"]]
            for seeds in corpora.values()
        ]
        size = next((f"{one['parameters'] / 1e6:.2f}" for seeds in found for one in seeds), ABSENT)
        kept = [_kept(found)] if is_sparse else []
        seen = [_seen(seeds, experiment.in_nats) for seeds in found]
        sound = [_distance(seeds) for seeds in found] if has_sound else []
        lines += table_line([row.name, size, *kept, *seen, *sound], head=False)
    return [*lines, *_extra(corpora)]


def _cell(seeds: Sequence[float], is_best: bool) -> str:
    """Return the mean of the seeds, and their range if there are several."""
    if not seeds:
        return ABSENT
    shown = f"**{mean(seeds):.3f}**" if is_best else f"{mean(seeds):.3f}"
    return f"{shown} [{min(seeds):.3f}, {max(seeds):.3f}]" if len(seeds) > 1 else shown


def _seen(seeds: Sequence[dict[str, Any]], with_steps: bool) -> str:
    """Return what a row was trained on, mean over its seeds."""
    if not seeds:
        return ABSENT
    samples, minutes = (mean(one[key] for one in seeds) for key in ("samples_seen", "minutes"))
    steps = f", {mean(one['steps'] for one in seeds):.0f} steps" if with_steps else ""
    return f"{samples / 1e6:.3g} in {minutes:.1f} min{steps}"


def _kept(found: list[list[dict[str, Any]]]) -> str:
    """Return the number of weights left in pruned matrices, and the share of zeros."""
    one = next((one for seeds in found for one in seeds if "kept_weights" in one), None)
    if one is None:
        return ABSENT
    return f"{one['kept_weights'] / 1000:.1f}" + (
        f" ({one['sparsity']:.1%})" if one["sparsity"] else ""
    )


def _distance(seeds: Sequence[dict[str, Any]]) -> str:
    """Return the distance of a row's clips to the test recordings.

    Of one seed with its interval; of several, their mean and range.
    """
    found = [one["sound"]["log_mel_distance"] for one in seeds if "sound" in one]
    if not found:
        return ABSENT
    values = [one["value"] for one in found]
    low, high = min(values), max(values)
    if len(found) == 1:
        low, high = found[0]["low"], found[0]["high"]
    return f"{mean(values):.2f} [{low:.2f}, {high:.2f}]"


def table_line(cells: list[str], head: bool = True) -> list[str]:
    """Return a line of a Markdown table, and the rule below it if it is the head."""
    line = "| " + " | ".join(cells) + " |"
    return [line, "|---" * len(cells) + "|"] if head else [line]


def _extra(corpora: Mapping[str, Sequence[Results]]) -> list[str]:
    """Return the lines below the table: baselines, densities, counts of memory figures."""
    lines = []
    for name, seeds in corpora.items():
        rows = _rows(seeds)
        for row_name, row in rows:
            for key, said in (("memory", ""), ("memory_after_recordings", f", {AFTER_RECORDINGS}")):
                if key in row:
                    lines.append(f"- {name}, {row_name}{said}: {_memory(row[key])}")
            for score in row.get("scores", {}).values():
                if " · a density" in score["label"]:
                    said = score["label"].partition(" · a density")[2]
                    lines.append(f"- {name}, {row_name}: a density{said}")
        scored = next((row["scores"] for _, row in rows if "scores" in row), {})
        counted = next(iter(scored.values()), {}).get("baselines", {})
        if counted:
            words = (f"{key.replace('_', ' ')} {value:.3f}" for key, value in counted.items())
            lines.append(f"- {name}, counted on its training split: {', '.join(words)}")
        sound = next((row["sound"] for _, row in rows if "sound" in row), None)
        if sound:
            words = (f"{key} {value:.2f}" for key, value in sound["references"].items())
            lines.append(
                f"- {name}, log-mel distance of {sound['count']} clips of {sound['seconds']:g} s; "
                f"beside it {', '.join(words)}"
            )
    return ["", *dict.fromkeys(lines)] if lines else []


def _memory(memory: dict[str, Any]) -> str:
    same, chance = memory["same"], memory["by_chance"]
    low, high = same["low"], same["high"]
    expected = "unknown" if chance is None else f"{chance:.0%}"
    unvoiced = memory["unvoiced_before"]["count"], memory["unvoiced_after"]["count"]
    continued = memory.get("continued", {"total": 0})
    said = "speaker of the recording before the silence in {count} of {total}; "
    return (said.format(**continued) if continued["total"] else "") + (
        f"same speaker in {same['count']} of {same['total']} judged clips [{low:.0%}, {high:.0%}], "
        f"by chance {expected}; no voice before in {unvoiced[0]}, after in {unvoiced[1]} of "
        f"{memory['plan']['count']}"
    )
