"""Clips that begin after an excerpt of the training split."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.generate.conftest import make_model
from tests.models.conftest import CONFIGS

from samplewise.errors import CheckpointError
from samplewise.generate import starts
from samplewise.generate.backend import Backend
from samplewise.generate.clips import generate_clips, stream_chunks
from samplewise.generate.starts import choose, from_text, to_text
from samplewise.models.io import AudioFormat, LoadedModel

STARTS = np.random.default_rng(0).integers(0, 16, (3, 40))


@pytest.fixture(scope="module")
def loaded():
    model = make_model(CONFIGS["predictor"])
    provenance = {"starts": to_text(STARTS, 16)}
    return LoadedModel(model, AudioFormat(1000, 1.0, "keep"), provenance, Path("made-up"))


@pytest.mark.parametrize("q_levels", [16, 65536])
def test_starts_survive_a_model_file(q_levels):
    codes = STARTS * (q_levels // 16)
    assert np.array_equal(from_text(to_text(codes, q_levels), q_levels), codes)
    assert from_text(None, q_levels) is None


@pytest.mark.parametrize(
    "damage", [{"codes": "?"}, {"count": 0}, {"count": 7}, {"count": "3"}, {"codes": ""}]
)
def test_damaged_starts_are_refused(damage):
    with pytest.raises(CheckpointError, match="--start silence"):
        from_text(to_text(STARTS, 16) | damage, 16)
    with pytest.raises(CheckpointError, match="--start silence"):
        from_text(to_text(STARTS, 16), 15)  # codes that the model does not have


def test_starts_that_are_too_long_are_refused(monkeypatch):
    monkeypatch.setattr(starts, "MAX_BYTES", len(to_text(STARTS, 16)["codes"]) - 1)
    with pytest.raises(CheckpointError, match="--start silence"):
        from_text(to_text(STARTS, 16), 16)


def test_seed_and_index_choose_the_start():
    chosen = choose(STARTS, 5, range(20))
    assert np.array_equal(choose(STARTS, 5, [7]), chosen[7:8])
    assert not np.array_equal(choose(STARTS, 6, range(20)), chosen)


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_a_clip_goes_on_after_its_start(loaded, backend):
    backend = Backend(backend, weights="f32")
    found = generate_clips(loaded, 4, 0.05, seed=5, backend=backend)
    chosen = choose(STARTS, 5, range(4))
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


def test_starts_can_be_left_out(loaded):
    without = replace(loaded, provenance={})
    [silent] = generate_clips(loaded, 1, 0.05, seed=5, start="silence")
    [expected] = generate_clips(without, 1, 0.05, seed=5)
    assert np.array_equal(silent.codes, expected.codes)
    [started] = generate_clips(loaded, 1, 0.05, seed=5)
    assert not np.array_equal(started.codes, expected.codes)
