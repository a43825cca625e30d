import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from samplewise.audio.level import paper_min_max, peak_gain

FINITE = st.floats(-4, 4, width=32)


def official_codes(wave: np.ndarray) -> np.ndarray:
    """The official code's scaling and linear quantiser, in float64."""
    x01 = (wave.astype(np.float64) - wave.min()) / (float(wave.max()) - float(wave.min()))
    return np.floor(x01 * (256 - 1e-5) + 5e-6).astype(int)


@given(arrays(np.float32, st.integers(2, 200), elements=FINITE))
def test_linear_codes_of_a_paper_scaled_clip_are_those_of_the_official_code(wave):
    if wave.min() == wave.max():
        return
    scaled = paper_min_max(wave)
    in_float32 = np.floor((scaled + np.float32(1)) * np.float32(128)).astype(int)
    assert in_float32.tolist() == official_codes(wave).tolist()
    assert np.abs(scaled).max() <= 1


def test_official_codes_hold_at_every_edge_between_two_codes():
    edges = np.arange(257) / (256 - 1e-5)
    wave = np.concatenate([edges, edges + 1e-12, np.nextafter(edges, 0)]).clip(0, 1)
    scaled = paper_min_max(wave)
    assert np.floor((scaled + np.float32(1)) * 128).astype(int).tolist() == (
        official_codes(wave).tolist()
    )


@pytest.mark.parametrize("value", [0.0, 0.5, -1.0])
def test_a_constant_clip_becomes_silence(value):
    assert not paper_min_max(np.full(10, value, np.float32)).any()


def test_paper_scaling_refuses_what_is_not_finite():
    with pytest.raises(ValueError, match="must be finite"):
        paper_min_max(np.array([0, math.nan], np.float32))


def test_an_empty_clip_stays_empty():
    assert paper_min_max(np.zeros(0, np.float32)).shape == (0,)


@given(st.floats(1e-6, 16))
def test_the_gain_brings_a_peak_to_0_99(peak):
    assert peak * peak_gain(peak) == pytest.approx(0.99)


def test_silence_has_gain_one():
    assert peak_gain(0.0) == 1.0


@pytest.mark.parametrize("peak", [-1.0, math.nan, math.inf])
def test_a_gain_for_an_impossible_peak_is_refused(peak):
    with pytest.raises(ValueError, match=r"peak = .* must be finite"):
        peak_gain(peak)
