"""Experiments that measure speed, without corpus or training: this machine beside the paper's."""

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from samplewise.atomic_io import lock, write_json
from samplewise.bench.generation import WAVERNN_RATE, generation_speed
from samplewise.bench.products import product_speed
from samplewise.bench.timing import machine
from samplewise.config.models import WaveRNNConfig
from samplewise.config.training import parse_block
from samplewise.engine.sampler import WeightFormat
from samplewise.errors import SamplewiseError
from samplewise.experiments.experiment import slug
from samplewise.experiments.source import commit
from samplewise.native import default_threads, native_module
from samplewise.strict_json import read_object

FORMAT = 1
STEPS, RUNS = 512, 5
"""Samples that the reference draws in a run (the engine eight times as many), and runs."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class SpeedRow:
    """One model or one matrix."""

    name: str
    """Text of the line."""
    units: int
    """Units of the WaveRNN, or rows and columns of the matrix."""
    sparsity: float = 0.0
    """Share of the blocks that is zero."""
    block: str = "16x4"
    """Rows x columns of these blocks."""
    weights: WeightFormat | None = None
    """Weight format of the engine; None: it has no such product, the paper's figures are alone."""
    paper: dict[str, float] = field(default_factory=dict)
    """The paper's figure by column."""


@dataclass(frozen=True)
class SpeedExperiment:
    """A table of speeds."""

    name: str
    """``paper.table``, as on the command line."""
    title: str
    """Title of the table."""
    source: str
    """Its place in the paper."""
    rows: tuple[SpeedRow, ...]
    measures: Literal["samples", "products"]
    """Samples per second of a whole WaveRNN, or products of a matrix and a vector."""
    note: str
    """Note on how to read the figures."""

    @property
    def columns(self) -> list[str]:
        """The paper's columns, in order."""
        return list(dict.fromkeys(column for row in self.rows for column in row.paper))


def measure_speeds(
    experiment: SpeedExperiment, folder: Path, say: Say, threads: int | None = None
) -> dict[str, Any]:
    """Measure every row that the file of this machine lacks; return the file's content.

    Args:
        experiment: What to measure.
        folder: Root of the results: ``EXPERIMENT/CPU.json``.
        say: Called with a line about each measurement.
        threads: Largest number of threads; one thread is measured too. None: all usable cores.

    Raises:
        SamplewiseError: If the file holds other numbers of threads, or is of another version.
        EngineError: If there is no native engine.
    """
    native_module()
    info = machine("cpu")
    path = folder / experiment.name / f"{slug(info['cpu']) or 'cpu'}.json"
    counts = sorted({1, threads or default_threads()})
    path.parent.mkdir(parents=True, exist_ok=True)
    with lock(path.parent, "experiment"):
        results = _open(path, experiment, info["cpu"], counts)
        measured = [row for row in experiment.rows if row.weights is not None]
        for number, row in enumerate(measured, 1):
            if row.name in results["rows"]:
                continue
            say(f"{experiment.name} {number}/{len(measured)}: {row.name}")
            found = _samples if experiment.measures == "samples" else _products
            results["rows"][row.name] = {
                "row": asdict(row),
                "machine": machine("cpu"),
                "commit": commit(),
                "threads": found(row, counts),
            }
            write_json(path, results)
    return results


def _open(path: Path, experiment: SpeedExperiment, cpu: str, counts: list[int]) -> dict[str, Any]:
    head = {"format": FORMAT, "experiment": experiment.name, "cpu": cpu, "counts": counts}
    if not path.exists():
        return head | {"rows": {}}
    there = read_speeds(path, experiment)
    for key, value in head.items():
        if there.get(key) != value:
            raise SamplewiseError(
                f"{path} holds results with another {key} ({there.get(key)}, now {value}); choose "
                "another -o, or remove it"
            )
    return there


def read_speeds(path: Path, experiment: SpeedExperiment) -> dict[str, Any]:
    """Return the results of one machine.

    Raises:
        SamplewiseError: If it is no file of this experiment's results.
    """
    try:
        there = read_object(path)
        assert isinstance(there["rows"], dict)
        assert isinstance(there["counts"], list)
        assert there["experiment"] == experiment.name
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise SamplewiseError(f"{path} is not a file of results ({error}); remove it") from None
    return there


def _samples(row: SpeedRow, counts: list[int]) -> dict[str, Any]:
    """Return samples per second of one clip by number of threads; see generation_speed."""
    assert row.weights is not None
    found = generation_speed(
        WaveRNNConfig(dim=row.units),
        1,
        STEPS,
        RUNS,
        weights=[row.weights],
        threads=counts,
        sparsity=row.sparsity,
        block=parse_block(row.block),
    )
    return {
        str(one["threads"]): {
            "figures": {
                "samples/s": one["samples_per_s"],
                "times real time at 24 kHz": one["samples_per_s"] / WAVERNN_RATE,
            },
            "isa": one["isa"],
            "share_of_limit": one["share_of_limit"],
            "runs": one["runs"],
        }
        for one in found
        if one["backend"] == "native"
    }


def _products(row: SpeedRow, counts: list[int]) -> dict[str, Any]:
    """Return products per second by number of threads."""
    assert row.weights is not None
    found = {}
    for count in counts:
        one = product_speed(row.units, row.sparsity, parse_block(row.block), row.weights, count)
        figures = {"GFLOP/s": one["gflop_s"], "1000 products/s": one["products_per_s"] / 1000}
        found[str(count)] = {"figures": figures, **one}
    return found


def spread(one: dict[str, Any]) -> float:
    """Return the relative spread of the runs: the largest over the median, minus one."""
    return max(one["runs"]) / statistics.median(one["runs"]) - 1
