"""A corpus of 1,000 hours (sparse files) is trained on as a small one is."""

import tracemalloc

import pytest
from tests.soak.thousand_hours import RATE, SHARDS, make_corpus

from samplewise.data.corpus import Corpus
from samplewise.data.lanes import LaneStream
from samplewise.data.parts import BLOCK_BYTES, LocalPart
from samplewise.data.reader import ClipReader
from samplewise.quantizers import make_quantizer

CLIP = 8 * RATE
SEQ_LEN = CLIP // 4


@pytest.fixture
def stream(tmp_path):
    make_corpus(tmp_path / "corpus", 1000, SHARDS, None, recording_s=1800)
    corpus = Corpus.open(tmp_path / "corpus")
    assert sum(recording.samples for recording in corpus.recordings) == 1000 * 3600 * RATE
    reader = ClipReader(corpus, "keep", make_quantizer("mulaw", 256))
    recordings = corpus.split("train")
    return LaneStream(recordings, reader, lanes=4, seq_len=SEQ_LEN, clip_samples=CLIP, seed=0)


def test_a_batch_of_a_thousand_hours_reads_its_clips_alone(stream, monkeypatch):
    sizes, read = [], LocalPart.read

    def counted(part, first, last):
        sizes.append(last - first)
        return read(part, first, last)

    monkeypatch.setattr(LocalPart, "read", counted)
    batches = [stream.next_batch() for _ in range(20)]
    assert all(batch.samples == 4 * SEQ_LEN for batch in batches[:4])
    clips = 4 * sum(int(batch.reset[0]) for batch in batches)
    assert sum(sizes) <= clips * 2 * BLOCK_BYTES  # a clip is shorter than a block
    assert 0 < stream.epochs < 1e-4


def test_memory_is_flat_over_a_thousand_hours(stream):
    tracemalloc.start()
    try:
        for _ in range(8):
            stream.next_batch()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(40):
            stream.next_batch()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 2**20
