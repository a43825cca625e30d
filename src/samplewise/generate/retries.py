"""Retries: flagged clips are drawn again."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from samplewise.config.seeds import derive
from samplewise.generate.clips import Clip

MOST_RETRIES = 100


def check_retries(retries: int) -> None:
    """Check a number of retries.

    Raises:
        ValueError: If it is negative or above 100.
    """
    if not 0 <= retries <= MOST_RETRIES:
        raise ValueError(f"retry_flagged = {retries} must lie in 0 to {MOST_RETRIES}")


def retry_seed(seed: int, retry: int) -> int:
    """Return the seed of retry 1, 2, ... to draw a clip again."""
    return derive(seed, "retry", retry)


def redraw_flagged(
    draw: Callable[..., Iterable[Clip]], indices: Sequence[int], seed: int, retries: int
) -> Iterator[Clip]:
    """Draw clips; those with a flag are drawn again, those of one retry together, and come last.

    A clip that is flagged every time is the take with the fewest flags, the earliest of these.

    Args:
        draw: Draws clips, in order; called with ``indices`` and ``seed``.
        indices: Index of each clip.
        seed: The first seed.
        retries: How often a clip is drawn again at most.
    """
    flagged: list[Clip] = []
    for clip in draw(indices=indices, seed=seed):
        if clip.flags and retries:
            flagged.append(clip)
        else:
            yield clip
    for retry in range(1, retries + 1):
        if not flagged:
            return
        again = draw(indices=[clip.index for clip in flagged], seed=retry_seed(seed, retry))
        kept: list[Clip] = []
        for before, clip in zip(flagged, again, strict=True):
            best = min(before, clip, key=lambda take: len(take.flags))
            best = replace(best, retries=retry)
            if best.flags:
                kept.append(best)
            else:
                yield best
        flagged = kept
    yield from flagged
