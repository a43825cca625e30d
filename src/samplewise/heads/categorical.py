"""Softmax over q codes (Mehri et al. 2017, Eq. 9), and inversion of its CDF."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from samplewise.heads.base import OneStageHead


class CategoricalHead(OneStageHead):
    """A softmax over q codes; the parameters are its logits."""

    def nll(
        self, params: Float[Tensor, "batch time q_levels"], target: Int[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time"]:
        """Return -ln p(target), in nats per sample."""
        flat = F.cross_entropy(params.float().flatten(0, 1), target.flatten(), reduction="none")
        return flat.view_as(target)

    def log_prob(
        self, params: Float[Tensor, "batch q_levels"], code: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return ln p(code), in nats, in double precision."""
        return params.double().log_softmax(-1).gather(-1, code.unsqueeze(-1)).squeeze(-1)

    def sample(
        self,
        params: Float[Tensor, "batch q_levels"],
        uniform: Float[Tensor, " batch"],
        temperature: Float[Tensor, " batch"] | None = None,
        min_p: float = 0.0,
    ) -> Int[Tensor, " batch"]:
        """Draw one code per row by inverting the CDF; a code of probability 0 is never drawn."""
        code, _, _ = invert_cdf(params, uniform, temperature, min_p)
        return code.squeeze(-1)

    def symbols(self, code: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape 1"]:
        """Return the code itself."""
        return code.unsqueeze(-1)


def invert_cdf(
    logits: Float[Tensor, "batch q_levels"],
    uniform: Float[Tensor, " batch"],
    temperature: Float[Tensor, " batch"] | None,
    min_p: float = 0.0,
) -> tuple[Int[Tensor, "batch 1"], Float[Tensor, "batch q_levels"], Float[Tensor, "batch 1"]]:
    """Invert the CDF of a softmax at random numbers.

    Args:
        logits: Unnormalised log-probabilities.
        uniform: Random numbers in [0, 1).
        temperature: Logits are divided by it. None means 1.
        min_p: As for :meth:`OneStageHead.sample`.

    Returns:
        The codes, the CDF, and the value of the CDF that each random number stands for.
    """
    scaled = logits.double()
    if temperature is not None:
        scaled = scaled / temperature.double().unsqueeze(-1)
    if min_p:
        least = scaled.amax(-1, keepdim=True) + math.log(min_p)
        scaled = scaled.masked_fill(scaled <= least, -math.inf)
    cdf = scaled.softmax(-1).cumsum(-1)
    # Rounding may leave the last value off 1: relative to it, some code is always drawn.
    value = uniform.double().unsqueeze(-1) * cdf[:, -1:]
    # NaN lies beyond every code; :func:`heads.base.check_log_probs` finds it in the scores.
    code = torch.searchsorted(cdf, value, right=True).clamp(max=cdf.shape[-1] - 1)
    return code, cdf, value
