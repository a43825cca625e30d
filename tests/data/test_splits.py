import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from samplewise.data.splits import (
    Piece,
    Shares,
    cut,
    folder_split,
    has_split_folders,
    split_by_folder,
    split_by_recording,
)
from samplewise.errors import CorpusError

RATE = 1000
LENGTHS = st.dictionaries(
    st.text("0123456789abcdef", min_size=8, max_size=8), st.integers(50, 600_000), min_size=1
)
HELD_OUT = {"valid": 0.06, "test": 0.06}


def seconds(plan, split):
    return sum(p.samples for pieces in plan.values() for p in pieces if p.split == split) / RATE


@given(LENGTHS, st.integers(0, 5))
def test_pieces_lie_in_order_without_overlap_and_each_split_has_some(lengths, seed):
    plan = split_by_recording(lengths, Shares(seed=seed), RATE)
    assert plan.keys() == lengths.keys()
    for key, pieces in plan.items():
        ends = [piece.offset + piece.samples for piece in pieces]
        assert [0, *ends[:-1]] <= [piece.offset for piece in pieces]
        assert all(end < after.offset for end, after in zip(ends[:-1], pieces[1:], strict=True))
        assert ends[-1] == lengths[key]
        assert all(piece.samples > 0 for piece in pieces)
    if max(lengths.values()) > 2 * RATE:
        assert all(seconds(plan, split) > 0 for split in ("train", "valid", "test"))
    assert seconds(plan, "train") >= 0.45 * sum(lengths.values()) / RATE


@given(LENGTHS)
def test_neither_order_nor_company_of_names_decides(lengths):
    backwards = dict(reversed(list(lengths.items())))
    assert split_by_recording(lengths, Shares(), RATE) == split_by_recording(
        backwards, Shares(), RATE
    )


@given(LENGTHS, LENGTHS)
def test_recordings_that_come_later_leave_earlier_ones_where_they_were(first, second):
    before = split_by_recording(first, Shares(), RATE)
    after = split_by_recording(second | first, Shares(), RATE, before)
    assert all(after[key] == pieces for key, pieces in before.items())


@given(LENGTHS, st.integers(0, 5), st.sampled_from([0.06, 0.2, 0.3]))
def test_each_split_reaches_half_its_share(lengths, seed, share):
    assume(max(lengths.values()) > 20 * RATE)  # gaps are little of it
    plan = split_by_recording(lengths, Shares(share, share, seed), RATE)
    least = 0.45 * share * sum(lengths.values()) / RATE
    assert min(seconds(plan, "valid"), seconds(plan, "test")) >= least


def test_what_is_silent_counts_for_no_split():
    lengths = {f"{i:08x}": 30 * RATE for i in range(12)}
    silent = list(lengths)[:2]
    for seed in range(8):
        plan = split_by_recording(lengths, Shares(seed=seed), RATE, silent=silent)
        assert {p.split for key in silent for p in plan[key]} == {"train"}
    earlier = {silent[0]: (Piece(0, 30 * RATE, "valid"),)}  # by an earlier version
    plan = split_by_recording(lengths, Shares(), RATE, earlier, silent)
    assert plan[silent[0]] == earlier[silent[0]]
    assert seconds(plan, "valid") == 60


def test_a_split_that_had_a_jingle_is_filled_up():
    lengths = {"jingle": RATE} | {f"{i:08x}": 30 * RATE for i in range(10)}
    earlier = {"jingle": (Piece(0, RATE, "valid"),)}
    plan = split_by_recording(lengths, Shares(), RATE, earlier)
    assert (seconds(plan, "valid"), seconds(plan, "test")) == (31, 30)


def test_many_recordings_are_split_by_seconds_and_whole():
    lengths = {f"{i:08x}": 20_000 + 37 * (i * i % 400) for i in range(300)}
    plan = split_by_recording(lengths, Shares(), RATE)
    total = sum(lengths.values()) / RATE
    assert all(len(pieces) == 1 for pieces in plan.values())
    assert seconds(plan, "valid") == pytest.approx(0.06 * total, rel=0.1)
    assert seconds(plan, "test") == pytest.approx(0.06 * total, rel=0.1)


