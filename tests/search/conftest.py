"""A search whose trials take a tenth of a second each."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest

from samplewise.audio.write import write_wav
from samplewise.config.models import SampleRNNConfig
from samplewise.config.training import BudgetConfig, PreviewConfig, TrainConfig
from samplewise.data.corpus import Corpus
from samplewise.data.index import Settings
from samplewise.data.prepare.prepare import prepare
from samplewise.search.settings import Search
from samplewise.search.space import Choices, Range
from samplewise.search.storage import open_study

RATE = 4000


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Corpus:
    """A few seconds of decaying tones."""
    folder = tmp_path_factory.mktemp("tones")
    for index, split in enumerate(("train", "train", "train", "valid", "test")):
        (folder / split).mkdir(exist_ok=True)
        time = np.arange(2000 + 500 * index) / RATE
        wave = 0.7 * np.exp(-2 * time) * np.sin(2 * np.pi * (200 + 99 * index) * time)
        write_wav(folder / split / f"{index}.wav", wave.astype(np.float32), RATE)
    target = tmp_path_factory.mktemp("prepared") / "corpus"
    prepare(folder, target, Settings(RATE, 0.06, 0.06, 0, "auto"), 1)
    return Corpus.open(target)


@pytest.fixture(scope="session")
def base() -> TrainConfig:
    """Trains in a moment."""
    return TrainConfig(
        preset="small",
        model=SampleRNNConfig(frame_sizes=(4, 16), dim=8, emb_size=4, q_levels=32),
        clip_seconds=0.1,
        lanes=2,
        seq_len=32,
        budget=BudgetConfig(steps=4),
        valid_seconds=0.1,
        preview=PreviewConfig(minutes=0.0),
        device="cpu",
    )


@pytest.fixture
def search(corpus: Corpus, base: TrainConfig, tmp_path: Path) -> Search:
    """Three trials over a little space in which every kind of entry occurs."""
    space = {
        "learning_rate": Range(1e-4, 1e-2, log=True),
        "model.dim": Range(4, 12),
        "model.n_rnn": Choices((1, 2)),
        "model.skip": Choices((False, True), only_if=("model.n_rnn", (2,))),
        "model.frame_sizes": Choices(((4, 16), (2, 8))),
    }
    folder = tmp_path / "mine"
    return Search(corpus.folder, folder, base, space, {"ema": 0.9}, trials=3, prune="none")


@pytest.fixture
def silent():
    """Takes a line and says nothing."""
    return str


@pytest.fixture
def study(search: Search, corpus: Corpus) -> Callable[[], optuna.Study]:
    """Opens the study of the search, as another worker would."""
    return lambda: open_study(search, corpus.digest)


@pytest.fixture(autouse=True)
def _without_fsync(monkeypatch):
    """What is tested are killed processes, not machines that lose power."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
