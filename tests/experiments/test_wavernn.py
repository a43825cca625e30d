"""The rows of Kalchbrenner et al. 2018: what they are, and that each kind trains and is scored."""

import math
from dataclasses import replace

import pytest
import torch

from samplewise.config.codec import with_fields
from samplewise.evaluate.evaluation import evaluate_split
from samplewise.experiments.experiment import Budget, parse_budget, shrink
from samplewise.experiments.runner import result_path, run_experiment
from samplewise.experiments.tables import curve_of, write_rendered
from samplewise.experiments.wavernn import EXPERIMENTS
from samplewise.models.build import build_model
from samplewise.models.io import load_model
from samplewise.models.pruning import check_blocks
from samplewise.training.run import count_parameters

TABLE3, FIGURE2 = EXPERIMENTS["wavernn.table3"], EXPERIMENTS["wavernn.figure2"]
ROWS = {row.name: row for experiment in EXPERIMENTS.values() for row in experiment.rows}
DENSE, SPARSE, SUBSCALE, FUSED = (TABLE3.rows[index] for index in (0, 4, 8, 9))


def test_the_figures_of_the_papers_table_3():
    assert {name: dict(paper) for name, paper in TABLE3.paper.items()} == {
        "WaveRNN 224": {"24 kHz speech": 5.67},
        "WaveRNN 384": {"24 kHz speech": 5.56},
        "WaveRNN 896": {"24 kHz speech": 5.42},
        "WaveRNN 2048": {"24 kHz speech": 5.33},
        "Sparse Mobile 1024, 95.2%, 4x4": {"24 kHz speech": 5.52},
        "Sparse 224 (1536 at 97.8%)": {"24 kHz speech": 5.48},
        "Sparse 384 (2048 at 96.4%)": {"24 kHz speech": 5.42},
        "Subscale 1024 (16x)": {"24 kHz speech": 5.52},
        "Subscale 1024 (8x)": {"24 kHz speech": 5.46},
        "Fused Subscale 896 (2x)": {"24 kHz speech": 5.45},
        "WaveNet 512, 60 layers": {"24 kHz speech": 5.29},
    }
    sizes = [(row.config.model.dim, row.config.pruning.sparsity) for row in TABLE3.rows]
    assert sizes[:7] == [
        *((224, 0.0), (384, 0.0), (896, 0.0), (2048, 0.0)),
        *((1024, 0.952), (1536, 0.978), (2048, 0.964)),
    ]
    assert [row.config.model.dim for row in TABLE3.rows[7:]] == [1024, 1024, 896]
    assert [row.config.model.n_subscale for row in TABLE3.rows[7:9]] == [16, 8]


def test_every_point_of_figure_2_keeps_the_recurrent_weights_of_the_dense_row():
    for row in FIGURE2.rows:
        kept = 3 * row.config.model.dim**2 * (1 - row.config.pruning.sparsity)
        assert kept == pytest.approx(3 * 224**2, rel=1e-3)
    assert [row.config.model.dim for row in FIGURE2.rows] == [224, 512, 512, 768, 768, 1024, 1024]


@pytest.mark.parametrize("name", ROWS)
def test_a_small_row_is_the_same_system_made_narrower_and_its_blocks_fit(name):
    config = ROWS[name].config
    small = shrink(config)
    assert small.model.family == config.model.family
    assert small.model.dim * 4 == config.model.dim
    assert (small.pruning.sparsity, small.pruning.block) == (
        config.pruning.sparsity,
        config.pruning.block,
    )
    models = [build_model(c.model, seed=None) for c in (small, config)]
    assert count_parameters(models[0]) < count_parameters(models[1]) / 2.5
    if config.pruning.sparsity:
        for model in models:
            check_blocks(model, config.pruning.block_size)


def test_a_small_segment_is_longer_than_its_horizon():
    for row in TABLE3.rows[7:9]:
        small = shrink(row.config)
        assert small.seq_len == small.model.top_frame == 2048
        assert small.model.columns > 4 * small.model.horizon


def test_the_papers_budget_is_its_number_of_steps():
    budget = parse_budget("paper").apply(SPARSE.config, SPARSE).budget
    assert (budget.steps, budget.minutes, budget.epochs) == (500_000, None, None)


def tiny(row):
    """Return the row with a model that trains in a moment."""
    model = replace(row.config.model, dim=32)
    if row is SUBSCALE:
        model = replace(
            model, n_subscale=2, columns=16, dilations=(1,), channels=4, residual_channels=4
        )
    config = with_fields(row.config, model=model, lanes=2, seq_len=32 * 30, prune_every=1, ema=0.5)
    return replace(row, config=config)


@pytest.mark.parametrize("row", [DENSE, SPARSE, SUBSCALE, FUSED], ids=lambda row: row.slug)
def test_a_row_of_each_kind_is_trained_scored_and_shown(row, setting):
    row = tiny(row)
    experiment = replace(TABLE3, rows=(row,))
    setting = replace(setting, budget=Budget(steps=3))
    found = run_experiment(experiment, setting, lambda line: None)["rows"][row.name]
    score = found["scores"]["test"]
    assert found["steps"] == 3
    loaded = load_model(setting.run_folder(row), torch.device("cpu"))
    by_reference = evaluate_split(loaded, setting.corpus, weights=None, with_baselines=False)
    assert score["bits_per_sample"] == pytest.approx(by_reference.bits_per_sample, abs=1e-5)
    wide = sum(part.weight.v.numel() for part in loaded.model.prunable())
    if wide:
        zeros = sum(int((part.weight() == 0).sum()) for part in loaded.model.prunable())
        assert found["kept_weights"] == wide - zeros
        assert found["sparsity"] == pytest.approx(zeros / wide)
        assert found["sparsity"] == pytest.approx(row.config.pruning.sparsity, abs=0.03)
    table, picture = write_rendered(setting.folder, experiment)
    nats = score["bits_per_sample"] * math.log(2)
    shown = f"| {nats:.3f} | {score['bits_per_sample']:.3f} |"
    [line] = [line for line in table.read_text().splitlines() if shown in line.replace("*", "")]
    assert line.startswith(f"| {row.name} | ")
    assert "| WaveNet 512, 60 layers | **5.290** | — | — |" in table.read_text()
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_curve_begins_with_the_dense_row_and_has_those_of_its_block():
    values = {row.name: float(index) for index, row in enumerate(FIGURE2.rows)}
    zero = [1 - (224 / units) ** 2 for units in (512, 768, 1024)]
    for block, figures in (("16x1", [0.0, 1.0, 3.0, 5.0]), ("16x4", [0.0, 2.0, 4.0, 6.0])):
        curve = curve_of(FIGURE2.rows, block, values)
        assert list(curve) == pytest.approx([0.0, *zero], abs=1e-5)
        assert list(curve.values()) == figures


def test_figure_2_has_curves_even_of_rows_that_are_not_all_there(setting):
    rows = tuple(tiny(row) for row in FIGURE2.rows[:2])
    experiment = replace(FIGURE2, rows=rows)
    setting = replace(setting, budget=Budget(steps=2))
    run_experiment(experiment, setting, lambda line: None)
    before = result_path(setting.folder, "wavernn.figure2", "tones").read_text()
    table, picture = write_rendered(setting.folder, FIGURE2)
    assert picture.read_bytes().startswith(b"\x89PNG")
    lines = table.read_text().splitlines()
    assert any(line.startswith("| 512 units, 80.9%, 16x1 | 5.580 | ") for line in lines)
    assert "| 1024 units, 95.2%, 16x4 | — | — | — |" in lines
    assert '"sparsity": 0.8' in before
