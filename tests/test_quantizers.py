import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samplewise.audio.write import pcm16
from samplewise.quantizers import DualQuantizer, make_quantizer

QUANTIZERS = [
    make_quantizer(name, q)
    for name, levels in {
        "linear": (2, 6, 100, 250, 256, 1000, 1024, 65536),
        "mulaw": (2, 6, 100, 256, 1024, 65536),
        "mulaw-midtread": (4, 6, 100, 256, 1024, 65536),
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
def test_silence_is_the_middle_code(quantizer):
    assert quantizer.silence == quantizer.q_levels // 2
    assert quantizer.encode(np.zeros(1, np.float32))[0] == quantizer.silence


@each_quantizer
def test_decoding_is_odd(quantizer):
    """About silence if that decodes to 0, else about the edge below it."""
    codes, has_zero = np.arange(quantizer.q_levels), quantizer.name == "mulaw-midtread"
    below = 2 * quantizer.silence - 1 + has_zero - codes[has_zero:]
    np.testing.assert_array_equal(
        quantizer.decode(codes[has_zero:]), -quantizer.decode(below.astype(int))
    )
    assert (quantizer.decode(np.array([quantizer.silence]))[0] == 0) == has_zero


@each_quantizer
def test_full_scale_takes_the_first_and_the_last_code(quantizer):
    codes = quantizer.encode(np.array([-1.0, 1.0], np.float32))
    np.testing.assert_array_equal(codes, [0, quantizer.q_levels - 1])


@each_quantizer
@given(pair=st.tuples(st.floats(-1, 1, width=32), st.floats(-1, 1, width=32)))
def test_a_larger_amplitude_never_has_a_smaller_code(quantizer, pair):
    low, high = quantizer.encode(np.array(sorted(pair), np.float32))
    assert low <= high


@pytest.mark.parametrize(("name", "q"), [("linear", 6), ("linear", 256), ("dual", 65536)])
def test_linear_codes_decode_to_the_middle_and_add_no_constant(name, q):
    quantizer, codes = make_quantizer(name, q), np.arange(q)
    np.testing.assert_array_equal(quantizer.decode(codes), np.float32((codes + 0.5) * 2 / q - 1))
    wave = (np.arange(-3 * q, 3 * q) + 0.5) / (3 * q)  # six of them in every step
    errors = quantizer.decode(quantizer.encode(wave)) - wave
    assert errors.mean() == pytest.approx(0, abs=1e-9)
    assert np.abs(errors).max() < 1 / q


@pytest.mark.parametrize("name", ["linear", "dual"])
def test_networks_see_the_lower_edges_of_linear_codes_as_in_the_official_code(name):
    quantizer = make_quantizer(name, 65536 if name == "dual" else 256)
    codes = np.arange(quantizer.q_levels)
    np.testing.assert_array_equal(quantizer.inputs, codes / quantizer.silence - 1)
    np.testing.assert_array_equal(quantizer.encode(quantizer.inputs), codes)


def test_a_sample_of_16_bits_is_written_as_it_was_read():
    samples = np.arange(-32768, 32768)
    codes = DualQuantizer().encode(np.float32(samples / 32768))
    np.testing.assert_array_equal(pcm16(DualQuantizer().decode(codes)), samples)


def test_mulaw_is_that_of_torchaudio():
    """Golden values of mu_law_encoding and mu_law_decoding with 256 channels, in float32."""
    wave = np.float32([-1, -0.5, -0.1, -0.001, -1e-9, 0, 1e-9, 0.001, 0.1, 0.25, 0.5, 0.99, 1])
    codes = [0, 16, 52, 122, 127, 128, 128, 133, 203, 223, 239, 255, 255]
    quantizer = make_quantizer("mulaw", 256)
    assert quantizer.encode(wave).tolist() == codes
    decoded = quantizer.decode(np.array([0, 16, 127, 128, 203, 254, 255]))
    expected = [-1, -0.49667674, -8.6212e-05, 8.6212e-05, 0.10067459, 0.957274, 1]
    np.testing.assert_allclose(decoded, expected, rtol=2e-5)


@pytest.mark.parametrize("mu", [1, 255])
def test_every_sample_of_16_bits_has_the_mulaw_code_of_the_formula_in_single_precision(mu):
    wave, top = np.float32(np.arange(-32768, 32768) / 32768), np.float32(mu)
    companded = np.sign(wave) * np.log1p(top * np.abs(wave)) / np.log1p(top)
    codes = ((companded + 1) / 2 * top + np.float32(0.5)).astype(np.int64)
    np.testing.assert_array_equal(make_quantizer("mulaw", mu + 1).encode(wave), codes)


@given(x=st.floats(-1, 1, width=32))
def test_the_older_mulaw_chooses_the_nearest_of_its_steps(x):
    quantizer = make_quantizer("mulaw-midtread", 256)
    steps = np.sign(x) * np.log1p(255 * abs(x)) / np.log1p(255) * 128
    nearest = np.abs(np.arange(-128, 128) - steps).min()
    chosen = quantizer.encode(np.array([x], np.float64))[0] - 128
    assert abs(chosen - steps) == pytest.approx(nearest, abs=1e-9)


def test_dual_codes_split_into_two_bytes_and_join_again_for_every_code():
    quantizer = DualQuantizer()
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
    with pytest.raises(ValueError, match="quantizer = 'alaw' must be one of linear, mulaw, "):
        make_quantizer("alaw", 256)
    with pytest.raises(ValueError, match="q_levels = 255 must be even and at least 2"):
        make_quantizer("linear", 255)
    with pytest.raises(ValueError, match="q_levels = 256 must be 65536"):
        make_quantizer("dual", 256)
