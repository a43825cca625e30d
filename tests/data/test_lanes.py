import numpy as np
import pytest
import torch

from samplewise.data.corpus import Recording
from samplewise.data.excerpts import cut
from samplewise.data.lanes import LaneStream, finite_batches
from samplewise.data.reader import ClipContent, ClipReader

SILENCE = 0


def recording(start, samples):
    return Recording(f"{start}.wav", start, samples, "train", "", 1.0, 1.0)


RECORDINGS = [recording(1, 50), recording(51, 7), recording(58, 1), recording(59, 33)]
TOTAL = 91


class Numbered(ClipReader):
    """Gives every sample of the corpus a code of its own."""

    conditioning = None

    def __init__(self):
        pass

    @property
    def silence(self):
        return SILENCE

    def read(self, clip):
        begin = clip.recording.start + clip.start
        return ClipContent(np.arange(begin, begin + clip.samples))


READER = Numbered()


def codes(clip):
    return READER.read(clip).codes.tolist()


def stream(**changes):
    options = {"lanes": 3, "seq_len": 8, "clip_samples": 20, "seed": 1}
    return LaneStream(RECORDINGS, READER, **{**options, **changes})


def take(source, count):
    return [source.next_batch() for _ in range(count)]


def assert_batches_equal(left, right):
    for a, b in zip(left, right, strict=True):
        for name in ("previous", "target", "mask", "reset"):
            assert torch.equal(getattr(a, name), getattr(b, name))
        assert a.samples == b.samples


@pytest.mark.parametrize("offset", [0, 1, 6, 19])
def test_clips_tile_every_recording(offset):
    clips = cut(RECORDINGS, 20, np.full(len(RECORDINGS), offset))
    assert all(0 < clip.samples <= 20 for clip in clips)
    covered = [s for clip in clips for s in codes(clip)]
    assert covered == list(range(1, TOTAL + 1))


def test_clips_of_length_zero_are_whole_recordings():
    assert [clip.samples for clip in cut(RECORDINGS, 0)] == [50, 7, 1, 33]


def test_an_epoch_gives_every_sample_exactly_once_and_the_next_in_another_order():
    source, epochs = stream(lanes=1), []
    for _ in range(2):
        seen = []
        while len(seen) < TOTAL:
            batch = source.next_batch()
            seen += batch.target[batch.mask].tolist()
        assert sorted(seen) == list(range(1, TOTAL + 1))
        epochs.append(seen)
    assert epochs[0] != epochs[1]


def test_each_target_follows_its_previous_code_and_a_clip_begins_after_silence():
    for batch in take(stream(), 60):
        for row in range(3):
            mask = batch.mask[row]
            previous, target = batch.previous[row][mask], batch.target[row][mask]
            begins = previous == SILENCE
            assert begins.tolist() == [bool(batch.reset[row])] + [False] * (len(target) - 1)
            assert (previous[~begins] == target[~begins] - 1).all()


def test_a_lane_goes_on_where_its_last_batch_ended():
    last = [None] * 3
    for batch in take(stream(), 60):
        for row in range(3):
            if not batch.reset[row]:
                assert batch.previous[row, 0] == last[row]
            last[row] = batch.target[row][batch.mask[row]][-1]


def test_samples_counts_what_is_not_padding():
    assert all(batch.samples == batch.mask.sum() for batch in take(stream(), 40))


def test_the_order_depends_on_the_seed_alone():
    assert_batches_equal(take(stream(), 30), take(stream(), 30))
    other = take(stream(seed=2), 30)
    pairs = zip(take(stream(), 30), other, strict=True)
    assert not all(torch.equal(a.target, b.target) for a, b in pairs)


@pytest.mark.parametrize("cut_at", [1, 2, 7, 20, 33])
def test_a_stream_that_goes_on_from_its_cursor_is_the_stream_that_never_stopped(cut_at):
    whole = take(stream(), 50)
    source = stream()
    take(source, cut_at)
    assert_batches_equal(take(stream(cursor=source.cursor), 50 - cut_at), whole[cut_at:])


def test_ranks_share_the_lanes_of_one_process():
    whole = take(stream(lanes=4), 40)
    first, second = stream(lanes=4, rows=slice(0, 2)), stream(lanes=4, rows=slice(2, 4))
    for batch in whole:
        a, b = first.next_batch(), second.next_batch()
        assert torch.equal(torch.cat([a.target, b.target]), batch.target)
        assert torch.equal(torch.cat([a.mask, b.mask]), batch.mask)
        assert a.samples == b.samples == batch.samples


def test_without_random_offsets_clips_are_the_same_in_every_epoch():
    source = stream(random_offsets=False, lanes=1)
    starts = []
    while source.epochs < 3:
        batch = source.next_batch()
        if batch.reset[0]:
            starts.append(int(batch.target[0, 0]))
    counts = {start: starts.count(start) for start in starts}
    assert set(counts) == {1, 21, 41, 51, 58, 59, 79}
    assert all(2 <= count <= 3 for count in counts.values())


@pytest.mark.parametrize(("lanes", "seq_len"), [(1, 8), (3, 8), (9, 64), (2, 1)])
def test_finite_batches_give_every_sample_once_and_name_its_clip(lanes, seq_len):
    clips = cut(RECORDINGS, 20)
    seen = {index: [] for index in range(len(clips))}
    for batch in finite_batches(clips, READER, lanes=lanes, seq_len=seq_len):
        assert batch.samples == batch.mask.sum()
        for row, index in enumerate(batch.clips):
            if index is None:
                assert not batch.mask[row].any()
            else:
                seen[index] += batch.target[row][batch.mask[row]].tolist()
    assert list(seen.values()) == [codes(clip) for clip in clips]


def test_nothing_to_train_on_is_refused():
    with pytest.raises(ValueError, match="recordings is empty"):
        LaneStream([], READER, lanes=1, seq_len=8, clip_samples=20, seed=0)
