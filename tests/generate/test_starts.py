"""Clips that begin after an excerpt of the training split."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.generate.conftest import make_model
from tests.models.conftest import CONFIGS

from samplewise.config.conditioning import ConditioningConfig
from samplewise.errors import CheckpointError
from samplewise.generate import starts
from samplewise.generate.backend import Backend
from samplewise.generate.clips import generate_clips, stream_chunks
from samplewise.generate.starts import Starts
from samplewise.models.io import AudioFormat, LoadedModel

STARTS = np.random.default_rng(0).integers(0, 16, (3, 40))


@pytest.fixture(scope="module")
def loaded():
    model = make_model(CONFIGS["predictor"])
    provenance = {"starts": Starts(STARTS).to_json(16)}
    return LoadedModel(model, AudioFormat(1000, 1.0, "keep"), provenance, Path("made-up"))


@pytest.mark.parametrize("q_levels", [16, 65536])
@pytest.mark.parametrize("labels", [(), ("a", "b", "a")])
def test_starts_survive_a_model_file(q_levels, labels):
    written = Starts(STARTS * (q_levels // 16), labels)
    read = Starts.from_json(written.to_json(q_levels), q_levels)
    assert np.array_equal(read.codes, written.codes)
    assert read.labels == labels


@pytest.mark.parametrize(
    "damage",
    [
        {"codes": "?"},
        {"count": 0},
        {"count": 7},
        {"count": "3"},
        {"codes": ""},
        {"labels": ["a"]},
        {"labels": ["a", "b", 3]},
        {"labels": 5},
    ],
)
def test_damaged_starts_are_refused(damage):
    stored = Starts(STARTS).to_json(16)
    with pytest.raises(CheckpointError, match="--start silence"):
        Starts.from_json(stored | damage, 16)
    with pytest.raises(CheckpointError, match="--start silence"):
        Starts.from_json(stored, 15)  # codes that the model does not have
    with pytest.raises(CheckpointError, match="--start silence"):
        Starts.from_json([stored], 16)


def test_starts_that_are_too_long_are_refused(monkeypatch):
    stored = Starts(STARTS).to_json(16)
    monkeypatch.setattr(starts, "MAX_BYTES", len(stored["codes"]) - 1)
    with pytest.raises(CheckpointError, match="--start silence"):
        Starts.from_json(stored, 16)


def choose(seed, indices):
    return Starts(STARTS).choose(seed, indices, [None] * len(indices), 8)


def test_seed_and_index_choose_the_start():
    chosen = choose(5, range(20))
    assert np.array_equal(choose(5, [7]), chosen[7:8])
    assert not np.array_equal(choose(6, range(20)), chosen)


def test_a_clip_of_a_class_follows_an_excerpt_of_that_class():
    known = Starts(STARTS, ("a", "b", "a"))
    chosen = known.choose(5, range(30), ["a", "b", "c"] * 10, silence=8)
    assert {row.tobytes() for row in chosen[0::3]} == {row.tobytes() for row in STARTS[[0, 2]]}
    assert (chosen[1::3] == STARTS[1]).all()
    assert (chosen[2::3] == 8).all()  # of a class without excerpts
    kept = known.first(1)
    assert kept.labels == ("a", "b")
    assert np.array_equal(kept.codes, STARTS[:2])
    assert np.array_equal(Starts(STARTS).first(2).codes, STARTS[:2])


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_a_clip_goes_on_after_its_start(loaded, backend):
    backend = Backend(backend, weights="f32")
    found = generate_clips(loaded, 4, 0.05, seed=5, backend=backend)
    chosen = choose(5, range(4))
    assert len({start.tobytes() for start in chosen}) > 1
    for clip, start in zip(found, chosen, strict=True):
        prompt = loaded.model.quantizer.decode(start)
        [expected] = generate_clips(
            loaded, 1, 0.05, 5, first_index=clip.index, prompt=prompt, keep_prompt=False,
            backend=backend,
        )  # fmt: skip
        assert np.array_equal(clip.codes, expected.codes)
        assert len(clip.codes) == 50


def test_a_stream_begins_as_the_clip_does(loaded):
    [clip] = generate_clips(loaded, 1, 0.05, seed=5, first_index=2)
    chunks = stream_chunks(loaded, 5, samples=50, index=2, chunk_s=0.02)
    assert np.array_equal(np.concatenate(list(chunks)), clip.samples)


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_a_clip_of_a_class_goes_on_after_its_start(backend):
    config = replace(CONFIGS["predictor"], conditioning=ConditioningConfig(classes=("a", "b")))
    provenance = {"starts": Starts(STARTS, ("a", "b", "a")).to_json(16)}
    loaded = LoadedModel(
        make_model(config), AudioFormat(1000, 1.0, "keep"), provenance, Path("made-up")
    )
    backend = Backend(backend, weights="f32")
    found = generate_clips(loaded, 4, 0.05, seed=5, backend=backend)
    assert [clip.label for clip in found] == ["a", "b", "a", "b"]
    for clip in found:
        [start] = Starts(STARTS, ("a", "b", "a")).choose(5, [clip.index], [clip.label], 8)
        prompt = loaded.model.quantizer.decode(start)
        [expected] = generate_clips(
            loaded, 1, 0.05, 5, first_index=clip.index, prompt=prompt, keep_prompt=False,
            label=clip.label, backend=backend,
        )  # fmt: skip
        assert np.array_equal(clip.codes, expected.codes)
        chunks = stream_chunks(loaded, 5, samples=50, index=clip.index, backend=backend)
        assert np.array_equal(np.concatenate(list(chunks)), clip.samples)


def test_starts_can_be_left_out(loaded):
    without = replace(loaded, provenance={})
    [silent] = generate_clips(loaded, 1, 0.05, seed=5, start="silence")
    [expected] = generate_clips(without, 1, 0.05, seed=5)
    assert np.array_equal(silent.codes, expected.codes)
    [started] = generate_clips(loaded, 1, 0.05, seed=5)
    assert not np.array_equal(started.codes, expected.codes)
