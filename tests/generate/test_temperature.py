import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samplewise.generate.temperature import CONSTANT, Envelope, parse_envelope


def test_one_number_is_a_fixed_temperature():
    assert parse_envelope(" 0.95 ") == Envelope((0.0,), (0.95,))
    assert np.array_equal(parse_envelope("0.95").at(10**9, 3, 16000), [0.95] * 3)
    assert np.array_equal(CONSTANT.at(0, 2, 16000), [1, 1])


def test_between_points_it_is_a_straight_line_and_beyond_them_it_is_held():
    envelope = parse_envelope("1:0.8, 5:1.2,10:0.9")
    assert envelope.at(0, 1, 1000) == pytest.approx(0.8)
    assert envelope.at(3000, 1, 1000) == pytest.approx(1.0)
    assert envelope.at(7500, 1, 1000) == pytest.approx(1.05)
    assert envelope.at(10**8, 1, 1000) == pytest.approx(0.9)


@given(start=st.integers(0, 100), count=st.integers(0, 100))
def test_a_slice_of_an_envelope_equals_the_whole(start, count):
    envelope = parse_envelope("0:0.5,0.1:1.5,0.15:1")
    whole = envelope.at(0, 200, 1000)
    assert np.array_equal(envelope.at(start, count, 1000), whole[start : start + count])


points = st.lists(
    st.tuples(st.floats(0, 1e6), st.floats(1e-3, 10)),
    min_size=1, max_size=5, unique_by=lambda point: point[0],
)  # fmt: skip


@given(points)
def test_the_text_of_an_envelope_is_read_back(pairs):
    envelope = Envelope(*map(tuple, zip(*sorted(pairs), strict=True)))
    again = parse_envelope(str(envelope))
    assert np.array_equal(again.at(0, 50, 7), envelope.at(0, 50, 7))


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("", "'' in '' is not a number"),
        ("hot", "'hot' in 'hot' is not a number"),
        ("0:0.8,5", "'5' is not SECONDS:TEMPERATURE"),
        ("0:0.8,,5:1", "'' is not SECONDS:TEMPERATURE"),
        ("0:0.8,x:1", "'x' in 'x:1' is not a number"),
        ("0:0.8,5:", "'' in '5:' is not a number"),
        ("0:1:2", "'1:2' in '0:1:2' is not a number"),
        ("nan", "'nan' in 'nan' is not a number"),
        ("0:0.8,-1:1", "the time in '-1:1' must be at least 0"),
        ("0", "0 in '0' must be above 0 and at most 10"),
        ("0:1,3:10.5", "10.5 in '3:10.5' must be above 0 and at most 10"),
        ("0:1e999", "inf in '0:1e999' must be above 0"),
        ("5:1,5:2", "5 s comes after 5 s; put times in order"),
        ("5:1,2:2", "2 s comes after 5 s"),
    ],
)
def test_a_wrong_piece_is_named(text, piece):
    with pytest.raises(ValueError, match="temperature: ") as caught:
        parse_envelope(text)
    assert piece in str(caught.value)
