import itertools

import numpy as np
import pytest

from samplewise.generate.clips import generate_clips, stream_chunks
from samplewise.generate.temperature import parse_envelope

HEAT = parse_envelope("0:0.8,0.02:1.1")
PROMPT = np.sin(np.arange(333) / 9).astype(np.float32) * 0.7


@pytest.mark.parametrize("chunk_s", [0.0003, 0.013, 0.1])
def test_a_stream_is_clip_0_of_its_seed(loaded, chunk_s):
    clip = generate_clips(loaded, 6, 0.03, seed=9, temperature=HEAT)[0]
    chunks = stream_chunks(loaded, 9, samples=120, temperature=HEAT, chunk_s=chunk_s)
    assert np.array_equal(np.concatenate(list(chunks)), clip.samples)


def test_a_stream_continues_a_prompt_and_may_leave_it_out(loaded):
    [clip] = generate_clips(loaded, 1, 0.02, seed=9, first_index=4, prompt=PROMPT)
    options = {"samples": 80, "index": 4, "prompt": PROMPT}
    kept = np.concatenate(list(stream_chunks(loaded, 9, **options)))
    cut = np.concatenate(list(stream_chunks(loaded, 9, **options, keep_prompt=False)))
    assert np.array_equal(kept, clip.samples)
    assert np.array_equal(cut, clip.samples[len(PROMPT) :])


def test_a_stream_has_no_end(loaded):
    chunks = list(itertools.islice(stream_chunks(loaded, 9, chunk_s=0.01), 12))
    assert {len(chunk) for chunk in chunks} == {40}


def test_a_chunk_of_no_length_is_refused(loaded):
    with pytest.raises(ValueError, match="chunk_s = 0 must be above 0"):
        next(stream_chunks(loaded, 9, chunk_s=0.0))
