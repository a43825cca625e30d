"""Noise on what the model hears while it trains, so that its own mistakes do not carry it away."""

import torch
from jaxtyping import Int
from torch import Tensor

from samplewise.config.seeds import numpy_generator


def add_noise(
    codes: Int[Tensor, "rows time"],
    deviation: float,
    q_levels: int,
    *,
    seed: int,
    step: int,
    lanes: int,
    rows: slice,
) -> Int[Tensor, "rows time"]:
    """Move every code by a normal deviate, rounded; codes stay within [0, q).

    A pure function of seed, step and lane: resuming, and any number of ranks, gives the same.

    Args:
        codes: Of the lanes ``rows``.
        deviation: Standard deviation, in codes.
        q_levels: Number of codes.
        seed: Of the run.
        step: Of the run.
        lanes: Of all ranks.
        rows: The lanes of this rank.
    """
    shape = lanes, codes.shape[1]
    normal = numpy_generator(seed, "noise", step).standard_normal(shape, dtype="float32")[rows]
    moved = codes + torch.from_numpy(deviation * normal).round().long()
    return moved.clamp_(0, q_levels - 1)
