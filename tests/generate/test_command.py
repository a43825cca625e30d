"""The command line, end to end."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from tests.generate.conftest import RATE

from samplewise.cli.generate import main
from samplewise.errors import SamplewiseError
from samplewise.generate import clip_folder
from samplewise.generate.artifacts import find_artifacts
from samplewise.generate.clip_folder import ClipFolder, default_folder
from samplewise.generate.clips import Clip

COMMAND = [sys.executable, "-m", "samplewise.cli.main", "generate"]


def generate(*words):
    assert main([*map(str, words), "--threads", "1"]) == 0


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def read(folder):
    return json.loads((folder / "generation.json").read_text())


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        ("reference", "reference back end on cpu, 1 thread"),
        ("graphed", "graphed back end on cpu, 1 thread"),
        ("native", "native back end (int8), up to 1 thread"),
    ],
)
def test_clips_are_ranked_named_and_at_the_rate_of_the_model(model_file, capsys, backend, words):
    options = [
        "--count",
        3,
        "--seconds",
        0.1,
        "--seed",
        7,
        "--temperature",
        "0:0.8,1:1",
        "--min-p",
        0.01,
    ]
    generate(model_file, "--backend", backend, *options)
    folder = default_folder(model_file)
    said = read(folder)
    assert said["backend"] == backend
    assert (said["seed"], said["temperature"], said["prompt"]) == (7, "0.0:0.8,1.0:1.0", None)
    assert (said["sample_rate"], said["min_p"]) == (RATE, 0.01)
    assert [clip["file"] for clip in said["clips"]] == [f"clip-000{i}.wav" for i in range(3)]
    for clip in said["clips"]:
        wave, rate = soundfile.read(folder / clip["file"])
        assert (len(wave), rate, clip["seconds"]) == (400, RATE, 0.1)
        assert soundfile.info(folder / clip["file"]).subtype == "PCM_16"
        assert clip["flags"] == list(find_artifacts(wave, rate))
    by_rank = sorted(said["clips"], key=lambda clip: clip["rank"])
    keys = [(bool(clip["flags"]), clip["bits_per_sample"]) for clip in by_rank]
    assert keys == sorted(keys)
    out, err = capsys.readouterr()
    assert [line.split()[1] for line in out.splitlines()[1:4]] == [c["file"] for c in by_rank]
    assert words in err
    assert "times real time" in err


def test_the_same_arguments_make_the_same_files_and_a_clip_can_be_made_alone(model_file, tmp_path):
    options = [model_file, "-o", tmp_path / "takes", "--seconds", 0.01, "--seed", 3]
    generate(*options, "--count", 6)
    first = contents(tmp_path / "takes")
    generate(*options, "--count", 6)
    assert contents(tmp_path / "takes") == first
    (tmp_path / "takes" / "clip-0004.wav").unlink()
    generate(*options, "--index", 4)
    assert contents(tmp_path / "takes") == first
    generate(*options, "--index", 6, "--count", 2)
    assert len(read(tmp_path / "takes")["clips"]) == 8


def test_an_interrupted_generation_goes_on_where_it_was(model_file, tmp_path, monkeypatch, capsys):
    options = [model_file, "--count", 7, "--seconds", 0.1, "--batch", 2, "--temperature", 0.9]
    generate(*options, "--seed", 3, "-o", tmp_path / "whole")
    with monkeypatch.context() as patch:
        own_add = ClipFolder.add

        def interrupted(self, clip):
            if clip.index == 3:
                raise KeyboardInterrupt
            own_add(self, clip)

        patch.setattr(ClipFolder, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            generate(*options, "--seed", 3, "-o", tmp_path / "parts")
    (tmp_path / "parts" / "clip-0001.wav").unlink()
    drawn, own_add = [], ClipFolder.add
    monkeypatch.setattr(
        ClipFolder, "add", lambda self, clip: drawn.append(clip.index) or own_add(self, clip)
    )
    generate(*options, "--resume", "-o", tmp_path / "parts")
    assert drawn == [1, 3, 4, 5, 6]
    assert "seed 3 ·" in (said := capsys.readouterr().err)
    assert "2 of 7 clips are there" in said
    whole, parts = contents(tmp_path / "whole"), contents(tmp_path / "parts")
    for files in (whole, parts):
        files["generation.json"] = json.loads(files["generation.json"])
        del files["generation.json"]["command"]
    assert parts == whole
    generate(*options, "--resume", "-o", tmp_path / "parts")
    assert len(drawn) == 5
    with pytest.raises(SamplewiseError, match=r"temperature was 0.9, now 0.8"):
        generate(*options[:-1], 0.8, "--resume", "-o", tmp_path / "parts")


@pytest.mark.parametrize("loop", [(), ("--loop",)])
def test_clips_are_the_same_however_the_indices_are_split(model_file, tmp_path, loop):
    options = [model_file, "--seconds", 0.3, "--seed", 3, *loop]
    generate(*options, "--count", 5, "--batch", 4, "-o", tmp_path / "whole")
    parts = {}
    for first, count in ((0, 2), (2, 1), (3, 2)):
        part = tmp_path / f"part-{first}"
        generate(*options, "--index", first, "--count", count, "--resume", "-o", part)
        parts |= contents(part)
    whole = contents(tmp_path / "whole")
    assert parts.keys() == whole.keys()
    assert all(parts[name] == whole[name] for name in whole if name.endswith(".wav"))


def test_the_index_of_many_clips_is_not_written_after_each(tmp_path, monkeypatch):
    monkeypatch.setattr(clip_folder, "FEW", 4)
    monkeypatch.setattr(clip_folder, "SHARE", 0.5)
    folder, named = ClipFolder(tmp_path, {"sample_rate": RATE}), []
    for index in range(12):
        wave = np.zeros(10, np.float32)
        folder.add(Clip(index, 0, wave, RATE, np.zeros(10, np.int64), -1.0))
        named.append(len(read(tmp_path)["clips"]))
    assert named == [1, 2, 3, 4, 4, 4, 4, 8, 8, 8, 8, 8]
    folder.close()
    assert len(read(tmp_path)["clips"]) == 12


def test_the_recorded_command_regenerates_the_clips(model_file, tmp_path):
    generate(model_file, "-o", tmp_path / "takes", "--seconds", 0.01, "--count", 2)
    first = contents(tmp_path / "takes")
    name, command, *arguments = read(tmp_path / "takes")["command"]
    assert (name, command) == ("samplewise", "generate")
    assert main(arguments) == 0
    again = contents(tmp_path / "takes")
    assert [again[f"clip-000{i}.wav"] for i in range(2)] == [
        first[f"clip-000{i}.wav"] for i in range(2)
    ]


def test_the_likeliest_comes_first_but_flagged_clips_come_last(tmp_path):
    folder = ClipFolder.open(tmp_path, {"sample_rate": RATE})
    for index, (nats, flags) in enumerate([(30.0, ()), (1.0, ("silence",)), (20.0, ())]):
        wave = np.zeros(10, np.float32)
        folder.add(Clip(index, 0, wave, RATE, np.zeros(10, np.int64), -nats, flags))
    assert [entry["index"] for entry in folder.ranked()] == [2, 0, 1]
    assert [clip["rank"] for clip in read(tmp_path)["clips"]] == [2, 3, 1]


def test_two_generations_are_never_mixed(model_file, tmp_path, capsys):
    folder = tmp_path / "takes"
    generate(model_file, "-o", folder, "--seconds", 0.01, "--seed", 1, "--count", 5)
    generate(model_file, "-o", folder, "--seconds", 0.01, "--seed", 2, "--index", 1)
    assert set(contents(folder)) == {"clip-0001.wav", "generation.json"}
    assert "5 clips of an earlier generation will be replaced" in capsys.readouterr().err


def test_a_generation_stays_until_the_first_clip_of_the_next(model_file, tmp_path, monkeypatch):
    options = [model_file, "-o", tmp_path / "takes", "--seconds", 0.01, "--count", 2]
    generate(*options)
    before = contents(tmp_path / "takes")
    monkeypatch.setattr("samplewise.generate.clips.find_artifacts", interrupt)
    with pytest.raises(KeyboardInterrupt):
        generate(*options)
    assert contents(tmp_path / "takes") == before


def interrupt(*_):
    raise KeyboardInterrupt


def test_a_folder_of_other_things_is_refused_and_untouched(model_file, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "clip-0001.wav").write_text("precious")
    with pytest.raises(SamplewiseError, match=r"holds 'clip-0001.wav' and no generation.json"):
        main([str(model_file), "-o", str(tmp_path / "mine")])
    assert contents(tmp_path / "mine") == {"clip-0001.wav": b"precious"}


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"clips": [{}]}', '{"clips": 3}'])
def test_a_damaged_index_counts_as_another_generation(tmp_path, damage):
    (tmp_path / "generation.json").write_text(damage)
    (tmp_path / "clip-0009.wav").touch()
    folder = ClipFolder.open(tmp_path, {"seed": 1}, add=True)
    assert (folder.entries, folder.stale) == ({}, ("clip-0009.wav",))


def test_a_prompt_is_converted_with_a_notice_and_kept_or_cut(model_file, tmp_path, capsys):
    wave = np.stack([np.sin(np.arange(3000) / 20), np.zeros(3000)], 1) * 0.9
    soundfile.write(tmp_path / "riff.wav", wave, 8000)
    options = [model_file, "--count", 1, "--seconds", 0.02, "--seed", 3, "--prompt"]
    generate(*options, tmp_path / "riff.wav", "-o", tmp_path / "kept")
    err = capsys.readouterr().err
    assert "riff.wav: resampled from 8000 Hz to 4000 Hz" in err
    assert "riff.wav: its 2 channels are averaged to one" in err
    generate(*options, tmp_path / "riff.wav", "--cut-prompt", "-o", tmp_path / "cut")
    kept, cut = (soundfile.read(tmp_path / name / "clip-0000.wav")[0] for name in ("kept", "cut"))
    assert len(kept) == 1500 + 80
    assert np.array_equal(kept[1500:], cut)
    heard = np.sin(np.arange(1500) / 10) * 0.45 * 1.1
    assert np.abs(kept[100:1400] - heard[100:1400]).max() < 0.02
    assert read(tmp_path / "kept")["clips"][0]["seconds"] == 0.02
    soundfile.write(tmp_path / "loud.wav", np.sin(np.arange(800) / 10), RATE)
    generate(*options, tmp_path / "loud.wav", "-o", tmp_path / "loud")
    assert "loud.wav: 0.9 dB softer than in the corpus, where it would clip" in (
        capsys.readouterr().err
    )


def test_json_is_what_was_made(model_file, capsys):
    generate(model_file, "--count", 2, "--seconds", 0.01, "--json")
    report = json.loads(capsys.readouterr().out)
    assert (report["backend"], report["weights"]) == ("native", "int8")
    assert report["samples_per_s"] > 0
    assert sorted(clip["index"] for clip in report["clips"]) == [0, 1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--temperature", "0:1,x"], "'x' is not SECONDS:TEMPERATURE"),
        (["--min-p", "1"], r"min_p = 1.0 must lie in \[0, 1\)"),
        (["--count", "0"], "count = 0 must be at least 1"),
        (["--seconds", "0"], "seconds = 0 must be at least one sample"),
        (["--seed", "-1"], r"seed = -1 must lie in \[0, 2\*\*64\)"),
        (["--index", "-1"], r"index = -1 must lie in \[0, 2\*\*64\)"),
        (["--threads", "0"], "threads = 0 must be at least 1"),
        (["--device", "abacus"], "device = 'abacus' must be auto, cpu"),
    ],
)
def test_nonsense_is_refused_before_anything_is_written(model_file, words, message):
    with pytest.raises(ValueError, match=message):
        main([str(model_file), *words])
    assert not default_folder(model_file).exists()


def stream(model_file, *words):
    command = [*COMMAND, str(model_file), "--seed", "3", "--threads", "1", *map(str, words)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell that runs the tests in the background lets its children ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def test_a_stream_is_clip_0_and_a_closed_pipe_ends_it_quietly(model_file, tmp_path):
    generate(model_file, "--count", 2, "--seconds", 0.1, "--seed", 3, "-o", tmp_path / "takes")
    with stream(model_file, "--stream", "-") as process:
        sound = process.stdout.read(800)
        process.stdout.close()
        errors = process.stderr.read().decode()
        assert process.wait(timeout=60) == 0
    assert (tmp_path / "takes" / "clip-0000.wav").read_bytes()[44:] == sound
    assert "Traceback" not in errors
    assert "error" not in errors
    assert "seed 3 · raw 16-bit little-endian PCM, mono, 4000 Hz" in errors


def test_ctrl_c_ends_a_stream_quietly(model_file):
    with stream(model_file, "--stream", "-", "--stream-format", "wav") as process:
        header = process.stdout.read(44)
        assert (header[:4], header[4:8], header[40:44]) == (b"RIFF", b"\xff" * 4, b"\xff" * 4)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0
    assert "Traceback" not in errors.decode()


def test_a_stream_to_a_file_is_a_whole_wav_file(model_file, tmp_path):
    options = ["--seed", 3, "--seconds", 0.02, "--temperature", 1]
    generate(model_file, *options, "--count", 1, "-o", tmp_path / "takes")
    generate(model_file, *options, "--stream", tmp_path / "take.wav")
    assert (tmp_path / "take.wav").read_bytes() == (
        tmp_path / "takes" / "clip-0000.wav"
    ).read_bytes()


@pytest.mark.parametrize("words", [["--count", "2"], ["-o", "takes"], ["--json"]])
def test_a_stream_is_one_clip(model_file, tmp_path, words):
    with pytest.raises(ValueError, match="a stream is one clip"):
        main([str(model_file), "--stream", str(tmp_path / "sound"), *words])
    assert not (tmp_path / "sound").exists()


def test_help_does_not_load_torch():
    code = (
        "import sys; from samplewise.cli.generate import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "assert 'torch' not in sys.modules"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert b"--temperature" in shown.stdout
