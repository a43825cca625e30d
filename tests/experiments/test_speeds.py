"""Tables of speed: what they measure, that they go on, and how they are shown."""

import json
from dataclasses import replace

import pytest

from samplewise.cli.main import main
from samplewise.errors import SamplewiseError
from samplewise.experiments import speeds
from samplewise.experiments.speed_tables import speeds_to_markdown, write_speeds
from samplewise.experiments.speeds import SpeedRow, measure_speeds
from samplewise.experiments.wavernn_speeds import TABLE2, TABLE4, TABLE_4

TINY = (
    SpeedRow("ours", 32, 0.5, "16x4", "int8", {"phone: GFLOP/s": 9.6}),
    SpeedRow("paper's alone", 32, 0.5, "1x1", None, {"phone: GFLOP/s": 2.5}),
)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(speeds, "STEPS", 4)
    monkeypatch.setattr(speeds, "RUNS", 1)
    timed = speeds.product_speed

    def once(*arguments):
        return timed(*arguments, runs=3, run_seconds=1e-4)

    monkeypatch.setattr(speeds, "product_speed", once)


def test_the_figures_of_the_papers_tables_2_and_4():
    assert {row.name: tuple(row.paper.values()) for row in TABLE2.rows if row.paper} == {
        "512 units, 95% zero, 4x4, f16": (19_800, 29_100),
        "512 units, 95% zero, 16x1, f16": (21_600, 31_400),
    }
    assert TABLE2.columns == ["SD 808: samples/s", "SD 835: samples/s"]
    assert [tuple(row.paper.values()) for row in TABLE4.rows if row.paper] == [
        (9.6, 95.4, 11.0, 95.4), (9.6, 32.6, 11.0, 32.6), (3.8, 1.8, 8.0, 3.8),
        (2.1, 20.1, 3.8, 36.5), (1.8, 17.2, 3.4, 32.2), (2.0, 6.5, 3.7, 12.1),
        (8.9, 85.2, 14.3, 136.6), (8.0, 75.6, 12.4, 118.2), (8.5, 28.1, 12.8, 42.2),
        (9.8, 94.0, 14.5, 138.1), (9.0, 85.5, 13.4, 127.4), (9.0, 30.0, 12.6, 41.8),
    ]  # fmt: skip


def test_gflops_of_the_paper_are_two_operations_for_each_weight_that_is_kept():
    """But for the SD 835's dense 224 and 384, which our note names."""
    for (units, sparsity, block), phones in TABLE_4.items():
        for phone, (gflops, products) in enumerate(phones):
            if block == "dense" and units < 1024 and phone == 1:
                continue
            counted = 2e-6 * units**2 * (1 - sparsity) * products
            assert counted == pytest.approx(gflops, rel=0.05)


@pytest.mark.parametrize("measures", ["products", "samples"])
def test_what_is_measured_is_noted_once_and_shown(tmp_path, quick, measures):
    experiment = replace(TABLE4, name="test.table", rows=TINY, measures=measures)
    said = []
    results = measure_speeds(experiment, tmp_path, said.append, threads=1)
    assert said == ["test.table 1/1: ours"]
    [path] = (tmp_path / "test.table").glob("*.json")
    assert json.loads(path.read_text()) == results
    assert measure_speeds(experiment, tmp_path, said.append, threads=1) == results
    assert len(said) == 1
    written = write_speeds(tmp_path, experiment)
    assert [item.name for item in written] == ["table.md", "table.png"][: len(written)]
    assert (len(written) == 2) == (measures == "samples")
    figures = results["rows"]["ours"]["threads"]["1"]["figures"]
    assert all(value > 0 for value in figures.values())
    lines = written[0].read_text().splitlines()
    units = [f"{results['cpu']}, 1 thread: {unit}" for unit in figures]
    assert f"|  | {' | '.join(units)} | phone: GFLOP/s (paper) |" in lines
    assert "| paper's alone | — | — | 2.5 |" in lines


def test_a_table_shows_medians_and_the_fastest_runs():
    run = {"figures": {"GFLOP/s": 2000.0, "1000 products/s": 0.5}, "runs": [1.0, 2.0, 3.0]}
    row = {"threads": {"1": run}, "machine": {"load_before": 1.5, "cores": 2, "date": "2020-01-01"}}
    one = {"cpu": "CPU", "counts": [1], "rows": {"ours": row | {"commit": None}}}
    text = speeds_to_markdown(replace(TABLE4, rows=TINY), [one])
    assert "| ours | 2,000 (3,000) | 0.5 (0.75) | 9.6 |" in text
    assert "**CPU**: median of 3 runs" in text
    assert "load average 1.5 to 1.5 on 2 cores" in text


def test_results_of_other_numbers_of_threads_are_not_mixed(tmp_path, quick):
    experiment = replace(TABLE4, name="test.table", rows=TINY)
    measure_speeds(experiment, tmp_path, lambda line: None, threads=1)
    with pytest.raises(SamplewiseError, match=r"another counts \(\[1\], now \[1, 2\]\)"):
        measure_speeds(experiment, tmp_path, lambda line: None, threads=2)
    [path] = (tmp_path / "test.table").glob("*.json")
    path.write_text("[]")
    with pytest.raises(SamplewiseError, match="is not a file of results"):
        write_speeds(tmp_path, experiment)
    with pytest.raises(SamplewiseError, match="holds no results; measure first"):
        write_speeds(tmp_path, replace(experiment, name="test.other"))


def test_a_table_of_speed_takes_no_corpus(tmp_path, capsys):
    words = ["experiment", "wavernn.table4", "--corpus", str(tmp_path), "-o", str(tmp_path)]
    assert main(words) == 1
    assert "leave --corpus out" in capsys.readouterr().err
