import io
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from samplewise import plots
from samplewise.plots.curves import CURVES_SIZE, bits_range, move_apart, smooth
from samplewise.plots.sound import loudest
from samplewise.plots.spectrum import MAX_COLUMNS

RATE = 8000


def tone(hz: float, seconds: float, amplitude: float = 1.0) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * hz * time)).astype(np.float32)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def curve(values: list[float]) -> plots.Curve:
    steps = np.arange(1, len(values) + 1, dtype=float)
    return plots.Curve(steps, steps / 3600, np.array(values, dtype=float))


@pytest.mark.parametrize("bins", [3, 40, 200])
def test_a_tone_has_its_maximum_at_its_own_bin_and_the_level_of_its_amplitude(bins):
    hz = bins * RATE / 512
    times, frequencies, level = plots.spectrogram_db(tone(hz, 1.0, 0.1), RATE, window=512)
    inner = level[4:-4]
    assert (inner.argmax(axis=1) == bins).all()
    assert frequencies[bins] == hz
    np.testing.assert_allclose(inner[:, bins], -20.0, atol=0.01)
    assert times[1] - times[0] == 512 / 4 / RATE


def test_a_click_is_loudest_in_the_column_at_its_time():
    wave = np.zeros(RATE, np.float32)
    wave[5120] = 1.0
    times, _, level = plots.spectrogram_db(wave, RATE)
    assert times[level.sum(axis=1).argmax()] == 5120 / RATE


def test_twice_the_amplitude_is_six_decibels_everywhere():
    wave = np.random.default_rng(0).normal(size=4000).astype(np.float32) * 0.1
    once, twice = (plots.spectrogram_db(wave * factor, RATE)[2] for factor in (1, 2))
    np.testing.assert_allclose(twice - once, 20 * np.log10(2), atol=1e-6)


def test_a_long_wave_is_pooled_and_keeps_its_level_and_its_length():
    wave = tone(1000, 60.0, 0.1)
    times, frequencies, level = plots.spectrogram_db(wave, RATE, window=512)
    assert MAX_COLUMNS / 2 < len(times) <= MAX_COLUMNS
    assert times[-1] == pytest.approx(60.0, abs=0.1)
    np.testing.assert_allclose(level[2:-2, frequencies == 1000], -20.0, atol=0.01)


def test_a_wave_with_nan_is_refused():
    with pytest.raises(ValueError, match="NaN or infinity"):
        plots.spectrogram_png([("", np.array([0.0, np.nan], np.float32))], RATE)


@pytest.mark.parametrize("draw", [plots.spectrogram_png, plots.waveform_png])
def test_a_picture_of_no_wave_is_refused(draw):
    with pytest.raises(ValueError, match="no wave"):
        draw([], RATE)


@pytest.mark.parametrize("length", [0, 1, 100, 3 * RATE])
@pytest.mark.parametrize("draw", [plots.spectrogram_png, plots.waveform_png])
def test_pictures_of_sound_have_the_claimed_size_whatever_the_length(draw, length):
    png = draw([("", np.zeros(length, np.float32))], RATE, panel_height=200)
    assert Image.open(io.BytesIO(png)).size == (plots.SPECTROGRAM_WIDTH, 200)


def test_the_other_pictures_have_the_claimed_size():
    scores = plots.scores_png(2.0, {"uniform": 8.0, "unigram": 5.0})
    assert Image.open(io.BytesIO(scores)).size == (1000, 3 * 52)
    curves = plots.curves_png(curve([3.0, 2.0]), curve([2.5]))
    assert Image.open(io.BytesIO(curves)).size == CURVES_SIZE


def test_silence_leaves_the_paper_white_and_a_tone_inks_the_row_of_its_frequency():
    left, right = plots.SPECTROGRAM_LEFT + 4, plots.SPECTROGRAM_WIDTH - 40
    silent, loud = (
        pixels(plots.spectrogram_png([("", tone(1000, 2.0, amplitude))], RATE))[12:250]
        for amplitude in (0.0, 0.5)
    )
    assert (silent[:, left:right] == 255).all()
    dark = loud[:, left:right].sum(axis=(1, 2)).argmin() / 240  # from the top, 0 to 1
    expected = np.log(4000 / 1000) / np.log(4000 / 50)
    assert dark == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    "title", ["a $\\frac$", "😀\n\tline", "<script>", "漢字\x00\x07", "é" * 500]
)
def test_titles_from_files_are_drawn_without_a_warning(title):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        png = plots.spectrogram_png([(title, tone(500, 0.1))], RATE, panel_height=100)
    assert not caught
    assert pixels(png)[2:34, :400].min() < 128  # there is ink where the title is


def test_names_of_baselines_are_not_read_as_formulas():
    names = {"$\\frac$ 😀\n漢": 5.0, "$x_1$": 4.0, "uniform": 8.0}
    assert plots.scores_png(2.0, names)
    assert plots.curves_png(curve([6.0, 3.0]), curve([2.5]), None, names)


def test_the_loudest_stretch_is_found():
    wave = np.full(1000, 0.1, np.float32)
    wave[600:700] = 0.5
    assert loudest(wave, 100) == (600, 700)
    assert loudest(wave, 2000) == (0, 1000)


def test_bars_are_as_long_as_their_bits():
    image = pixels(plots.scores_png(2.0, {"uniform": 8.0, "unigram": 4.0}))
    first = 242  # the axis is at 240
    widths = []
    for row in (26, 78, 130):
        inked = (image[row, first:] < 220).any(axis=1)
        widths.append(int(np.argmin(inked)))
    assert widths[0] == pytest.approx(638, abs=3)
    np.testing.assert_allclose(widths, [638, 318, 158], atol=3)


@pytest.mark.parametrize(
    ("train", "valid", "baselines"),
    [
        ([], [], {}),
        ([3.0], [], {"uniform": 8.0}),
        ([], [2.2], {"a $b": 2.2}),
        ([8.0, np.nan, 2.0, 2.1], [2.2], {"uniform": 8.0, "b": 2.51, "c": 2.5}),
    ],
)
def test_curves_are_drawn_of_whatever_there_is(train, valid, baselines):
    png = plots.curves_png(curve(train), curve(valid), curve([]), baselines)
    assert Image.open(io.BytesIO(png)).size == CURVES_SIZE


def test_the_range_shows_the_end_of_training_and_the_baselines_but_not_a_spike():
    train = np.concatenate([[60.0], np.linspace(3, 2, 99)])
    low, high = bits_range(train, np.array([2.4, 2.2]), {"uniform": 8.0, "bigram": 4.0})
    assert low < 2.0
    assert 4.0 < high < 6.0


def test_the_mean_of_a_constant_is_the_constant_and_a_gap_stays_a_gap():
    values = np.full(400, 3.0)
    values[[0, 7, 399]] = np.nan
    np.testing.assert_allclose(smooth(values), values, rtol=1e-12)


def test_the_mean_is_not_late():
    values = np.linspace(5, 2, 301)
    np.testing.assert_allclose(smooth(values)[10:-10], values[10:-10], rtol=1e-9)


@given(st.lists(st.floats(0, 10), max_size=6), st.floats(0.01, 1))
def test_spread_labels_keep_their_order_and_never_overlap(places, gap):
    moved = move_apart(places, gap)
    order = np.argsort(places, kind="stable")
    assert (np.diff(np.array(moved)[order]) >= gap - 1e-9).all()
    assert all(new >= old for new, old in zip(moved, places, strict=True))
