"""The demo: what it leaves, how it judges itself, when it fails."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from samplewise.cli import demo, report, train
from samplewise.cli.main import main
from samplewise.config.codec import with_fields
from samplewise.config.presets import PRESETS
from samplewise.models.io import load_model
from samplewise.training import loop

RATE = 16000


@pytest.fixture
def tiny(monkeypatch):
    """In place of the demo's preset, one so small and cautious that it learns nothing."""
    preset = PRESETS["small"]
    small = with_fields(
        preset,
        preset="tiny",
        model=replace(preset.model, frame_sizes=(2, 64), dim=16, emb_size=4, lp_order=0),
        lanes=8,
        seq_len=64,
        sample_stride=1,
        learning_rate=1e-30,
        steps=6,
        preview_minutes=0.0,
        threads=1,
    )
    monkeypatch.setitem(PRESETS, "tiny", small)
    # Six steps, whatever --minutes says.
    monkeypatch.setattr(train, "preset_for", lambda name, named: PRESETS[name])
    return small


@pytest.fixture
def coins(tmp_path, monkeypatch):
    """Recordings of independent samples: nobody can beat the unigram, where training begins."""
    folder = tmp_path / "coins"
    for seed, split in enumerate(("train", "valid", "test")):
        (folder / split).mkdir(parents=True)
        wave = np.random.default_rng(seed).choice([-0.5, -0.1, 0.1, 0.5], RATE)
        soundfile.write(folder / split / "coins.wav", wave, RATE)
    monkeypatch.setattr(demo, "bundled_recordings", lambda: folder)


@pytest.mark.usefixtures("tiny", "coins")
def test_a_demo_ends_when_linear_prediction_is_beaten_and_leaves_what_it_promises(tmp_path, capsys):
    folder = tmp_path / "demo"
    # Clips of less than 0.1 s have no flags.
    assert main(["demo", "-o", str(folder), "--count", "2", "--seconds", "0.05"]) == 0
    assert {path.name for path in folder.iterdir()} == {
        *("corpus", "run", "report.html", "loss.png", "spectrogram.png"),
        *("clip-0000.wav", "clip-0001.wav"),
    }
    assert soundfile.info(folder / "clip-0001.wav").frames == 0.05 * RATE
    assert load_model(folder / "run").audio.sample_rate == RATE
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("$ samplewise train") for line in lines) == 1
    assert not any("warning" in line for line in lines)
    assert next(line for line in lines if line.startswith("training: ")).count("6 steps") == 1
    verdict = next(line for line in lines if line.startswith("test: "))
    assert all(f" {name} " in verdict for name in ("unigram", "bigram", "linear prediction"))
    assert "clips: 2, of which 0 are flagged as silence, noise, hiss or stuck" in lines


@pytest.mark.usefixtures("tiny")
def test_a_demo_that_learns_nothing_trains_longer_then_says_why_and_fails(
    recordings, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(demo, "bundled_recordings", lambda: recordings)
    monkeypatch.setattr(demo, "MOST_PARTS", 2)
    monkeypatch.setattr(report, "main", lambda words: Path(words[0], "report.html").touch())
    words = ["-o", str(tmp_path), "--count", "2", "--seconds", "0.5", "--minutes", "0.5"]
    assert main(["demo", *words]) == 1
    out, err = capsys.readouterr()
    trained = [line for line in out.splitlines() if line.startswith("$ samplewise train")]
    assert [line.partition("--minutes ")[2].split()[0] for line in trained] == ["0.5", "1.0"]
    assert "beats no baseline that looks at earlier samples" in err
    assert "every clip is flagged (noise" in err
    assert "6 steps were made at " in err
    assert "the preset tiny was made for about" in err
    assert "training was too slow" in err
    assert (tmp_path / "report.html").exists()


def test_the_speed_is_that_of_the_whole_run(tmp_path):
    line = '{"event": "train", "step": 9, "seconds": 8.0, "samples_seen": 400, "samples_per_s": 3}'
    (tmp_path / "metrics.jsonl").write_text(line + '\n{"event": "valid", "step": 9}\n')
    assert demo._last_interval(tmp_path)["samples_per_s"] == 50.0


@pytest.mark.usefixtures("tiny", "coins")
def test_a_demo_that_is_interrupted_ends(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(loop, "_finished", lambda run, interrupts: loop.INTERRUPTED)
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 130
    assert "samplewise evaluate" not in capsys.readouterr().out


def test_what_an_untrained_model_beats_is_no_success():
    baselines = {"uniform": 8.0, "unigram": 7.0, "bigram": 5.0, "linear_prediction": 4.0}
    clips = [{"flags": ["noise"]}, {"flags": []}]

    def faults(bits, clips=clips):
        return demo.find_faults({"bits_per_sample": bits, "baselines": baselines}, clips)

    assert len(faults(5.0)) == 1
    assert faults(4.9) == []
    assert faults(3.9, clips[:1]) == ["every clip is flagged (noise)"]


def test_enough_steps_are_not_blamed():
    assert "speed is not the cause" in demo.explain_speed({"step": 10**6, "samples_per_s": 1e4})
