"""Batches that are read ahead are those of the stream, and a run on them is the run without."""

import threading
from dataclasses import replace

import pytest
import torch
from tests.training.test_resume import assert_same_bits, train

from samplewise.config.codec import with_fields
from samplewise.data.excerpts import Excerpt
from samplewise.data.lanes import LaneStream
from samplewise.data.reader import ClipReader
from samplewise.quantizers import make_quantizer
from samplewise.training import run as run_module
from samplewise.training.loop import VALIDATION_SHARE, _validation_is_due
from samplewise.training.prefetch import Prefetch
from samplewise.training.run import start

CPU = torch.device("cpu")


def stream(corpus, cursor=None, rows=slice(None), clip_samples=100):
    reader = ClipReader(corpus, "keep", make_quantizer("mulaw", 32))
    return LaneStream(
        corpus.split("train"), reader, lanes=6, seq_len=16, clip_samples=clip_samples, seed=1,
        cursor=cursor, rows=rows,
    )  # fmt: skip


def take(batches, count):
    return [batches.next_batch() for _ in range(count)]


def assert_same_batches(one, other, count):
    for _ in range(count):
        left, right = one.next_batch(), other.next_batch()
        assert left.samples == right.samples
        torch.testing.assert_close(left.tensors(), right.tensors(), rtol=0, atol=0)
        assert one.cursor == other.cursor
        assert one.epochs == other.epochs


def test_batches_cursors_and_epochs_are_those_of_the_stream(corpus):
    ahead, plain = Prefetch(stream(corpus), CPU), stream(corpus)
    assert ahead.cursor == plain.cursor
    assert_same_batches(ahead, plain, 40)
    ahead.close()  # between two batches, with two more in the buffers
    assert_same_batches(ahead, stream(corpus, plain.cursor), 3)
    assert_same_batches(ahead, stream(corpus, ahead.cursor), 40)
    ahead.close()
    assert not any(thread.name == "prefetch" for thread in threading.enumerate())


def test_an_error_of_the_reader_is_raised_where_the_batch_is_asked_for(corpus, monkeypatch):
    ahead = Prefetch(stream(corpus), CPU)
    ahead.next_batch()

    def fail(self, clip):
        raise ValueError(f"{clip.recording.source} is damaged")

    monkeypatch.setattr(ClipReader, "read", fail)
    with pytest.raises(ValueError, match="wav is damaged"):
        take(ahead, 100)
    with pytest.raises(ValueError, match="wav is damaged"):  # not a wait without end
        ahead.next_batch()
    ahead.close()


@pytest.mark.parametrize("rows", [slice(0, 6), slice(2, 4)])
@pytest.mark.parametrize("clip_samples", [0, 40, 100])
def test_clips_are_read_before_lanes_take_them(corpus, monkeypatch, rows, clip_samples):
    ahead = stream(corpus, rows=rows, clip_samples=clip_samples)
    plain = stream(corpus, rows=rows, clip_samples=clip_samples)
    assert_same_batches(ahead, plain, 1)
    read: list[Excerpt] = []
    own_read = ClipReader.read

    def counted(self, clip):
        read.append(clip)
        return own_read(self, clip)

    monkeypatch.setattr(ClipReader, "read", counted)
    for _ in range(60):
        ahead.read_ahead()
        before = len(read)
        batch = ahead.next_batch()
        assert len(read) == before
        expected = plain.next_batch()
        torch.testing.assert_close(batch.tensors(), expected.tensors(), rtol=0, atol=0)


def test_a_run_that_reads_ahead_equals_one_that_does_not(
    config, corpus, tmp_path, alone, monkeypatch
):
    config = replace(config, seq_len=16, clip_seconds=0.02)
    train(with_fields(config, steps=12), corpus, tmp_path / "plain", alone)
    made = []

    def prefetched(*args, **options):
        made.append(Prefetch(LaneStream(*args, **options), CPU))
        return made[-1]

    monkeypatch.setattr(run_module, "LaneStream", prefetched)
    for cut in (5, 12):
        train(with_fields(config, steps=cut), corpus, tmp_path / "ahead", alone)
    assert len(made) == 2
    assert all(stream._thread is None for stream in made)
    assert_same_bits(tmp_path / "plain", tmp_path / "ahead")


def test_validations_take_a_twentieth_of_the_time_of_a_gpu(config, corpus, tmp_path, alone):
    run = start(config, corpus, tmp_path / "run", alone)
    run.progress.step = config.valid_every
    on_gpu = replace(run, ranks=replace(alone, device=torch.device("cuda")))
    assert _validation_is_due(run, since=1.0, took=100.0)
    assert _validation_is_due(on_gpu, since=1.0, took=0.0)
    least = (1 - VALIDATION_SHARE) / VALIDATION_SHARE
    assert _validation_is_due(on_gpu, since=least + 0.1, took=1.0)
    assert not _validation_is_due(on_gpu, since=least - 0.1, took=1.0)
    run.progress.step += 1
    assert not _validation_is_due(run, since=1.0, took=0.0)
