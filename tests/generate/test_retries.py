from dataclasses import replace

import numpy as np
import pytest

from samplewise.generate.clips import Clip
from samplewise.generate.retries import check_retries, redraw_flagged, retry_seed

SEED = 9
SEEDS = [SEED, *(retry_seed(SEED, retry) for retry in (1, 2, 3))]


def take(seed, index, flags):
    silence = np.zeros(10, np.float32)
    return Clip(index, seed, silence, 1000, np.zeros(10, np.int64), -1.0, flags)


class Model:
    """Draws takes whose flags are known, and counts the draws."""

    def __init__(self, flags):
        self.flags, self.drawn = flags, []

    def draw(self, *, indices, seed):
        self.drawn.append((seed, list(indices)))
        return [take(seed, i, self.flags.get((SEEDS.index(seed), i), ())) for i in indices]

    def clips(self, count, retries):
        return list(redraw_flagged(self.draw, range(count), SEED, retries))


FLAGS = {
    (0, 1): ("noise",),
    (0, 2): ("noise", "stuck"),
    (1, 2): ("stuck",),
    (2, 2): ("noise", "stuck"),
}


def test_a_flagged_clip_is_drawn_with_the_next_seed_until_it_has_no_flag():
    model = Model(FLAGS)
    clips = model.clips(4, retries=3)
    assert [(clip.index, SEEDS.index(clip.seed), clip.retries) for clip in clips] == [
        (0, 0, 0),
        (3, 0, 0),
        (1, 1, 1),
        (2, 3, 3),
    ]
    assert model.drawn[1:] == [(SEEDS[1], [1, 2]), (SEEDS[2], [2]), (SEEDS[3], [2])]
    assert not any(clip.flags for clip in clips)


def test_after_the_last_retry_the_take_with_the_fewest_flags_is_kept():
    last = Model(FLAGS).clips(3, retries=2)[-1]
    assert (last.flags, last.seed, last.retries) == (("stuck",), SEEDS[1], 2)


def test_without_retries_nothing_is_drawn_again():
    model = Model(FLAGS)
    assert [clip.seed for clip in model.clips(3, retries=0)] == [SEED] * 3
    assert len(model.drawn) == 1


def test_seeds_of_retries_differ_from_each_other_and_follow_from_the_first():
    assert len({retry_seed(seed, retry) for seed in (0, 1) for retry in (1, 2, 3)}) == 6
    assert retry_seed(0, 1) == retry_seed(0, 1)


@pytest.mark.parametrize("retries", [-1, 101])
def test_the_number_of_retries_is_checked(retries):
    with pytest.raises(ValueError, match=f"retry_flagged = {retries} must lie in 0 to 100"):
        check_retries(retries)


def test_a_looped_clip_keeps_its_codes():
    wave = 0.5 * np.sin(np.arange(1000) * 2 * np.pi / 50).astype(np.float32)
    clip = replace(take(1, 0, ()), samples=wave)
    looped = clip.looped()
    assert looped.loop is not None
    np.testing.assert_array_equal(looped.samples, looped.loop.wave)
    assert len(looped.samples) % 50 == 0
    np.testing.assert_array_equal(looped.codes, clip.codes)
