import numpy as np
import pytest
import soundfile
from tests.conftest import SMOKE

from samplewise.audio.descriptors import mel_levels_db
from samplewise.evaluate.log_mel_distance import (
    LEAST_S,
    Moments,
    Projection,
    log_mel_distance,
    part_distances,
    part_vectors,
    total,
)

RATE = 16000


def rng():
    return np.random.default_rng(3)


def piano(index=0):
    return soundfile.read(SMOKE / "train" / f"piano_{index}.flac", dtype="float32")[0]


def moments_of(waves, projection):
    return total([projection.moments(mel_levels_db(wave, RATE)) for wave in waves])


@pytest.fixture(scope="module")
def projection():
    return Projection.fit(Moments.of(part_vectors(mel_levels_db(piano(), RATE))))


@pytest.mark.parametrize("times", [None, [1, 1], [0, 3]])
def test_moments_of_parts_add_up_to_those_of_the_whole(times):
    parts = np.split(rng().normal(size=(3, 50, 4)), [20], axis=1)
    joined = total([Moments.of(part) for part in parts], times)
    repeated = [
        part for part, count in zip(parts, times or [1, 1], strict=True) for _ in range(count)
    ]
    vectors = np.concatenate(repeated, axis=1)
    assert joined.count == vectors.shape[1]
    np.testing.assert_allclose(joined.mean, vectors.mean(axis=1))
    expected = [np.cov(part.T, bias=True) for part in vectors]
    np.testing.assert_allclose(joined.covariance, expected, atol=1e-12)


def test_the_distance_of_independent_gaussians_is_that_of_their_means_and_deviations():
    a, b = rng().normal(size=(2, 1, 400, 3))
    b = 0.5 * b + [1.0, 0.0, -2.0]
    decorrelated = []
    for vectors in (a, b):  # exactly independent, so that the covariances commute
        centred = vectors - vectors.mean(axis=1, keepdims=True)
        root = np.linalg.cholesky(np.cov(centred[0].T, bias=True))
        scale = np.array([1.0, 2.0, 0.5]) if vectors is a else np.array([3.0, 1.0, 1.0])
        white = centred @ np.linalg.inv(root).T
        decorrelated.append(white * scale + vectors.mean(axis=1, keepdims=True))
    means = (a.mean(axis=1) - b.mean(axis=1))[0]
    expected = (np.square(means).sum() + 2.0**2 + 1.0**2 + 0.5**2) / 3
    [distance] = part_distances(*map(Moments.of, decorrelated))
    assert distance == pytest.approx(expected)


def test_the_distance_is_zero_to_itself_and_the_same_both_ways(projection):
    a, b = moments_of([piano()], projection), moments_of([piano(1)], projection)
    assert log_mel_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert log_mel_distance(a, b) == pytest.approx(log_mel_distance(b, a))


def test_components_of_the_corpus_have_nearly_unit_variance_and_no_mean(projection):
    own = moments_of([piano()], projection)
    np.testing.assert_allclose(own.mean, 0, atol=1e-9)
    for covariance in own.covariance:
        variances = np.diag(covariance)
        np.testing.assert_allclose(covariance, np.diag(variances), atol=1e-9)
        assert (variances < 1).all()
        assert variances.max() > 0.95


def test_a_steady_sound_has_neither_attack_nor_change():
    spectrum, attack, second = part_vectors(np.full((60, 40), -20.0))
    assert (spectrum == -20).all()
    assert (attack == 0).all()
    np.testing.assert_allclose(second, 0, atol=1e-12)


def test_a_step_is_an_attack_of_its_height_and_a_change_of_its_height():
    levels = np.where(np.arange(101)[:, None] < 50, -30.0, -10.0) * np.ones((1, 40))
    _, attack, second = part_vectors(levels)  # frames 25 to 75
    assert attack[:, 0].tolist() == [20.0 if 48 <= frame < 52 else 0.0 for frame in range(25, 76)]
    assert second[25, 0] == pytest.approx(20.0)
    assert second[0, 0] == pytest.approx(1.0)  # one of twenty frames after lies behind the step


def test_a_sound_of_the_least_length_has_one_vector():
    for frames, count in ((50, 0), (51, 1), (52, 2)):
        assert part_vectors(np.zeros((frames, 40))).shape == (3, count, 40)
    assert pytest.approx(51 * 0.02) == LEAST_S


def test_more_hiss_is_farther_away(projection):
    target = moments_of([piano()], projection)
    wave, hiss = piano(), rng().normal(size=len(piano())) * piano().std()
    distances = [
        log_mel_distance(moments_of([wave + 10 ** (-db / 20) * hiss], projection), target)
        for db in (40, 30, 20, 10, 0)
    ]
    assert distances == sorted(distances)
    assert distances[0] > 0
