"""16 bits as two softmaxes over 8 bits: coarse, then fine (Kalchbrenner et al. 2018, section 2).

The parameters of a sample are the logits of its coarse code, then those of its fine code given the
coarse one.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from samplewise.heads.categorical import categorical_log_prob, categorical_nll, invert_cdf
from samplewise.quantizers import FINE_LEVELS


def dual_nll(
    params: Float[Tensor, "batch time 512"], target: Int[Tensor, "batch time"]
) -> Float[Tensor, "batch time"]:
    """Return -ln p(coarse) - ln p(fine given coarse), in nats per sample."""
    coarse, fine = params.chunk(2, -1)
    return categorical_nll(coarse, target // FINE_LEVELS) + categorical_nll(
        fine, target % FINE_LEVELS
    )


def dual_log_prob(
    params: Float[Tensor, "batch 512"], code: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Return ln p(code), in nats, in double precision."""
    coarse, fine = params.chunk(2, -1)
    return categorical_log_prob(coarse, code // FINE_LEVELS) + categorical_log_prob(
        fine, code % FINE_LEVELS
    )


def sample_with_rest(
    logits: Float[Tensor, "batch q_levels"],
    uniform: Float[Tensor, " batch"],
    temperature: Float[Tensor, " batch"] | None = None,
    min_p: float = 0.0,
) -> tuple[Int[Tensor, " batch"], Float[Tensor, " batch"]]:
    """Draw one code per row by inverting the CDF, and return what is left of the random number.

    Where the number lies within the share of the code is uniform again, in [0, 1): it makes the
    next stage's draw, so that a sample takes one random number however many stages it has.
    """
    code, cdf, place = invert_cdf(logits, uniform, temperature, min_p)
    below = torch.where(code > 0, cdf.gather(-1, (code - 1).clamp(min=0)), 0.0)
    share = cdf.gather(-1, code) - below
    # Rounding may give 1, beyond which there is no code: some distance is kept from it.
    rest = ((place - below) / share).clamp(0.0, 1.0 - 2.0**-50)
    return code.squeeze(-1), rest.squeeze(-1)
