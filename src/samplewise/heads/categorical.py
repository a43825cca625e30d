"""q-way softmax over codes (Mehri et al. 2017, Eq. 9)."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def categorical_nll(
    logits: Float[Tensor, "batch time q_levels"], target: Int[Tensor, "batch time"]
) -> Float[Tensor, "batch time"]:
    """Return -ln p(target), in nats per sample."""
    flat = F.cross_entropy(logits.float().flatten(0, 1), target.flatten(), reduction="none")
    return flat.view_as(target)


def categorical_log_prob(
    logits: Float[Tensor, "batch q_levels"], code: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Return ln p(code), in nats, in double precision."""
    return logits.double().log_softmax(-1).gather(-1, code.unsqueeze(-1)).squeeze(-1)


def categorical_sample(
    logits: Float[Tensor, "batch q_levels"],
    uniform: Float[Tensor, " batch"],
    temperature: Float[Tensor, " batch"] | None = None,
    min_p: float = 0.0,
) -> Int[Tensor, " batch"]:
    """Draw one code per row by inverting the CDF; a code of probability 0 is never drawn.

    Args:
        logits: Unnormalised log-probabilities.
        uniform: Random numbers in [0, 1).
        temperature: Logits are divided by it; below 1 sharpens. None means 1.
        min_p: Codes at most so many times as probable as the most probable one are not drawn.
    """
    code, _, _ = invert_cdf(logits, uniform, temperature, min_p)
    return code[:, 0]


def invert_cdf(
    logits: Float[Tensor, "batch q_levels"],
    uniform: Float[Tensor, " batch"],
    temperature: Float[Tensor, " batch"] | None,
    min_p: float = 0.0,
) -> tuple[Int[Tensor, "batch 1"], Float[Tensor, "batch q_levels"], Float[Tensor, "batch 1"]]:
    """Return the codes, the CDF, and the place in it that each random number stands for."""
    scaled = logits.double()
    if temperature is not None:
        scaled = scaled / temperature.double().unsqueeze(-1)
    if min_p:
        least = scaled.amax(-1, keepdim=True) + math.log(min_p)
        scaled = scaled.masked_fill(scaled <= least, -math.inf)
    cdf = scaled.softmax(-1).cumsum(-1)
    # Rounding may leave the last value off 1: relative to it, some code is always drawn.
    place = uniform.double().unsqueeze(-1) * cdf[:, -1:]
    # NaN lies beyond every code; :func:`heads.base.check_log_probs` finds it in the scores.
    code = torch.searchsorted(cdf, place, right=True).clamp(max=cdf.shape[-1] - 1)
    return code, cdf, place
