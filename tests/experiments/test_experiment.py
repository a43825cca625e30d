import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from tests.training.test_resume import assert_same_bits

from samplewise.audio.write import write_wav
from samplewise.cli import prepare
from samplewise.data.corpus import Corpus
from samplewise.errors import SamplewiseError
from samplewise.evaluate.clip_sets import score_model
from samplewise.evaluate.speakers import speakers_by_folder
from samplewise.experiments import runner as runner
from samplewise.experiments.experiment import Budget, Row, only_row, parse_budget, shrink
from samplewise.experiments.runner import StoppedError, result_path, run_experiment
from samplewise.experiments.samplernn import EXPERIMENTS, WEEK_MINUTES
from samplewise.experiments.tables import write_rendered
from samplewise.models.build import build_model
from samplewise.models.io import load_model
from samplewise.training import session
from samplewise.training.run import count_parameters

ROWS = {f"{e.name}: {row.name}": row for e in EXPERIMENTS.values() for row in e.rows}


def run(experiment, setting):
    said = []
    results = run_experiment(experiment, setting, said.append)
    return results, said


def bits(row):
    return {split: score["bits_per_sample"] for split, score in row["scores"].items()}


@pytest.mark.parametrize("name", ROWS)
def test_a_small_row_is_the_same_system_made_narrower(name):
    config = ROWS[name].config
    small = shrink(config)
    assert small.model.family == config.model.family
    assert small.seq_len == config.seq_len
    sizes = [count_parameters(build_model(c.model, seed=None)) for c in (small, config)]
    assert sizes[0] < sizes[1] / 2.5


def test_rows_of_one_name_are_one_system_so_that_experiments_can_share_their_runs():
    for experiment in EXPERIMENTS.values():
        for row in experiment.rows:
            same = [other for other in ROWS.values() if other.slug == row.slug]
            assert {other.config.model for other in same} == {row.config.model}
            assert {other.config.seq_len for other in same} == {row.config.seq_len}


@pytest.mark.parametrize(
    ("words", "minutes", "steps"),
    [("10min", 10.0, None), ("2h", 120.0, None), ("90s", 1.5, None), ("5000steps", None, 5000)],
)
def test_budgets_are_read(words, minutes, steps):
    assert parse_budget(words) == Budget(minutes, steps)


def test_a_budget_of_samples_is_as_many_for_every_row():
    budget = parse_budget("0.5Msamples")
    assert str(budget) == "0.5 million samples"
    for row in ROWS.values():
        config = budget.apply(row.config, row)
        each = config.lanes * config.seq_len
        assert config.budget.minutes is None
        assert config.budget.steps is not None
        assert 500_000 <= config.budget.steps * each < 500_000 + each


@pytest.mark.parametrize("words", ["", "10", "10 years", "0min", "-3min", "steps"])
def test_what_is_no_budget_is_refused(words):
    with pytest.raises(ValueError, match="budget = "):
        parse_budget(words)


def test_the_papers_own_budget_is_that_of_the_row():
    wavenet = ROWS["samplernn.table1: WaveNet (re-impl.)"]
    budget = parse_budget("paper").apply(wavenet.config, wavenet).budget
    assert (budget.minutes, budget.steps, budget.epochs) == (WEEK_MINUTES, None, None)


def test_every_row_is_trained_scored_and_noted(experiment, setting):
    results, _ = run(experiment, setting)
    assert list(results["rows"]) == [row.name for row in experiment.rows]
    assert results == json.loads(result_path(setting.folder, "test.table", "tones").read_text())
    for found in results["rows"].values():
        assert found["steps"] == 6
        assert found["samples_seen"] > 0
        assert (setting.folder / found["run"] / "weights.safetensors").exists()
        assert set(found["scores"]) == {"test", "valid"}
        assert 0 < found["scores"]["test"]["bits_per_sample"] < 20
        assert set(found["scores"]["test"]["baselines"]) >= {"uniform", "unigram"}


def test_the_clips_of_a_row_are_compared_with_the_recordings(
    experiment, setting, long_corpus, monkeypatch
):
    monkeypatch.setattr(runner, "SOUND_COUNT", 2)
    setting = replace(setting, corpus=long_corpus)
    results, _ = run(replace(experiment, rows=experiment.rows[1:]), setting)
    [found] = results["rows"].values()
    loaded = load_model(setting.folder / found["run"])
    expected = score_model(loaded, setting.corpus, count=2, seconds=1.02, seed=setting.seed)
    assert found["sound"] == expected.to_json()


def test_what_is_there_is_not_done_again(experiment, setting):
    first, said = run(experiment, setting)
    assert said
    again, said = run(experiment, setting)
    assert again == first
    assert said == []


def test_an_experiment_that_was_stopped_goes_on_to_the_same_figures(
    experiment, setting, monkeypatch, tmp_path
):
    whole, _ = run(experiment, replace(setting, folder=tmp_path / "whole"))
    train = session.fit

    def stopped(run, logger, interrupts, should_stop):
        if run.config.model.family == "samplernn":
            next_batch = run.stream.next_batch

            def counted():
                interrupts.requested = run.progress.step == 1
                return next_batch()

            run.stream.next_batch = counted  # Ctrl-C in the middle of the second row
        return train(run, logger, interrupts, should_stop)

    monkeypatch.setattr(session, "fit", stopped)
    with pytest.raises(StoppedError, match="3-tier: interrupted"):
        run(experiment, setting)
    monkeypatch.setattr(session, "fit", train)
    parts, said = run(experiment, setting)
    assert said[0] == "test.table 2/2: 3-tier"
    for name, found in whole["rows"].items():
        assert bits(parts["rows"][name]) == bits(found)


