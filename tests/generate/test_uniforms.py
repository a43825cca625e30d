import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samplewise.generate.uniforms import uniforms

MASK = 2**64 - 1


def philox4x64(counter, key, rounds=10):
    """The block function as published (Salmon et al. 2011), in whole numbers."""
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(rounds):
        product0, product1 = 0xD2E7470EE14C6C93 * x0, 0xCA5A826395121157 * x2
        x0, x1, x2, x3 = (
            (product1 >> 64) ^ x1 ^ k0, product1 & MASK,
            (product0 >> 64) ^ x3 ^ k1, product0 & MASK,
        )  # fmt: skip
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return x0, x1, x2, x3


def test_the_slow_philox_gives_the_published_known_answers():
    # kat_vectors of Random123.
    assert philox4x64((0, 0, 0, 0), (0, 0)) == (
        0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B,
    )  # fmt: skip
    assert philox4x64((MASK,) * 4, (MASK,) * 2) == (
        0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0,
    )  # fmt: skip


@given(seed=st.integers(0, MASK), clip=st.integers(0, MASK), draw=st.integers(0, 2**40))
def test_every_draw_is_the_block_function_of_seed_clip_and_its_own_number(seed, clip, draw):
    word = philox4x64((draw // 4 + 1, 0, 0, 0), (seed, clip))[draw % 4]
    assert uniforms(seed, [clip], draw, 1).item() == (word >> 40) / 2**24


@given(start=st.integers(0, 60), count=st.integers(0, 60))
def test_a_slice_anywhere_equals_the_whole(start, count):
    whole = uniforms(7, [3, 0, 9], 0, 120)
    part = uniforms(7, [3, 0, 9], start, count)
    assert np.array_equal(part, whole[:, start : start + count])


def test_a_clip_does_not_depend_on_the_others():
    batch = uniforms(7, range(64), 5, 20)
    assert all(np.array_equal(uniforms(7, [i], 5, 20)[0], batch[i]) for i in range(64))
    assert len({row.tobytes() for row in batch}) == 64
    assert not np.array_equal(uniforms(8, range(64), 5, 20), batch)


def test_draws_are_uniform_and_independent():
    drawn = uniforms(0, range(40), 0, 10_000)
    assert drawn.dtype == np.float32
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts = np.bincount((drawn.ravel() * 256).astype(int), minlength=256)
    expected = drawn.size / 256
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert 255 - 5 * np.sqrt(2 * 255) < chi_squared < 255 + 5 * np.sqrt(2 * 255)
    within = np.corrcoef(drawn[:, :-1].ravel(), drawn[:, 1:].ravel())[0, 1]
    between = np.corrcoef(drawn[:-1].ravel(), drawn[1:].ravel())[0, 1]
    assert max(abs(within), abs(between)) < 5 / np.sqrt(drawn.size)


@pytest.mark.parametrize(
    ("seed", "clips", "start", "count", "message"),
    [
        (-1, [0], 0, 1, r"seed = -1 must lie in \[0, 2\*\*64\)"),
        (2**64, [0], 0, 1, "seed = 18446744073709551616"),
        (0, [0, -3], 0, 1, "index = -3"),
        (0, [0], -1, 1, "start, count = -1, 1"),
    ],
)
def test_numbers_out_of_range_are_refused(seed, clips, start, count, message):
    with pytest.raises(ValueError, match=message):
        uniforms(seed, clips, start, count)
