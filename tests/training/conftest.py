"""A small corpus and a small model to train."""

import numpy as np
import pytest
import torch

from samplewise.audio.write import write_wav
from samplewise.cli import prepare
from samplewise.config.models import SampleRNNConfig
from samplewise.config.training import BudgetConfig, PreviewConfig, TrainConfig
from samplewise.data.corpus import Corpus
from samplewise.training.ranks import Ranks


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A few seconds of decaying tones, in recordings of unequal length."""
    folder = tmp_path_factory.mktemp("tones")
    generator = np.random.default_rng(0)
    for split, count in {"train": 5, "valid": 2, "test": 2}.items():
        (folder / split).mkdir()
        for index in range(count):
            time = np.arange(3000 + 777 * index) / 8000
            pitch = generator.uniform(100, 900)
            wave = 0.7 * np.exp(-2 * time) * np.sin(2 * np.pi * pitch * time)
            write_wav(folder / split / f"{index}.wav", wave.astype(np.float32), 8000)
    target = tmp_path_factory.mktemp("prepared") / "corpus"
    prepare.main([str(folder), "-o", str(target), "--sample-rate", "8000", "--jobs", "1"])
    return Corpus.open(target)


@pytest.fixture
def config():
    """Trains in a moment; every mechanism is in use."""
    return TrainConfig(
        preset="test",
        model=SampleRNNConfig(frame_sizes=(2, 2, 8), dim=8, emb_size=4, q_levels=32),
        output_init="unigram",
        clip_seconds=0.1,
        lanes=4,
        seq_len=64,
        ema=0.9,
        budget=BudgetConfig(steps=8),
        valid_every=4,
        valid_seconds=0.2,
        preview=PreviewConfig(minutes=0.0),
        device="cpu",
        matmul="onednn",  # two runs from the same seed are compared bit for bit
    )


@pytest.fixture
def alone():
    """The only rank."""
    return Ranks(0, 1, torch.device("cpu"))
