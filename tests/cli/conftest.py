"""A corpus and a run, made by the commands themselves; small enough to make in a moment."""

import numpy as np
import pytest
import soundfile

from samplewise.cli.main import main

RATE = 4000


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    time = np.arange(3 * RATE) / RATE
    for index, pitch in enumerate((220, 330, 440, 550)):
        wave = 0.5 * np.sin(2 * np.pi * pitch * time) * np.exp(-time)
        soundfile.write(folder / f"tone {index}.wav", wave, RATE)
    return folder


@pytest.fixture(scope="session")
def corpus(recordings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared") / "corpus"
    assert main(["prepare", str(recordings), "-o", str(folder), "--sample-rate", str(RATE)]) == 0
    return folder


SMALL = [
    "--preset",
    "small",
    "--model.dim",
    "8",
    "--model.emb-size",
    "4",
    "--lanes",
    "2",
    "--seq-len",
    "64",
    "--threads",
    "1",
]


@pytest.fixture(scope="session")
def run_folder(corpus):
    folder = corpus.parent / "run"
    options = ["--steps", "4", "--preview-seconds", "0.1"]
    assert main(["train", str(corpus), "-o", str(folder), *SMALL, *options]) == 0
    return folder


@pytest.fixture(scope="session")
def vocoder(corpus):
    folder = corpus.parent / "vocoder"
    options = ["--preset", "wavernn-224", "--mel", "--model.dim", "8", "--lanes", "2"]
    options += ["--seq-len", "64", "--clip-seconds", "0.5", "--threads", "1", "--steps", "4"]
    options += ["--preview-seconds", "0.1", "--valid-seconds", "1"]
    assert main(["train", str(corpus), "-o", str(folder), *options]) == 0
    return folder
