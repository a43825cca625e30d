"""Mixtures, of Gaussians over the real-valued amplitude, and of logistics over the codes.

Mehri et al. 2017, Table 2; Salimans et al. 2017, PixelCNN++.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from samplewise.heads.base import OneStageHead

TAIL = 2.0**-25
"""The ends of [0, 1) are infinitely far out: half a step of single precision inwards."""
UNIFORM_SHARE = 1e-6
"""Weight of the uniform distribution in a mixture of logistics."""
MIN_LOG_SCALE = -7.0
"""Smallest log deviation, in units of the data's own: below it a density can grow without end."""


class GaussianMixtureHead(OneStageHead):
    """A density over normalised amplitudes; a drawn amplitude is rounded to the nearest code.

    The parameters are, of each component, the logit of its weight, its mean, and the logarithm of
    its deviation before the floor.

    Args:
        values: Normalised amplitude of every code, ascending and evenly spaced.
    """

    is_density = True
    needs_float32 = True

    def __init__(self, values: Float[Tensor, " q_levels"]):
        super().__init__()
        self.values: Tensor
        self.register_buffer("values", values, persistent=False)

    def nll(
        self, params: Float[Tensor, "batch time parameters"], target: Int[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time"]:
        """Return minus the log-density, in nats per sample; it can be negative."""
        return -self.log_density(params, self.values[target])

    def log_prob(
        self, params: Float[Tensor, "batch parameters"], code: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return the log-density, in nats, in double precision."""
        return self.log_density(params.double(), self.values[code].double())

    def sample(
        self,
        params: Float[Tensor, "batch parameters"],
        uniform: Float[Tensor, " batch"],
        temperature: Float[Tensor, " batch"] | None = None,
        min_p: float = 0.0,
    ) -> Int[Tensor, " batch"]:
        """Draw one code per row, clipped to full scale; ``min_p`` has no effect."""
        value = self.sample_value(params, uniform, temperature)
        first, last = self.values[0].double(), self.values[-1].double()
        step = (last - first) / (len(self.values) - 1)  # neighbours differ by rounding as well
        code = ((value - first) / step).round().nan_to_num()
        return code.clamp(0, len(self.values) - 1).to(torch.int64)

    def symbols(self, code: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape 0"]:
        """Return no symbols: a density has no softmax over codes."""
        return code.new_zeros(*code.shape, 0)

    @staticmethod
    def log_density(
        params: Float[Tensor, "*lead parameters"], value: Float[Tensor, "*lead"]
    ) -> Float[Tensor, "*lead"]:
        """Return the log-density of normalised amplitudes, in nats."""
        logits, means, log_scales = _components(params)
        distances = (value.unsqueeze(-1) - means) * torch.exp(-log_scales)
        log_normal = -0.5 * (distances**2 + math.log(2 * math.pi)) - log_scales
        return torch.logsumexp(logits.log_softmax(-1) + log_normal, -1)

    @staticmethod
    def sample_value(
        params: Float[Tensor, "batch parameters"],
        uniform: Float[Tensor, " batch"],
        temperature: Float[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, " batch"]:
        """Draw one normalised amplitude per row from one random number.

        The number first chooses a component. Its position within the share of that component is
        uniform again, and the inverse of the normal CDF turns it into the amplitude.

        Args:
            params: Output of the model.
            uniform: Random numbers in [0, 1).
            temperature: Weights are sharpened by it and variances multiplied; None means 1.
        """
        logits, means, log_scales = (part.double() for part in _components(params))
        if temperature is not None:
            temperatures = temperature.double().unsqueeze(-1)
            logits, log_scales = logits / temperatures, log_scales + 0.5 * temperatures.log()
        chosen, within = _choose(logits, uniform)
        normal = math.sqrt(2) * torch.erfinv(2 * within - 1)
        return (means.gather(-1, chosen) + log_scales.gather(-1, chosen).exp() * normal).squeeze(-1)


class LogisticMixtureHead(OneStageHead):
    """A mixture of logistic distributions, each rounded to the codes.

    The parameters are, of each component, the logit of its weight, its place in codes, and the
    logarithm of its scale in codes. The first and the last code have the tails. A uniform
    distribution of weight ``UNIFORM_SHARE`` bounds the cost of a sample, and the gradient of one
    that cannot be foreseen, such as the first of a clip; it is never drawn from.

    Args:
        q_levels: Number of codes.
    """

    needs_float32 = True

    def __init__(self, q_levels: int):
        super().__init__()
        self.q_levels = q_levels

    def nll(
        self, params: Float[Tensor, "batch time parameters"], target: Int[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time"]:
        """Return -ln p(target), in nats per sample."""
        return -self._log_prob(params.float(), target)

    def log_prob(
        self, params: Float[Tensor, "batch parameters"], code: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return ln p(code), in nats, in double precision."""
        return self._log_prob(params.double(), code)

    def sample(
        self,
        params: Float[Tensor, "batch parameters"],
        uniform: Float[Tensor, " batch"],
        temperature: Float[Tensor, " batch"] | None = None,
        min_p: float = 0.0,
    ) -> Int[Tensor, " batch"]:
        """Draw one code per row from one random number, as :class:`GaussianMixtureHead` does.

        Args:
            params: Output of the model.
            uniform: Random numbers in [0, 1).
            temperature: Logits of the weights are divided by it, scales multiplied. None means 1.
            min_p: Within its component, what is at most ``min_p`` times as probable as the middle
                is not drawn.
        """
        logits, places, log_scales = params.double().chunk(3, -1)
        if temperature is not None:
            temperatures = temperature.double().unsqueeze(-1)
            logits, log_scales = logits / temperatures, log_scales + temperatures.log()
        chosen, within = _choose(logits, uniform)
        # The density of a logistic is p (1 - p) / scale, and p (1 - p) = 1/4 in the middle.
        tail = (1 - math.sqrt(1 - min_p)) / 2
        within = tail + (1 - 2 * tail) * within
        offset = log_scales.gather(-1, chosen).exp() * torch.logit(within)
        code = (places.gather(-1, chosen) + offset).squeeze(-1).round().nan_to_num()
        return code.clamp(0, self.q_levels - 1).to(torch.int64)

    def symbols(self, code: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape 0"]:
        """Return no symbols: there is no softmax over codes."""
        return code.new_zeros(*code.shape, 0)

    def _log_prob(
        self, params: Float[Tensor, "*lead parameters"], code: Int[Tensor, "*lead"]
    ) -> Float[Tensor, "*lead"]:
        logits, places, log_scales = params.chunk(3, -1)
        distance = code.unsqueeze(-1) - places
        width = torch.exp(-log_scales)
        above, below = (distance + 0.5) * width, (distance - 0.5) * width
        # s(a) - s(b) = s(a) s(-b) (1 - e^(b - a)), s the logistic function.
        has_below = (code > 0).unsqueeze(-1)
        has_above = (code < self.q_levels - 1).unsqueeze(-1)
        log_probs = (
            torch.where(has_above, F.logsigmoid(above), 0.0)
            + torch.where(has_below, F.logsigmoid(-below), 0.0)
            + torch.where(has_above & has_below, torch.log(-torch.expm1(-width)), 0.0)
        )
        mixed = torch.logsumexp(logits.log_softmax(-1) + log_probs, -1) + math.log1p(-UNIFORM_SHARE)
        return torch.logaddexp(
            mixed, torch.full_like(mixed, math.log(UNIFORM_SHARE / self.q_levels))
        )


def _choose(
    logits: Float[Tensor, "batch components"], uniform: Float[Tensor, " batch"]
) -> tuple[Int[Tensor, "batch 1"], Float[Tensor, "batch 1"]]:
    """Choose a component by a random number, and return where it lies within the share of it."""
    weights = logits.softmax(-1)
    edges = weights.cumsum(-1)
    target = uniform.double().unsqueeze(-1) * edges[:, -1:]
    chosen = torch.searchsorted(edges, target, right=True).clamp(max=edges.shape[-1] - 1)
    share = weights.gather(-1, chosen)
    within = (target - (edges.gather(-1, chosen) - share)) / share
    return chosen, within.clamp(TAIL, 1 - TAIL)


def _components(params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the logits of the weights, the means and the log deviations of the components."""
    params = params if params.dtype == torch.double else params.float()
    logits, means, log_scales = params.chunk(3, -1)
    return logits, means, MIN_LOG_SCALE + F.softplus(log_scales - MIN_LOG_SCALE)
