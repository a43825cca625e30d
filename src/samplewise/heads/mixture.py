"""A mixture of Gaussians over the real-valued amplitude (Mehri et al. 2017, Table 2)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

MIN_LOG_SCALE = -7.0
"""Smallest log deviation, in units of the data's own: below it a density can grow without end."""


def mixture_log_density(
    params: Float[Tensor, "*lead parameters"], value: Float[Tensor, "*lead"]
) -> Float[Tensor, "*lead"]:
    """Return the log-density of ``value`` in nats.

    Args:
        params: Logits of the weights, means, and logs of the deviations, of each component.
        value: Normalised amplitudes.
    """
    logits, means, log_scales = _parts(params)
    places = (value.unsqueeze(-1) - means) * torch.exp(-log_scales)
    log_normal = -0.5 * (places**2 + math.log(2 * math.pi)) - log_scales
    return torch.logsumexp(logits.log_softmax(-1) + log_normal, -1)


def mixture_sample(
    params: Float[Tensor, "batch parameters"],
    uniform: Float[Tensor, " batch"],
    temperature: Float[Tensor, " batch"] | None = None,
) -> Float[Tensor, " batch"]:
    """Draw one value per row from one uniform number in [0, 1).

    The number first chooses a component; where it lies within that component's share is again
    uniform, and the inverse of the normal CDF makes the value of it.

    Args:
        params: As above.
        uniform: Random numbers.
        temperature: Weights are sharpened by it and variances multiplied; None means 1.
    """
    logits, means, log_scales = (part.double() for part in _parts(params))
    if temperature is not None:
        temperatures = temperature.double().unsqueeze(-1)
        logits, log_scales = logits / temperatures, log_scales + 0.5 * temperatures.log()
    weights = logits.softmax(-1)
    edges = weights.cumsum(-1)
    target = uniform.double().unsqueeze(-1) * edges[:, -1:]
    chosen = torch.searchsorted(edges, target, right=True).clamp(max=edges.shape[-1] - 1)
    share = weights.gather(-1, chosen)
    within = (target - (edges.gather(-1, chosen) - share)) / share
    # The ends of [0, 1) are infinitely far out: half a step of single precision inwards.
    tail = 2.0**-25
    place = math.sqrt(2) * torch.erfinv(2 * within.clamp(tail, 1 - tail) - 1)
    return (means.gather(-1, chosen) + log_scales.gather(-1, chosen).exp() * place).squeeze(-1)


def _parts(params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    params = params if params.dtype == torch.double else params.float()
    logits, means, log_scales = params.chunk(3, -1)
    return logits, means, MIN_LOG_SCALE + F.softplus(log_scales - MIN_LOG_SCALE)
