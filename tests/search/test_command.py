"""`samplewise search` as a user gives it."""

import importlib.util
import json
import shlex

import pytest

from samplewise.cli.main import main
from samplewise.config.codec import differences, from_json
from samplewise.config.training import TrainConfig
from samplewise.training.run import read_config

SMALL = ["--preset", "small", "--steps", "2", "--device", "cpu", "--threads", "1"]
FIXED = {
    "model.frame_sizes": "[4,16]",
    "model.emb_size": "4",
    "seq_len": "32",
    "valid_seconds": "0.05",
    "lanes": "2",
}
for name, value in FIXED.items():
    SMALL += ["--fix", f"{name}={value}"]
SMALL += ["--range", "model.dim=4:8", "--choices", "model.n_rnn=1,2"]


@pytest.fixture
def command(corpus, capsys):
    def run(*words, code=0):
        capsys.readouterr()
        assert main([str(word) for word in words]) == code
        return capsys.readouterr()

    return run


def test_a_search_ends_with_a_table_a_picture_and_a_command_that_works(
    corpus, tmp_path, command, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    ask = ["search", corpus.folder, "-o", "mine", "--trials", "3", *SMALL]
    said = command(*ask).out
    found = json.loads((tmp_path / "mine" / "search.json").read_text())
    assert found["counts"] == {"complete": 3}
    best = found["trials"][found["best"]]
    assert f"{best['bits']:.3f}" in said
    assert (tmp_path / "mine" / "search.png").read_bytes().startswith(b"\x89PNG")
    assert found["command"] in said
    words = shlex.split(found["command"])
    assert words[:2] == ["samplewise", "train"]
    command(*words[1:], "--preview-minutes", "0", "--threads", "1")
    trained, tried = (
        from_json(TrainConfig, read_config(tmp_path / "mine" / name / "config.json")["train"], name)
        for name in ("best", best["folder"])
    )
    assert differences(trained, tried).keys() - {"threads"} == {"steps", "valid_every", "device"}
    assert (tried.budget.steps, trained.budget.steps) == (2, 20)
    folder = tmp_path / "mine" / best["folder"]
    evaluated = json.loads(command("evaluate", folder, "--split", "valid", "--json").out)
    assert evaluated["bits_per_sample"] > 0
    again = command(*ask).out  # nothing is left to do
    assert again.strip() == said[said.index("3 trials:") :].strip()


def test_with_a_constant_rate_the_command_goes_on_with_the_best_run(corpus, tmp_path, command):
    options = [*SMALL, "--fix", "schedule=constant", "--trials", "1", "--json"]
    found = json.loads(command("search", corpus.folder, "-o", tmp_path / "mine", *options).out)
    said = command(*shlex.split(found["command"])[1:], "--preview-minutes", "0").out
    assert "going on from step 2" in said
    assert "stopped at step 20" in said


def test_the_space_is_shown_without_a_corpus(command):
    said = command("search", "--space", "--fix", "model.dim=64").out
    assert "learning_rate" in said
    assert "64  (fixed)" in said
    assert "(if model.n_rnn is 2 or 3 or 4 or 5)" in said


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["-o", "mine"], 2, "the CORPUS is missing"),
        (["CORPUS"], 2, "-o FOLDER is missing"),
        (["CORPUS", "-o", "mine", "--preset", "musik"], 1, "there is no preset 'musik'; presets:"),
        (["CORPUS", "-o", "mine", "--fix", "model.dimm=3"], 1, "did you mean 'model.dim'?"),
        (["CORPUS", "-o", "mine", "--trials", "0"], 1, "trials = 0 must be at least 1"),
        (["CORPUS", "-o", "mine", "--workers", "0"], 1, "workers = 0 must be at least 1"),
        (["CORPUS", "-o", "mine", "--seed", "-1"], 1, "seed = -1 must lie in [0, 2**63)"),
        (["CORPUS", "-o", "mine", "--minutes", "1", "--steps", "2"], 1, "a trial has one budget"),
        (["CORPUS", "-o", "mine", "--steps", "0"], 1, "steps = 0 must be positive"),
        (["CORPUS", "-o", "mine", "--device", "tpu"], 1, "device = 'tpu' must be auto, cpu, cuda"),
        (["CORPUS", "-o", "mine", "--storage", "x"], 1, "storage is no URL of a database"),
        (["nowhere", "-o", "mine"], 1, "nowhere holds no corpus"),
    ],
)
def test_a_mistake_is_one_line(corpus, tmp_path, command, monkeypatch, words, code, message):
    monkeypatch.chdir(tmp_path)
    words = [str(corpus.folder) if word == "CORPUS" else word for word in words]
    error = command("search", *words, code=code).err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_without_optuna_there_is_one_line(corpus, tmp_path, command, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    error = command("search", corpus.folder, "-o", tmp_path / "mine", code=1).err
    assert error == "error: samplewise search needs: pip install 'samplewise[search]'\n"


def test_another_search_in_the_folder_is_refused(corpus, tmp_path, command):
    ask = ["search", corpus.folder, "-o", tmp_path / "mine", "--trials", "1", *SMALL]
    command(*ask)
    error = command(*ask, "--fix", "ema=0", code=1).err
    assert "holds a search with other settings (" in error
    assert "fixed ema was absent, now 0" in error
