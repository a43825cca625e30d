import numpy as np
import pytest
from tests.evaluate.small import make_corpus

from samplewise.audio.level import LevelRange, paper_min_max
from samplewise.audio.noise import measure_noise, noise_range
from samplewise.data.tiles import read_tiles, training_level, training_noise

CORPUS = make_corpus({"train": [70, 5, 90, 31], "test": [12]})
WHOLE = np.concatenate([CORPUS.amplitude(recording) for recording in CORPUS.split("train")])


@pytest.mark.parametrize("samples", [1, 50, 98, 196])
def test_tiles_are_the_recordings_end_to_end(samples):
    tiles = list(read_tiles(CORPUS, "train", samples, "keep"))
    assert len(tiles) == 196 // samples
    np.testing.assert_array_equal(np.concatenate(tiles), WHOLE[: len(tiles) * samples])


def test_overlapping_tiles_begin_where_the_next_second_does():
    tiles = list(read_tiles(CORPUS, "train", 40, "keep", overlap=10))
    starts = range(0, 196 - 40 + 1, 30)
    assert len(tiles) == len(starts)
    for start, tile in zip(starts, tiles, strict=True):
        np.testing.assert_array_equal(tile, WHOLE[start : start + 40])


def test_a_few_tiles_are_evenly_spread():
    every, few = (list(read_tiles(CORPUS, "train", 10, "keep", most)) for most in (None, 4))
    assert len(every) == 19
    for index, tile in zip((0, 4, 9, 14), few, strict=True):
        np.testing.assert_array_equal(tile, every[index])


def test_a_split_shorter_than_a_tile_has_none():
    assert list(read_tiles(CORPUS, "test", 13, "keep")) == []
    assert list(read_tiles(CORPUS, "valid", 13, "keep")) == []


def test_at_level_paper_each_tile_has_full_scale():
    [tile] = read_tiles(CORPUS, "train", 100, "paper")
    np.testing.assert_array_equal(tile, paper_min_max(WHOLE[:100]))


def test_the_noise_of_the_training_split_is_that_of_its_tiles():
    corpus = make_corpus({"train": [3000, 6000], "test": [100]})
    tiles = read_tiles(corpus, "train", 9000 // 8, "keep")
    expected = noise_range([measure_noise(tile, corpus.sample_rate) for tile in tiles])
    assert expected is not None
    assert training_noise(corpus, "keep") == expected
    assert training_noise(make_corpus({"train": [8 * 128 - 1]}), "keep") is None


def test_the_level_of_the_training_split_is_that_of_its_seconds():
    corpus = make_corpus({"train": [30_000, 35_000], "test": [100]})
    rate = corpus.sample_rate
    wave = np.concatenate([corpus.amplitude(recording) for recording in corpus.split("train")])
    seconds = wave[: len(wave) // rate * rate].reshape(-1, rate)
    levels = 10 * np.log10((seconds.astype(float) ** 2).mean(1))
    expected = LevelRange(*np.percentile(levels, [5, 75]))
    found = training_level(corpus, "keep")
    assert (found.low_db, found.high_db) == pytest.approx((expected.low_db, expected.high_db))
    assert training_level(make_corpus({"train": [rate - 1]}), "keep") is None
