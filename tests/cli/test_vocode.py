"""`samplewise vocode`: a vocoder from the first step to the page that compares it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.cli.conftest import RATE

from samplewise.cli.main import main
from samplewise.data.corpus import Corpus
from samplewise.models.io import load_model

COMMAND = [sys.executable, "-m", "samplewise.cli.main", "vocode"]


@pytest.fixture(scope="module")
def sound(recordings):
    wave, _ = soundfile.read(recordings / "tone 0.wav", stop=3000)
    path = recordings.parent / "sound.wav"
    soundfile.write(path, wave, RATE)
    return path


def vocode(*words):
    return main(["vocode", *map(str, words), "--seed", "5", "--threads", "1"])


def pcm(path):
    return soundfile.read(path, dtype="int16")[0]


def test_training_makes_previews_of_what_it_was_told(vocoder):
    [preview] = (vocoder / "previews").iterdir()
    assert {"clip-0.wav", "spectrogram.png"} <= {path.name for path in preview.iterdir()}
    config = json.loads((vocoder / "config.json").read_text())
    assert config["train"]["model"]["conditioning"]["mel"]["hop"] == 256


@pytest.mark.parametrize(("backend", "frames"), [("native", 12), ("reference", 4)])
def test_a_file_its_spectrogram_and_a_stream_give_the_same_sound(
    vocoder, sound, tmp_path, backend, frames
):
    samples = frames * 256 - 72
    wave, sound = pcm(sound)[:samples], tmp_path / "sound.wav"
    soundfile.write(sound, wave, RATE)
    common = ["--backend", backend, "--weights", "f32"]
    target = tmp_path / "vocoded.wav"
    assert vocode(vocoder, sound, "-o", target, "--save-mels", *common) == 0
    made = pcm(target)
    assert len(made) == samples
    mel = np.load(tmp_path / "vocoded.npy")
    assert mel.shape == (frames, 80)
    assert vocode(vocoder, tmp_path / "vocoded.npy", "-o", tmp_path / "again", *common) == 0
    again = pcm(tmp_path / "again" / "vocoded.wav")
    assert len(again) == frames * 256
    np.testing.assert_array_equal(again[:samples], made)
    np.save(tmp_path / "turned.npy", mel.T)
    assert vocode(vocoder, tmp_path / "turned.npy", "-o", tmp_path / "turned.wav", *common) == 0
    np.testing.assert_array_equal(pcm(tmp_path / "turned.wav"), again)
    assert vocode(vocoder, sound, "--stream", tmp_path / "stream.wav", *common) == 0
    np.testing.assert_array_equal(pcm(tmp_path / "stream.wav"), again)


def test_spectrograms_of_other_programs_are_converted_or_refused(vocoder, sound, tmp_path, capsys):
    assert vocode(vocoder, sound, "-o", tmp_path / "made.wav", "--save-mels") == 0
    mel, flags = np.load(tmp_path / "made.npy"), ["-o", tmp_path / "o.wav", "--force"]
    trained = load_model(vocoder).provenance["mel"]
    assert len(trained["mean"]) == len(trained["deviation"]) == 80
    assert trained["ceiling"] == pytest.approx(mel.max(), abs=1)
    assert vocode(vocoder, tmp_path / "made.npy", *flags) == 0
    expected = pcm(tmp_path / "o.wav")
    db = 20 * mel / np.log(10)
    np.save(tmp_path / "db.npy", db[None])
    capsys.readouterr()
    assert vocode(vocoder, tmp_path / "db.npy", *flags) == 1
    assert "they may be dB (20 log10 of amplitudes): --mel-scale db" in capsys.readouterr().err
    assert vocode(vocoder, tmp_path / "db.npy", "--mel-scale", "db", *flags) == 0
    assert np.abs(pcm(tmp_path / "o.wav") - expected.astype(int)).max() <= 2
    np.save(tmp_path / "unit.npy", (db + 80) / 100)
    unit = ["--mel-scale", "db", "--mel-factor", "100", "--mel-shift", "-80"]
    assert vocode(vocoder, tmp_path / "unit.npy", *unit, *flags) == 0
    assert np.abs(pcm(tmp_path / "o.wav") - expected.astype(int)).max() <= 2


def test_a_square_array_is_not_read_the_wrong_way_round(vocoder, sound, tmp_path, capsys):
    assert vocode(vocoder, sound, "-o", tmp_path / "made.wav", "--save-mels") == 0
    mel = np.resize(np.load(tmp_path / "made.npy"), (80, 80))
    np.save(tmp_path / "frames.npy", mel)
    np.save(tmp_path / "bands.npy", mel.T)
    flags = ["-o", tmp_path / "o.wav", "--force", "--corrections", "0"]
    assert vocode(vocoder, tmp_path / "frames.npy", *flags) == 0
    assert "read as frames x bands" in capsys.readouterr().err
    expected = pcm(tmp_path / "o.wav")
    assert vocode(vocoder, tmp_path / "bands.npy", *flags) == 1
    assert "give --mel-layout bands-first" in capsys.readouterr().err
    assert vocode(vocoder, tmp_path / "bands.npy", "--mel-layout", "bands-first", *flags) == 0
    np.testing.assert_array_equal(pcm(tmp_path / "o.wav"), expected)


def test_sound_leaves_before_the_frames_have_all_come(vocoder, tmp_path):
    command = [*COMMAND, str(vocoder), "-", "--stream", "-", "--seed", "5", "--threads", "1"]
    command += ["--corrections", "2"]
    mel = np.random.default_rng(0).uniform(-9, 0, (15, 80)).astype("<f4")
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1) as process:
        process.stdin.write(mel[: 4 + 2 * 3].tobytes())
        process.stdin.flush()
        first = process.stdout.read(2 * 256)  # comes although the input is still open
        rest, _ = process.communicate(mel[4 + 2 * 3 :].tobytes(), timeout=120)
    assert process.returncode == 0
    np.save(tmp_path / "mel.npy", mel)
    target = tmp_path / "whole.wav"
    assert vocode(vocoder, tmp_path / "mel.npy", "-o", target, "--corrections", "2") == 0
    found = np.frombuffer(first + rest, "<i2")
    np.testing.assert_array_equal(found, pcm(tmp_path / "whole.wav"))


def test_a_comparison_has_sounds_scores_and_a_page(vocoder, corpus, tmp_path):
    assert vocode(vocoder, "--corpus", corpus, "--split", "train", "-o", tmp_path / "c") == 0
    report = json.loads((tmp_path / "c" / "scores.json").read_text())
    means = report["mean"]
    assert list(means) == ["Vocoder", "Uncorrected", "Noise", "Griffin-Lim"]
    alone = means["Uncorrected"]  # after four steps of training
    assert alone["mel_db"] > max(means["Griffin-Lim"]["mel_db"], means["Vocoder"]["mel_db"])
    assert -1 <= alone["stoi"] < means["Griffin-Lim"]["stoi"] <= 1
    assert report["corrections"] == 10
    assert report["instruments"]["stoi"] == "pystoi"
    own = report["recordings"]["Vocoder"]
    assert means["Vocoder"]["mel_db"] == pytest.approx(np.mean([s["mel_db"] for s in own.values()]))
    page = (tmp_path / "c" / "report.html").read_text()
    assert page.count("<audio") == 5 * len(own)
    for index, name in enumerate(own):
        original = pcm(tmp_path / "c" / f"{index}-{Path(name).stem}-original.wav")
        for kind in ("vocoder", "uncorrected", "noise", "griffin-lim"):
            path = tmp_path / "c" / f"{index}-{Path(name).stem}-{kind}.wav"
            assert len(pcm(path)) == len(original)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["{vocoder}"], "name inputs to vocode, or a corpus"),
        (["{vocoder}", "{sound}", "--corpus", "x"], "name inputs to vocode, or a corpus"),
        (["{vocoder}", "-"], "frames on stdin are vocoded as they arrive: add --stream"),
        (["{vocoder}", "{sound}", "{sound}"], "two inputs would be written to"),
        (["{vocoder}", "{sound}", "{sound}", "-o", "a.wav"], "a.wav is one file for 2 inputs"),
        (["{vocoder}", "{sound}", "{sound}", "--stream", "-"], "a stream has one input, not 2"),
        (["{vocoder}", "{bad}"], "the model takes floats, frames x 80 bands"),
        (["{vocoder}", "{archive}"], "save the spectrogram alone as a .npy file"),
        (["{vocoder}", "{sound}", "--label", "x"], "does not know the class 'x' (--label)"),
        (["{vocoder}", "{sound}", "-o", "{sound}"], "is an input; name another file or folder"),
        (["{vocoder}", "{sound}", "--stream", "{sound}"], "is an input; name another file"),
        (["{vocoder}", "{sound}", "--stream", "x", "--json"], "a stream leaves nothing else"),
        (["{vocoder}", "--corpus", "{corpus}", "--seconds", "-1"], "must not be negative"),
        (["{vocoder}", "{sound}", "--corrections", "-1"], "corrections = -1 must not be negative"),
        (["{run}", "{sound}"], "so it is no vocoder; train one with --mel"),
    ],
)
def test_mistakes_are_named(vocoder, sound, run_folder, corpus, tmp_path, capsys, words, fault):
    np.save(tmp_path / "bad.npy", np.zeros((3, 7), np.float32))
    places = {"vocoder": vocoder, "sound": sound, "corpus": corpus, "run": run_folder}
    places["bad"], before = tmp_path / "bad.npy", sound.read_bytes()
    np.savez(tmp_path / "mel.npz", mel=np.zeros((3, 80), np.float32))
    places["archive"] = tmp_path / "mel.npz"
    assert vocode(*[word.format(**places) for word in words]) == 1
    assert fault in capsys.readouterr().err
    assert sound.read_bytes() == before


def test_a_stream_that_cannot_begin_leaves_its_file_alone(vocoder, run_folder, sound, tmp_path):
    target = tmp_path / "kept.wav"
    target.write_bytes(b"mine")
    assert vocode(vocoder, sound, "--label", "x", "--stream", target) == 1
    assert main(["generate", str(run_folder), "--label", "x", "--stream", str(target)]) == 1
    assert target.read_bytes() == b"mine"


def test_a_vocoder_does_not_draw_by_itself(vocoder, capsys):
    assert main(["generate", str(vocoder), "--seconds", "0.1", "--count", "1"]) == 1
    assert "with `samplewise vocode`" in capsys.readouterr().err


def test_classes_from_labels_to_clips(corpus, tmp_path, capsys):
    opened = Corpus.open(corpus)
    order = [r.source for split in ("train", "valid", "test") for r in opened.split(split)]
    sources = list(dict.fromkeys(order))

    def write(first, second):
        lines = [f"{name},{(first, second)[i % 2]}" for i, name in enumerate(sources)]
        table.write_text("\n".join(["file,speaker", *lines]))

    table, folder = tmp_path / "labels.csv", tmp_path / "run"
    write("a", "b")
    small = ["--preset", "small", "--model.dim", "8", "--lanes", "2", "--seq-len", "64"]
    small += ["--threads", "1", "--minutes", "None", "--preview-seconds", "0.1"]
    command = ["train", str(corpus), "-o", str(folder), "--labels", str(table), *small]
    assert main([*command, "--steps", "3"]) == 0
    assert main([*command, "--steps", "5"]) == 0  # resumed
    assert main(["evaluate", str(folder), "--no-baselines"]) == 0
    write("b", "a")
    assert main([*command, "--steps", "7"]) == 1
    assert "are not those that" in capsys.readouterr().err
    words = ["generate", str(folder), "--count", "3", "--seconds", "0.05", "--threads", "1"]
    assert main([*words, "--seed", "1", "--json"]) == 0
    clips = json.loads(capsys.readouterr().out)["clips"]
    assert {clip["index"]: clip["label"] for clip in clips} == {0: "a", 1: "b", 2: "a"}
    assert main([*words, "--label", "c"]) == 1
    assert "the class 'c' (--label): it knows a, b" in capsys.readouterr().err
