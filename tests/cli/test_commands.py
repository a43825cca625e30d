"""The commands one after the other, as a user gives them."""

import json
import os
import shutil
from functools import partial

import numpy as np
import pytest
import soundfile
from tests.cli.conftest import RATE, SMALL

from samplewise.api import load
from samplewise.atomic_io import lock
from samplewise.cli.main import main
from samplewise.config.codec import to_json
from samplewise.data.corpus import Corpus
from samplewise.data.tiles import training_level, training_noise
from samplewise.generate.artifacts import find_artifacts
from samplewise.generate.clips import noise_of_recordings
from samplewise.generate.retries import retry_seed
from samplewise.training.checkpoint import load_latest


@pytest.fixture
def command(capsys):
    def run(*words):
        capsys.readouterr()
        assert main([str(word) for word in words]) == 0
        return capsys.readouterr().out

    return run


def test_a_run_holds_what_the_documentation_says(run_folder):
    assert {path.name for path in run_folder.iterdir()} >= {
        *("config.json", "weights.safetensors", "state", "metrics.jsonl", "previews"),
        *("report.html", "tensorboard"),
    }
    budget = json.loads((run_folder / "config.json").read_text())["train"]["budget"]
    assert (budget["steps"], budget["minutes"]) == (
        4,
        None,
    )  # --steps replaces the preset's minutes
    events = list(map(json.loads, (run_folder / "metrics.jsonl").read_text().splitlines()))
    assert {event["event"] for event in events} == {"train", "valid"}
    previews = [path.suffix for path in (run_folder / "previews").rglob("*.*")]
    assert set(previews) == {".wav", ".png"}
    assert len(list((run_folder / "tensorboard").iterdir())) == 1


def test_training_again_goes_on_and_says_so(run_folder, corpus, tmp_path, command):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    options = ["--minutes", "None", "--preview-seconds", "0.1"]
    out = command("train", corpus, "-o", folder, *SMALL, *options, "--steps", 6)
    assert "going on from step 4" in out
    assert "stopped at step 6: 6 steps made" in out
    out = command("train", corpus, "-o", folder, *SMALL, *options, "--steps", 1, "--fresh")
    assert "going on" not in out
    assert "stopped at step 1: 1 step made" in out


