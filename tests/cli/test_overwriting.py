"""Commands that write a file or a folder spare what is not theirs, and keep what was computed."""

import json

import numpy as np
import pytest
import soundfile
from tests.cli.conftest import RATE

from samplewise.cli.main import main
from samplewise.models.io import load_model


@pytest.mark.parametrize(
    "line",
    [
        "export RUN FILE",
        "generate RUN --seconds 0.01 --stream FILE",
        "vocode VOCODER SOUND -o FILE",
        "vocode VOCODER SOUND --stream FILE",
        "vocode VOCODER SOUND -o FOLDER",
        "bench generate --preset tiny --dim 8 --runs 1 --batch 1 --weights f16 -o JSON",
    ],
)
def test_a_file_of_somebody_else_stays_unless_force_is_given(
    line, run_folder, vocoder, recordings, tmp_path, capsys
):
    sound = recordings / "tone 0.wav"
    places = {"RUN": run_folder, "VOCODER": vocoder, "SOUND": sound}
    target = tmp_path / (
        "tone 0.wav" if "FOLDER" in line else "mine.json" if "JSON" in line else "a.wav"
    )
    places |= {"FILE": target, "JSON": target, "FOLDER": tmp_path}
    words = [str(places.get(word, word)) for word in line.split()]
    target.write_text("mine")
    assert main(words) == 1
    assert str(target if "FOLDER" not in line else tmp_path) in capsys.readouterr().err
    assert target.read_text() == "mine"
    assert main([*words, "--force"]) == 0
    assert target.read_bytes() != b"mine"
    if "export" in line or "FOLDER" in line or "JSON" in line:
        assert main(words) == 0  # it is ours now


def test_any_checkpoint_can_be_heard_scored_and_exported(run_folder, tmp_path, capsys):
    options = ["--step", "4"]
    one = ["--count", "1", "--seconds", "0.01", "--seed", "1", "--json"]
    assert main(["generate", str(run_folder), *one, *options]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["step"] == 4
    assert made["folder"] == str(run_folder / "generated-step-4")
    assert main(["evaluate", str(run_folder), "--no-baselines", *options]) == 0
    assert (run_folder / "evaluation-step-4.json").is_file()
    assert main(["export", str(run_folder), str(tmp_path / "a.safetensors"), *options]) == 0
    assert load_model(tmp_path / "a.safetensors").provenance["step"] == 4
    assert main(["export", str(run_folder), str(tmp_path / "b.safetensors"), "--step", "3"]) == 1
    assert "has no checkpoint of step 3; it has: 4 (--step)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", ["export RUN CONFIG --force", "generate RUN --stream CONFIG --force"]
)
def test_a_run_is_not_destroyed(line, run_folder, capsys):
    config = run_folder / "config.json"
    before = config.read_bytes()
    places = {"RUN": run_folder, "CONFIG": config}
    assert main([*[str(places.get(word, word)) for word in line.split()], "--force"]) == 1
    assert "is part of" in capsys.readouterr().err
    assert config.read_bytes() == before


def test_a_figure_that_cannot_be_stored_is_shown(run_folder, capsys):
    (run_folder / "evaluation.json").unlink(missing_ok=True)
    (run_folder / "evaluation.json").mkdir()
    try:
        assert main(["evaluate", str(run_folder), "--no-baselines"]) == 1
    finally:
        (run_folder / "evaluation.json").rmdir()
    out, err = capsys.readouterr()
    assert "bits per sample on the test split" in out
    assert f"error: cannot write {run_folder / 'evaluation.json'}: " in err


@pytest.mark.parametrize("command", ["generate", "vocode"])
def test_a_damaged_prompt_or_input_is_named(command, run_folder, vocoder, tmp_path, capsys):
    path = tmp_path / "cut.wav"
    soundfile.write(path, np.sin(np.arange(2 * RATE) / 9) / 2, RATE, "PCM_16")
    path.write_bytes(path.read_bytes()[:-RATE])
    if command == "generate":
        words = [run_folder, "--prompt", path, "--count", 1, "--seconds", 0.01]
    else:
        words = [vocoder, path]
    assert main([command, *map(str, words), "-o", str(tmp_path / "new")]) == 0
    assert f"{path}: cut short: the header claims" in capsys.readouterr().err
