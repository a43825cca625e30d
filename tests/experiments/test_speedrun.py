"""The speedrun, with small models and budgets in steps."""

from dataclasses import replace

import pytest

from samplewise.cli.main import main
from samplewise.config.presets import PRESETS, SMALL
from samplewise.data.excerpts import cut
from samplewise.evaluate import sound
from samplewise.evaluate.predictor_baseline import fit_factor, predictor_alone
from samplewise.experiments import runner
from samplewise.experiments.experiment import Budget
from samplewise.experiments.runner import run_experiment
from samplewise.experiments.speedrun import SYSTEMS, speedrun
from samplewise.experiments.tables import read_results, to_markdown
from samplewise.models.io import load_model

BUDGETS = (Budget(steps=2), Budget(steps=10))
NAMES = [
    "predictor alone",
    *("network alone, 2 steps", "both, 2 steps"),
    *("network alone, 10 steps", "both, 10 steps"),
]


@pytest.fixture
def small(config):
    predictor = {"lp_order": 8, "lp_window": 128, "lp_hop": 32, "mlp_maps": 2}
    model = replace(config.model, frame_sizes=(2, 16, 32), **predictor)
    return replace(config, model=model, sample_stride=2, valid_every=100)


@pytest.fixture
def setting(setting, long_corpus, monkeypatch):
    monkeypatch.setattr(runner, "COUNT", 2)
    monkeypatch.setattr(sound, "RESAMPLES", 4)
    return replace(setting, corpus=long_corpus, budget=Budget())


def test_every_system_has_a_row_for_each_budget():
    rows = speedrun().rows
    assert [row.name for row in rows[1:5]] == [f"{s}, {n} min" for n in (2, 5) for s in SYSTEMS[1:]]
    assert rows[1].config.model.lp_order == 0
    assert rows[2].config == SMALL
    sixteen = speedrun([Budget(minutes=5.0)], PRESETS["small-16bit"]).rows
    assert [row.name for row in sixteen] == ["predictor alone", "both, 5 min"]
    assert sixteen[1].config == PRESETS["small-16bit"]
    with pytest.raises(ValueError, match="the speedrun is of no paper"):
        speedrun([Budget()])


def test_rows_are_trained_for_their_own_budgets_scored_and_heard(small, setting):
    experiment = speedrun(BUDGETS, small)
    results = run_experiment(experiment, setting, lambda line: None)
    rows = results["rows"]
    assert list(rows) == NAMES
    assert [row["steps"] for row in rows.values()] == [0, 2, 2, 10, 10]
    assert all(row["sound"]["count"] == 2 for row in rows.values())

    lines = to_markdown(experiment, [results]).splitlines()
    table = [line for line in lines if line.startswith(("| predictor", "| network", "| both"))]
    order = [NAMES[0], *NAMES[1::2], *NAMES[2::2]]  # by system, then by budget
    assert [line.split(" | ")[0][2:] for line in table] == order
    alone = rows["predictor alone"]["scores"]
    figures = [alone[split]["bits_per_sample"] for split in ("valid", "test")]
    assert table[0].startswith(f"| predictor alone | — | 0 | {figures[0]:.3f} | {figures[1]:.3f} |")
    assert table[0].endswith(" of 2 |")
    assert any("tones" in line and "min to train on · seed 0 · " in line for line in lines)


def test_the_predictor_alone_is_the_baseline_and_draws_like_any_model(small, setting):
    experiment = speedrun(BUDGETS, small)
    experiment = replace(experiment, rows=experiment.rows[:1])
    results = run_experiment(experiment, setting, lambda line: None)
    [found] = results["rows"].values()
    corpus, clip_samples = setting.corpus, round(small.clip_seconds * 8000)
    loaded = load_model(setting.folder / found["run"])
    splits = ("train", "valid", "test")
    train, valid, test = (cut(corpus.split(split), clip_samples) for split in splits)
    factor = fit_factor(loaded.model, corpus, train, "keep")
    assert found["log_factor"] == factor
    for split, clips in (("valid", valid), ("test", test)):
        bits = found["scores"][split]["bits_per_sample"]
        expected = predictor_alone(loaded.model, corpus, clips, "keep", factor)
        assert bits == pytest.approx(expected, rel=1e-5)
    valid_bits = found["scores"]["valid"]["bits_per_sample"]
    assert loaded.provenance["valid_bits"] == pytest.approx(valid_bits, rel=1e-5)


def test_one_row_by_one_command(setting, small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(speedrun, "__defaults__", (BUDGETS, small))
    command = ["experiment", "speedrun", "--corpus", str(setting.corpus.folder)]
    command += ["-o", str(tmp_path / "out"), "--device", "cpu", "--threads", "1"]
    command += ["--budget", "1steps,3steps"]
    assert main([*command, "--only", "both, 3 steps"]) == 0
    assert "| both, 3 steps | " in capsys.readouterr().out
    [results] = read_results(tmp_path / "out", speedrun())
    assert results["corpus"]["name"] == "made-1-thread"
    assert list(results["rows"]) == ["both, 3 steps"]
    assert main([*command, "--only", "both-2-min"]) == 1
    assert "its rows: predictor alone; network alone, 1 steps; " in capsys.readouterr().err