def test_training_on_samples_that_are_cut_short_ends_with_a_message_and_keeps_checkpoints(
    run_folder, corpus, tmp_path, capsys, monkeypatch
):
    folder, place = (shutil.copytree(p, tmp_path / p.name) for p in (run_folder, corpus))
    words = ["train", place, "-o", folder, *SMALL, "--minutes", "None", "--preview-seconds", "0.1"]
    monkeypatch.setattr("samplewise.training.run.load_latest", partial(cut_short, place))
    assert main([*map(str, words), "--steps", "6"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "samples.npy was cut short after it was opened" in line
    found = load_latest(folder / "state")
    assert found is not None
    assert found[1]["progress"]["step"] == 4


def cut_short(place, state):
    os.truncate(place / "samples.npy", 1000)
    return load_latest(state)


def test_training_warns_of_a_silent_validation_split(recordings, tmp_path, command):
    for split, wave in (("train", "0"), ("test", "1"), ("valid", None)):
        (tmp_path / "in" / split).mkdir(parents=True)
        if wave:
            shutil.copy(recordings / f"tone {wave}.wav", tmp_path / "in" / split)
    soundfile.write(tmp_path / "in" / "valid" / "a.wav", np.zeros(RATE), RATE)
    command("prepare", tmp_path / "in", "-o", tmp_path / "c", "--sample-rate", RATE)
    options = ["--minutes", "None", "--steps", "1", "--preview-minutes", "0"]
    out = command("train", tmp_path / "c", "-o", tmp_path / "run", *SMALL, *options)
    assert "warning: the validation split is silence instead of 6%" in out


def test_training_stops_when_validation_no_longer_improves(corpus, tmp_path, command):
    # A step so small that nothing changes: the second validation is no better than the first.
    options = ["--learning-rate", "1e-30", "--valid-every", 1, "--patience", 2, "--ema", 0]
    out = command("train", corpus, "-o", tmp_path, *SMALL, *options, "--preview-minutes", 0)
    assert "stopped at step 3: no better validation in 2" in out


def test_a_run_killed_before_its_first_file_can_begin_again(corpus, tmp_path, command):
    for fresh in ([], ["--fresh"]):
        (tmp_path / ".tmp-abcd_123").write_text("half")
        command(
            "train", corpus, "-o", tmp_path, *SMALL, "--steps", 1, "--preview-minutes", 0, *fresh
        )
        assert not list(tmp_path.glob(".tmp-*"))


@pytest.mark.parametrize("name", ["generate", "vocode"])
def test_two_processes_do_not_write_clips_into_one_folder(
    run_folder, vocoder, recordings, tmp_path, capsys, name
):
    inputs = [recordings / "tone 0.wav"] if name == "vocode" else ["--seconds", "0.01"]
    model = vocoder if name == "vocode" else run_folder
    with lock(tmp_path, "generate"):
        assert main([name, *map(str, [model, *inputs, "-o", tmp_path])]) == 1
    assert f"another generate (process {os.getpid()} on " in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_two_trainings_into_one_folder_are_refused(corpus, tmp_path, capsys):
    with lock(tmp_path / "run", "training"):
        assert main(["train", str(corpus), "-o", str(tmp_path / "run"), *SMALL]) == 1
    assert f"another training (process {os.getpid()} on " in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_a_file_for_programs_in_c_is_written_beside_no_other_flags(
    run_folder, tmp_path, command, capsys
):
    file = tmp_path / "mine.engine"
    assert f"{RATE} Hz" in command("export", run_folder, file, "--engine")
    assert file.read_bytes().startswith(b"samplewise engine 1\nsample_rate %d\n" % RATE)
    command("export", run_folder, file, "--engine")  # over its own kind
    assert main(["export", str(run_folder), str(file)]) == 1
    for flag in (["--half"], ["--temperature", "0.9"], ["--starts", "0"], ["--name", "mine"]):
        assert main(["export", str(run_folder), str(file), "--engine", *flag]) == 1
        assert f"leave {flag[0]} out" in capsys.readouterr().err


def test_an_exported_file_is_the_model(run_folder, corpus, tmp_path, command):
    file = tmp_path / "mine.safetensors"
    assert f"{RATE} Hz" in command("export", run_folder, file)
    settings = ["--seconds", 0.02, "--count", 2, "--seed", 5, "--threads", 1]
    for model, folder in ((run_folder, "a"), (file, "b")):
        command("generate", model, "-o", tmp_path / folder, *settings)
    for name in ("clip-0000.wav", "clip-0001.wav"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    bits = [
        json.loads(command("evaluate", model, "--corpus", corpus, "--json"))["bits_per_sample"]
        for model in (run_folder, file)
    ]
    assert bits[0] == bits[1]


def test_a_model_knows_the_noise_and_the_level_of_its_recordings(
    run_folder, corpus, tmp_path, command
):
    file = tmp_path / "mine.safetensors"
    command("export", run_folder, file)
    expected = training_noise(Corpus.open(corpus), "keep")
    level = training_level(Corpus.open(corpus), "keep")
    assert expected is not None
    assert level is not None
    for model in (load(run_folder), load(run_folder, step=4), load(file)):
        assert noise_of_recordings(model.loaded) == expected
        assert model.loaded.provenance["level"] == to_json(level)
    [clip] = load(file, threads=1).generate(seconds=1.0, seed=1)
    found = find_artifacts(clip.samples, RATE, recordings=expected)
    assert dict(zip(clip.flags, clip.flag_reasons, strict=True)) == found


def test_a_flagged_clip_is_drawn_again_with_a_seed_that_reproduces_it(
    run_folder, tmp_path, command, monkeypatch
):
    settings = ["--seconds", 0.1, "--threads", 1]
    found = iter([{"noise": "loud"}, {}, {}, {}] * 2)
    monkeypatch.setattr("samplewise.generate.clips.find_artifacts", lambda *_: next(found, {}))
    words = ["generate", run_folder, "--seed", 3, "--count", 2, *settings]
    made = json.loads(command(*words, "--retry-flagged", 2, "--json", "-o", tmp_path / "a"))
    first, second = sorted(made["clips"], key=lambda clip: clip["index"])
    assert made["retry_flagged"] == 2
    assert (first["seed"], first["retries"], first["flags"]) == (retry_seed(3, 1), 1, [])
    assert not {"seed", "retries"} & set(second)
    command(
        "generate",
        run_folder,
        "--seed",
        first["seed"],
        *settings,
        "-o",
        tmp_path / "b",
        "--index",
        0,
    )
    name = "clip-0000.wav"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert f"{name}: retries 1, seed {first['seed']}" in command(
        *words, "--retry-flagged", 2, "--index", 0, "-o", tmp_path / "a"
    )


def test_a_loop_is_the_clip_without_what_its_join_cost(run_folder, tmp_path, command):
    words = ["generate", run_folder, "--seed", 3, "--count", 1, "--seconds", 0.5, "--json"]
    [looped] = json.loads(command(*words, "--loop", "-o", tmp_path / "a"))["clips"]
    [clip] = json.loads(command(*words, "-o", tmp_path / "b"))["clips"]
    loop, whole = (soundfile.read(tmp_path / part / "clip-0000.wav")[0] for part in "ab")
    assert looped["seconds"] == len(loop) / RATE < clip["seconds"] == 0.5
    start, fade = round(looped["loop"]["start"] * RATE), round(0.125 * len(whole))
    np.testing.assert_array_equal(loop[fade:], whole[start + fade : start + len(loop)])
    assert looped["bits_per_sample"] == clip["bits_per_sample"]


def test_a_stream_is_neither_looped_nor_drawn_again(run_folder, capsys):
    for word in (["--loop"], ["--retry-flagged", "1"]):
        assert main(["generate", str(run_folder), "--stream", "-", *word]) == 1
        assert "leave out --retry-flagged and --loop" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["nowhere"], ["RUN", "--prompt", "no.wav"], ["RUN", "--seconds", "0"]]
)
def test_a_stream_that_cannot_start_leaves_the_file_alone(run_folder, tmp_path, words):
    file = tmp_path / "keep.wav"
    file.write_bytes(b"precious")
    words = [str(run_folder) if word == "RUN" else word for word in words]
    assert main(["generate", *words, "--stream", str(file)]) == 1
    assert file.read_bytes() == b"precious"
