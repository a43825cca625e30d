"""Counter-based random numbers: draw t of clip i under seed s is a pure function of (s, i, t).

Philox4x64-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") with

- key     (s, i), two unsigned 64-bit words;
- counter (t // 4 + 1, 0, 0, 0), four of them, the first the least significant;
- output  word t % 4 of the four that the block function gives, shifted right by 40 bits and divided
  by 2**24: a float32 in [0, 1), exact.

The 1 is NumPy's: its generator increments the counter before it makes a block, so draw 0 comes from
counter 1. Thus the words are those of ``np.random.Philox(key=[s, i]).random_raw()``, in order.
"""

import secrets
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

WORDS = 4
"""Random words per counter."""
SHIFT = 40
"""The upper 24 bits of a word are used: as many as a float32 holds."""
LIMIT = 2**64
"""Seeds, clip numbers and four times the counter stay below."""


def uniforms(
    seed: int, clips: Sequence[int], start: int, count: int
) -> Float32[np.ndarray, "clips count"]:
    """Return draws ``start`` to ``start + count`` of each clip, in [0, 1).

    Args:
        seed: In [0, 2**64).
        clips: Number of each clip, in [0, 2**64).
        start: First draw; draw t makes sample t of a clip.
        count: Draws per clip.

    Raises:
        ValueError: If a number is negative or too large.
    """
    check_numbers(seed, clips)
    if start < 0 or count < 0 or start + count > LIMIT:
        raise ValueError(f"start, count = {start}, {count} must lie in [0, 2**64)")
    skipped = start % WORDS
    drawn = np.empty((len(clips), count), np.float32)
    for row, clip in enumerate(clips):
        counter = np.array([start // WORDS, 0, 0, 0], np.uint64)
        philox = np.random.Philox(key=np.array([seed, clip], np.uint64), counter=counter)
        words = philox.random_raw(skipped + count)[skipped:]
        drawn[row] = (words >> np.uint64(SHIFT)).astype(np.float32) * np.float32(2.0**-24)
    return drawn


def pick_seed(seed: int | None) -> int:
    """Return ``seed``, or a random one if it is None."""
    return secrets.randbelow(2**32) if seed is None else seed


def check_numbers(seed: int, clips: Sequence[int]) -> None:
    """Refuse a seed and clips that have no draws.

    Raises:
        ValueError: If a number is outside [0, 2**64).
    """
    for name, value in (("seed", seed), *(("index", clip) for clip in clips)):
        if not 0 <= value < LIMIT:
            raise ValueError(f"{name} = {value} must lie in [0, 2**64)")