def test_the_seed_changes_what_is_held_out():
    lengths = {f"{i:08x}": 20_000 for i in range(100)}
    plans = [split_by_recording(lengths, Shares(seed=seed), RATE) for seed in (0, 1)]
    assert plans[0] != plans[1]


def test_one_long_recording_is_cut_with_a_second_between_the_parts():
    (pieces,) = split_by_recording({"a": 100 * RATE}, Shares(), RATE).values()
    assert [piece.split for piece in pieces] == ["train", "valid", "test"]
    train, valid, test = pieces
    assert valid.offset - train.samples == RATE
    assert test.offset - (valid.offset + valid.samples) == RATE
    assert valid.samples == test.samples == round(0.06 * 98 * RATE)
    assert test.offset + test.samples == 100 * RATE


def test_a_recording_that_outweighs_all_others_is_cut():
    lengths = {"long": 1000 * RATE, "b": 2 * RATE, "c": 2 * RATE}
    plan = split_by_recording(lengths, Shares(), RATE)
    assert len(plan["long"]) == 3
    assert plan["b"] == (Piece(0, 2 * RATE, "train"),)


def test_four_equal_recordings_are_not_cut():
    plan = split_by_recording(dict.fromkeys("abcd", 100 * RATE), Shares(), RATE)
    assert sorted(p.split for pieces in plan.values() for p in pieces) == [
        "test",
        "train",
        "train",
        "valid",
    ]


def test_what_is_shorter_than_a_second_is_not_cut():
    assert cut(RATE - 1, HELD_OUT, RATE) == (Piece(0, RATE - 1, "train"),)
    assert len(cut(RATE, HELD_OUT, RATE)) == 3


def test_nothing_is_held_out_when_nothing_is_asked_for():
    plan = split_by_recording(dict.fromkeys("abc", 5 * RATE), Shares(0.0, 0.0), RATE)
    assert seconds(plan, "train") == 15


@pytest.mark.parametrize("shares", [(-0.1, 0.1), (0.5, 0.5), (float("nan"), 0.0)])
def test_impossible_shares_are_refused(shares):
    with pytest.raises(ValueError, match=r"valid, test = .* must not be negative"):
        Shares(*shares)


def test_folders_name_splits_in_any_of_the_usual_ways():
    assert [folder_split(s) for s in ("Train/a", "val/b", "validation/x/c", "test/d")] == [
        "train",
        "valid",
        "valid",
        "test",
    ]
    assert [folder_split(source) for source in ("train", "other/train/a", "a.wav")] == [None] * 3


@given(st.lists(st.sampled_from(["train/a", "valid/b", "test/c", "d"]), max_size=5))
def test_folders_count_only_when_all_three_are_there(sources):
    assert has_split_folders(sources) == ({"train/a", "valid/b", "test/c"} <= set(sources))


def test_folders_are_taken_as_they_are():
    lengths = {"train/a": 5, "val/b": 7, "test/c": 9}
    assert split_by_folder(lengths) == {
        "train/a": (Piece(0, 5, "train"),),
        "val/b": (Piece(0, 7, "valid"),),
        "test/c": (Piece(0, 9, "test"),),
    }


def test_a_folder_with_nothing_usable_is_an_error():
    with pytest.raises(CorpusError, match="the folder for test holds no usable recording"):
        split_by_folder({"train/a": 5, "val/b": 7})


@given(LENGTHS)
def test_by_recording_no_source_crosses_splits_unless_it_is_cut(lengths):
    plan = split_by_recording(lengths, Shares(), RATE)
    cut_ones = [pieces for pieces in plan.values() if len(pieces) > 1]
    assume(cut_ones)
    assert len(cut_ones) == 1
    assert sum(p.samples for p in cut_ones[0]) < max(lengths.values())
