"""The models that come with the package."""

import json

import numpy as np
import pytest

import samplewise
from samplewise.audio.write import write_wav
from samplewise.cli import models
from samplewise.models.io import read_description
from samplewise.models.pretrained import model_card, pretrained_file, pretrained_names

NAMES = pretrained_names()
VOCODER = "voice-vocoder"
MOST_BYTES = 4 * 2**20


def test_there_are_models_of_each_kind():
    assert set(NAMES) >= {"piano", "sounds", "voice", VOCODER}
    assert pretrained_file("piano") is not None
    assert pretrained_file("nothing") is None


@pytest.mark.parametrize("name", NAMES)
def test_a_model_describes_itself(name):
    file = pretrained_file(name)
    assert file.stat().st_size <= MOST_BYTES
    stored = read_description(file)
    assert stored.provenance["name"] == name
    assert (stored.provenance["starts"] is None) == (name == VOCODER)
    assert (stored.provenance["mel"] is None) == (name != VOCODER)
    assert stored.provenance["noise"]
    assert "/" not in stored.provenance["corpus"]["folder"]
    card = model_card(name)
    assert card.startswith(f"# {name}\n\n")
    for part in ("Data", "Licence", "Training", "Bits", "Sound", "Good for"):
        assert f"**{part}.**" in card, part
    assert f"{stored.provenance['valid_bits']:.3f}" in card


def test_the_vocoder_makes_the_sound_of_a_spectrogram(tmp_path):
    model = samplewise.load(VOCODER)
    time = np.arange(8000) / model.sample_rate
    wave = 0.2 * np.sign(np.sin(2 * np.pi * 150 * time)).astype(np.float32)
    write_wav(tmp_path / "tone.wav", wave, model.sample_rate)
    clip = model.vocode(tmp_path / "tone.wav", seed=1)
    assert len(clip.samples) == len(wave)
    assert np.abs(clip.samples).mean() == pytest.approx(np.abs(wave).mean(), rel=0.5)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {VOCODER}))
def test_a_name_stands_for_a_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = samplewise.load(name)
    clips = model.generate(count=2, seconds=1.0, seed=3)
    for clip in clips:
        assert np.abs(clip.samples).mean() > 0.001
    # A folder of that name goes first.
    (tmp_path / name).mkdir()
    with pytest.raises(samplewise.CheckpointError, match="does not exist"):
        samplewise.load(name)


def test_models_are_listed(capsys):
    assert models.main([]) == 0
    listed = capsys.readouterr().out
    assert all(any(line.startswith(name) for line in listed.splitlines()) for name in NAMES)
    assert models.main(["--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == NAMES
    assert models.main(["piano"]) == 0
    assert capsys.readouterr().out.startswith("# piano")
    with pytest.raises(ValueError, match="there is no model 'flute'; there are: piano"):
        models.main(["flute"])
