import json

import pytest

from samplewise.cli.main import main

OPTIONS = ["--sound", "--count", "2", "--seconds", "1.25", "--seed", "3"]


@pytest.fixture(scope="module")
def measured(run_folder):
    assert main(["evaluate", str(run_folder), *OPTIONS]) == 0
    return json.loads((run_folder / "sound.json").read_text())


def test_the_sound_of_a_run_is_measured_and_kept(run_folder, measured, capsys):
    assert main(["evaluate", str(run_folder), *OPTIONS, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == measured
    assert (measured["count"], measured["seconds"], measured["recordings"]) == (2, 1.25, 2)
    assert main(["evaluate", str(run_folder), *OPTIONS]) == 0
    shown = capsys.readouterr().out
    assert f"log-mel distance {measured['log_mel_distance']['value']:.3f} [" in shown
    assert "of 2 clips of 1.25 s to 2 test recordings of that length" in shown
    assert f"white noise {measured['references']['white noise']:.3f}" in shown
    assert "onsets per second" in shown
    named = ", ".join(f"{name} {count}" for name, count in measured["flags"].items())
    assert f"flagged 2 of 2: {named}" in shown


def test_the_entropy_is_shown_beside_the_test_bits(run_folder, measured, capsys):
    assert main(["evaluate", str(run_folder), "--no-baselines"]) == 0
    bits = json.loads((run_folder / "evaluation.json").read_text())["bits_per_sample"]
    assert main(["evaluate", str(run_folder), *OPTIONS]) == 0
    assert f"bits; the test recordings: {bits:.3f}" in capsys.readouterr().out


def test_a_folder_of_the_same_clips_has_the_same_figures(
    run_folder, corpus, tmp_path, measured, capsys
):
    clips = ["--count", "2", "--seconds", "1.25", "--seed", "3", "-o", str(tmp_path)]
    assert main(["generate", str(run_folder), *clips]) == 0
    capsys.readouterr()
    judged = ["evaluate", "--sound", "--clips", str(tmp_path), "--corpus", str(corpus), "--json"]
    assert main(judged) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["drawn_bits"] == measured["drawn_bits"]  # from generation.json
    assert found["flags"] == measured["flags"]
    assert found["references"] == measured["references"]
    distances = found["log_mel_distance"]["value"], measured["log_mel_distance"]["value"]
    assert distances[0] == pytest.approx(distances[1], abs=1e-3)  # 16 bits


def test_every_checkpoint_is_measured_and_the_closest_named(run_folder, capsys):
    steps = sorted(int(path.name[5:]) for path in (run_folder / "state").glob("step-*"))
    assert main(["evaluate", str(run_folder), *OPTIONS, "--split", "valid", "--step", "all"]) == 0
    head, names, *lines, empty, closest = capsys.readouterr().out.splitlines()
    assert "2 validation recordings of that length" in head
    assert (names.split()[:2], empty) == (["step", "distance"], "")
    distances = {}
    for step, line in zip(steps, lines, strict=True):
        score = json.loads((run_folder / f"sound-step-{step}.json").read_text())
        distances[step] = score["log_mel_distance"]["value"]
        assert line.split()[:2] == [str(step), f"{distances[step]:.3f}"]
        assert score["split"] == "valid"
    best = min(distances, key=distances.__getitem__)
    assert closest == f"the closest: samplewise generate {run_folder} --step {best}"


def test_clips_are_compared_with_the_split_that_is_named(run_folder, measured, capsys):
    assert main(["evaluate", str(run_folder), *OPTIONS, "--split", "valid", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["split"], measured["split"]) == ("valid", "test")
    assert found["descriptors"]["level_db"]["clips"] == measured["descriptors"]["level_db"]["clips"]
    assert found["log_mel_distance"] != measured["log_mel_distance"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--sound", "name a run folder or a model file; or a folder of clips with --clips"),
        ("--clips FOLDER --sound", "--clips FOLDER goes with --sound and --corpus"),
        ("--clips FOLDER --corpus CORPUS", "--clips FOLDER goes with --sound and --corpus"),
        ("RUN --clips FOLDER --corpus CORPUS --sound", "and without a model"),
        ("RUN --sound --seconds 0.5", "seconds = 0.5 must be at least 1.02"),
        ("RUN --sound --count 0", "count = 0 must be at least 1"),
        ("RUN --sound --step all --count 0", "count = 0 must be at least 1"),
        ("RUN --step all", "--step all goes with --sound"),
        ("FOLDER --sound --step all", "has no checkpoints; --step all needs a run folder"),
    ],
)
def test_what_is_missing_is_named(run_folder, corpus, tmp_path, capsys, words, message):
    places = {"RUN": run_folder, "CORPUS": corpus, "FOLDER": tmp_path}
    assert main(["evaluate", *(str(places.get(word, word)) for word in words.split())]) == 1
    assert message in capsys.readouterr().err