def test_experiments_share_the_runs_of_their_rows(experiment, setting, tmp_path):
    first, _ = run(experiment, setting)
    folder = setting.run_folder(experiment.rows[1])
    before = shutil.copytree(folder, tmp_path / "before")
    other = replace(experiment, name="test.other", rows=experiment.rows[1:], splits=("test",))
    second, _ = run(other, setting)
    assert second["rows"]["3-tier"]["run"] == first["rows"]["3-tier"]["run"]
    assert second["rows"]["3-tier"]["steps"] == 6
    assert_same_bits(folder, before)


def test_results_of_other_settings_are_not_mixed(experiment, setting):
    run(replace(experiment, rows=experiment.rows[:1]), setting)
    with pytest.raises(SamplewiseError, match=r"other settings \(steps was 6, now 7\); choose"):
        run(replace(experiment, name="test.other"), replace(setting, budget=Budget(steps=7)))
    shutil.rmtree(setting.folder / "runs")
    with pytest.raises(
        SamplewiseError, match=r"holds results with another size \(paper, now small"
    ):
        run(experiment, replace(setting, size="small"))
    path = result_path(setting.folder, "test.table", "tones")
    for words in ("{", "[]"):
        path.write_text(words)
        with pytest.raises(SamplewiseError, match=r"tones.json is not a file of results"):
            run(experiment, setting)


def test_another_seed_is_another_run_and_its_figures_share_a_cell(experiment, setting):
    experiment = replace(experiment, rows=experiment.rows[:1])
    found = [run(experiment, replace(setting, seed=seed))[0] for seed in (0, 3)]
    figures = [one["rows"]["RNN (Eq. 2)"]["scores"]["test"]["bits_per_sample"] for one in found]
    assert figures[0] != figures[1]
    assert (setting.folder / "runs" / "tones-seed-3" / "rnn-eq-2").is_dir()
    text = write_rendered(setting.folder, experiment)[0].read_text()
    low, high = sorted(figures)
    assert f"| {sum(figures) / 2:.3f} [{low:.3f}, {high:.3f}] |" in text
    assert text.count("**tones**") == 1
    assert "seeds 0, 3" in text


def test_an_empty_split_is_told_before_training(experiment, setting, monkeypatch):
    whole = type(setting.corpus).split
    monkeypatch.setattr(
        type(setting.corpus),
        "split",
        lambda corpus, name: () if name == "test" else whole(corpus, name),
    )
    with pytest.raises(SamplewiseError, match="has none in test; prepare it again"):
        run(experiment, setting)
    assert not setting.run_folder(experiment.rows[0]).exists()


def test_who_speaks_must_be_known(experiment, setting):
    with pytest.raises(SamplewiseError, match="needs to know who speaks"):
        run(replace(experiment, kind="memory"), setting)


def test_a_memory_experiment_notes_result_and_check(experiment, setting, tmp_path):
    for extra, split in enumerate(("train", "valid", "test")):
        time = np.arange(6 * 4000 + extra) / 4000
        for name, pitch in (("low", 110), ("high", 220)):
            voice = sum(np.sin(2 * np.pi * k * pitch * time) / k for k in (1, 2, 3))
            (tmp_path / "voices" / split / name).mkdir(parents=True)
            path = tmp_path / "voices" / split / name / "a.wav"
            write_wav(path, (0.3 * voice).astype(np.float32), 4000)
    target = str(tmp_path / "two")
    prepare.main([str(tmp_path / "voices"), "-o", target, "--sample-rate", "4000", "--jobs", "1"])
    corpus = Corpus.open(tmp_path / "two")
    setting = replace(setting, corpus=corpus, speakers=speakers_by_folder(corpus), count=2)
    rows = (Row("3-tier", experiment.rows[1].config, {"two": 0.83}),)
    results, _ = run(replace(experiment, kind="memory", rows=rows), setting)
    found = results["rows"]["3-tier"]
    assert found["memory"]["plan"]["count"] == len(found["memory"]["clips"]) == 2
    after = found["memory_after_recordings"]
    assert [clip["opening"] for clip in after["clips"]] == ["high", "low"]
    assert after["plan"]["opening_s"] == 2.0
    assert found["check"]["wrong"]["count"] == 0
    memory = replace(experiment, kind="memory", rows=rows)
    table, *_ = write_rendered(setting.folder, memory)
    assert "3-tier, after 2 s of recordings: same speaker in " in table.read_text()


def test_one_row_can_be_run_alone(experiment, setting):
    only = only_row(experiment, "rnn-eq-2")
    assert only == only_row(experiment, "RNN (Eq. 2)")
    results, _ = run(only, setting)
    assert list(results["rows"]) == ["RNN (Eq. 2)"]
    results, said = run(experiment, setting)
    assert list(results["rows"]) == [row.name for row in experiment.rows]
    assert said[0] == "test.table 2/2: 3-tier"
    with pytest.raises(ValueError, match=r"no row of test.table; its rows: RNN \(Eq. 2\); 3-tier"):
        only_row(experiment, "4-tier")
    with pytest.raises(ValueError, match="one figure of all its rows"):
        only_row(replace(experiment, kind="figure"), "3-tier")


def test_a_figure_is_drawn(experiment, setting):
    run(replace(experiment, kind="figure", rows=experiment.rows[1:]), setting)
    picture = result_path(setting.folder, "test.table", "tones").with_suffix(".png")
    assert picture.read_bytes().startswith(b"\x89PNG")
