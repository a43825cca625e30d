import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samplewise.quantize.build import make_quantizer
from samplewise.quantize.dual import Dual

QUANTIZERS = [
    make_quantizer(name, q)
    for name, levels in {
        "linear": (2, 6, 100, 250, 256, 1000, 1024, 65536),
        "mulaw": (4, 6, 100, 256, 1024, 65536),
        "dual": (65536,),
    }.items()
    for q in levels
]
each_quantizer = pytest.mark.parametrize(
    "quantizer", QUANTIZERS, ids=[f"{q.name}-{q.q_levels}" for q in QUANTIZERS]
)


@each_quantizer
def test_encoding_the_decoded_code_gives_the_code_for_every_code(quantizer):
    codes = np.arange(quantizer.q_levels)
    np.testing.assert_array_equal(quantizer.encode(quantizer.decode(codes)), codes)


@each_quantizer
def test_decoding_keeps_the_order_of_codes(quantizer):
    assert (np.diff(quantizer.decode(np.arange(quantizer.q_levels))) > 0).all()


@each_quantizer
def test_silence_is_the_middle_code_and_decodes_to_exactly_zero(quantizer):
    assert quantizer.silence == quantizer.q_levels // 2
    assert quantizer.encode(np.zeros(1, np.float32))[0] == quantizer.silence
    assert quantizer.decode(np.array([quantizer.silence]))[0] == 0.0


@each_quantizer
def test_decoding_is_odd_about_silence(quantizer):
    offsets = np.arange(quantizer.q_levels // 2)
    above = quantizer.decode(quantizer.silence + offsets)
    below = quantizer.decode(quantizer.silence - offsets)
    np.testing.assert_array_equal(above, -below)


@each_quantizer
def test_full_scale_takes_the_first_and_the_last_code(quantizer):
    codes = quantizer.encode(np.array([-1.0, 1.0], np.float32))
    np.testing.assert_array_equal(codes, [0, quantizer.q_levels - 1])


@each_quantizer
@given(pair=st.tuples(st.floats(-1, 1, width=32), st.floats(-1, 1, width=32)))
def test_a_larger_amplitude_never_has_a_smaller_code(quantizer, pair):
    low, high = quantizer.encode(np.array(sorted(pair), np.float32))
    assert low <= high


@given(x=st.floats(-1, 0.984375, width=32))
def test_linear_decodes_to_within_one_step_below(x):
    quantizer = make_quantizer("linear", 256)
    decoded = float(quantizer.decode(quantizer.encode(np.array([x], np.float32)))[0])
    assert -1e-12 < x - decoded < 1 / 128 + 1e-12  # denormals below 0 may count as 0


@given(x=st.floats(-1, 1, width=32))
def test_mulaw_chooses_the_code_nearest_on_the_companded_scale(x):
    quantizer = make_quantizer("mulaw", 256)
    steps = np.sign(x) * np.log1p(255 * abs(x)) / np.log1p(255) * 128
    nearest = np.abs(np.arange(-128, 128) - steps).min()
    chosen = quantizer.encode(np.array([x], np.float64))[0] - 128
    assert abs(chosen - steps) == pytest.approx(nearest, abs=1e-9)


def test_dual_codes_split_into_two_bytes_and_join_again_for_every_code():
    quantizer = Dual()
    codes = np.arange(65536)
    coarse, fine = quantizer.split(codes)
    assert coarse.max() == fine.max() == 255
    np.testing.assert_array_equal(quantizer.join(coarse, fine), codes)
    # The coarse byte alone is the 8-bit linear code of the same amplitude.
    wave = quantizer.decode(codes)
    np.testing.assert_array_equal(coarse, make_quantizer("linear", 256).encode(wave))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1.0001, -1.5])
def test_what_is_not_an_amplitude_is_refused(bad):
    with pytest.raises(ValueError, match=r"wave must lie in \[-1, 1\], but its peak is"):
        make_quantizer("mulaw", 256).encode(np.array([0.0, bad]))


def test_codes_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"codes range from -1 to 256, not within \[0, 256\)"):
        make_quantizer("linear", 256).decode(np.array([-1, 256]))


def test_impossible_quantizers_are_refused():
    with pytest.raises(ValueError, match="quantizer = 'alaw' must be one of linear, mulaw, dual"):
        make_quantizer("alaw", 256)
    with pytest.raises(ValueError, match="q_levels = 255 must be even and at least 2"):
        make_quantizer("linear", 255)
    with pytest.raises(ValueError, match="q_levels = 256 must be 65536"):
        make_quantizer("dual", 256)
