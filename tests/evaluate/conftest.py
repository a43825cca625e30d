from pathlib import Path

import pytest
from tests.evaluate.small import RATE, make_corpus, make_model

from samplewise.data.corpus import Corpus
from samplewise.models.io import AudioFormat, save_model
from samplewise.models.samplernn import SampleRNN


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    return make_corpus()


@pytest.fixture
def model() -> SampleRNN:
    return make_model()


@pytest.fixture
def run_folder(tmp_path, corpus) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    provenance = {
        "clip_seconds": 0.1,
        "corpus": {"folder": "nowhere", "digest": corpus.digest, "split_rule": "by folder"},
    }
    audio = AudioFormat(sample_rate=RATE, gain=corpus.gain, level="keep")
    save_model(folder / "weights.safetensors", make_model().float(), audio, provenance)
    return folder
