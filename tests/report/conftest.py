import json
from pathlib import Path

import numpy as np
import pytest

from samplewise.audio.write import write_wav
from samplewise.config.codec import to_json, with_fields
from samplewise.config.presets import PRESETS
from samplewise.data.index import Settings
from samplewise.data.prepare.prepare import prepare
from samplewise.report.page import write_report

RATE = 8000
CLIPS = 4


def wave(seed: int, seconds: float = 0.25) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=round(seconds * RATE)) * 0.1
    return np.clip(noise, -1, 1).astype(np.float32)


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def line(event: str, step: int, **figures: float) -> str:
    return json.dumps({"event": event, "step": step, "seconds": step / 10, **figures}) + "\n"


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """A prepared corpus with one recording in each split."""
    folder = tmp_path_factory.mktemp("corpus")
    for seed, split in enumerate(("train", "valid", "test")):
        (folder / "recordings" / split).mkdir(parents=True)
        write_wav(folder / "recordings" / split / f"{split}.wav", wave(seed, 1.0), RATE)
    settings = Settings(RATE, 0.06, 0.06, 0, "auto")
    prepare(folder / "recordings", folder / "made", settings, 1)
    return folder / "made"


@pytest.fixture
def run(tmp_path, corpus) -> Path:
    """A run folder in which nothing is missing; the ranks are the reverse of the names."""
    return make_run(tmp_path / "mine", corpus)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory, corpus) -> tuple[Path, str]:
    """Such a folder and its page, with real pictures."""
    folder = make_run(tmp_path_factory.mktemp("drawn") / "mine", corpus)
    return folder, write_report(folder).read_text(encoding="utf-8")


def make_run(folder: Path, corpus: Path) -> Path:
    digest = json.loads((corpus / "corpus.json").read_text())["digest"]
    config = {
        "format": 1,
        "train": to_json(with_fields(PRESETS["tiny"], minutes=2.5, random_offsets=False)),
        "audio": {"sample_rate": RATE, "gain": 1.5},
        "corpus": {"folder": str(corpus), "digest": digest, "split_rule": "folders"},
        "parameters": 312448,
        "versions": {"samplewise": "0.1.0", "torch": "9.8.7"},
    }
    write_json(folder / "config.json", config)
    lines = [line("train", step, bits=2 + 60 / step, lr=0.001) for step in range(10, 410, 10)]
    lines += [line("valid", step, bits=2.1 + 60 / step, best=2.5) for step in (100, 200, 300, 400)]
    (folder / "metrics.jsonl").write_text("".join(lines))
    clips = []
    for index in range(CLIPS):
        name = f"clip-{index:04d}.wav"
        (folder / "generated").mkdir(exist_ok=True)
        write_wav(folder / "generated" / name, wave(index), RATE)
        entry = {"file": name, "index": index, "seconds": 0.25, "flags": []}
        clips.append(entry | {"bits_per_sample": 3.0 - index / 10, "rank": CLIPS - index})
    clips[0] |= {"flags": ["stuck"], "flag_reasons": ["45% of it loops or rests"]}
    generation = {"seed": 7, "temperature": "0.95", "sample_rate": RATE, "prompt": None}
    write_json(folder / "generated" / "generation.json", generation | {"clips": clips})
    for step in (100, 400):
        (folder / "previews" / f"step-{step:08d}").mkdir(parents=True)
        write_wav(folder / "previews" / f"step-{step:08d}" / "clip-0.wav", wave(step), RATE)
    evaluation = {
        "split": "test",
        "bits_per_sample": 2.345,
        "label": "mulaw q=256 · level keep (gain 1.5) · 8000 samples",
        "samples": 8000,
        "baselines": {"uniform": 8.0, "unigram": 5.0, "bigram": 4.0, "linear_prediction": 3.5},
        "recordings": [{"source": "test/test.wav", "samples": 8000, "bits_per_sample": 2.345}],
        "device": "cpu",
        "seconds": 1.5,
    }
    write_json(folder / "evaluation.json", evaluation)
    comparison = {"clips": {"value": 4.5}, "low": 2.5, "median": 5.0, "high": 8.25, "inside": 0.75}
    sound = {
        "count": 16,
        "log_mel_distance": {"value": 0.75, "low": 0.5, "high": 1.0},
        "references": {"training recordings": 0.0625, "white noise": 2.5},
        "descriptors": {"onsets_per_s": comparison},
        "nearest_passage": comparison,
        "flagged": {"value": 0.125},
        "drawn_bits": {"value": 3.125},
        "test_bits": 2.345,
    }
    write_json(folder / "sound.json", sound)
    return folder
