"""Heads: from a model's output to the distribution of one sample, its cost and its draws."""

from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

from samplewise.errors import NOT_FINITE, CheckpointError
from samplewise.heads.categorical import (
    categorical_log_prob,
    categorical_nll,
    categorical_sample,
)
from samplewise.heads.digit_softmax import digit_log_prob, digit_nll, split_digits
from samplewise.heads.dual_softmax import dual_log_prob, dual_nll
from samplewise.heads.mixture import mixture_log_density, mixture_sample
from samplewise.quantizers import FINE_LEVELS

MAX_NATS = 1e30
"""Cost of a sample beyond which it is no number to rely on: its probability is 0."""


def check_log_probs(log_probs: Float64[np.ndarray, "*shape"]) -> None:
    """Refuse log-probabilities, in nats, that no useful model gives.

    Raises:
        CheckpointError: If one is not finite.
    """
    if not (np.abs(log_probs) < MAX_NATS).all():
        raise CheckpointError(f"{NOT_FINITE}. Train it again, or use an older copy")


class Head(Protocol):
    """What becomes of a model's output; random numbers are an argument, always."""

    is_density: bool
    """Whether the cost is that of a density, which cannot be compared with that of codes."""

    def nll(
        self, params: Float[Tensor, "batch time parameters"], target: Int[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time"]:
        """Return -ln p(target), in nats per sample."""
        ...

    def log_prob(
        self, params: Float[Tensor, "batch parameters"], code: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return ln p(code), in nats, in double precision."""
        ...

    def sample(
        self,
        params: Float[Tensor, "batch parameters"],
        uniform: Float[Tensor, " batch"],
        temperature: Float[Tensor, " batch"] | None = None,
        min_p: float = 0.0,
    ) -> Int[Tensor, " batch"]:
        """Draw one code per row from one random number in [0, 1)."""
        ...

    def symbols(self, code: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape symbols"]:
        """Return the symbols of a code, one for each softmax, in the order of drawing."""
        ...


class CategoricalHead(nn.Module):
    """A softmax over q codes (Eq. 9)."""

    is_density = False

    def nll(self, params: Tensor, target: Tensor) -> Tensor:
        """Return -ln p(target), in nats per sample."""
        return categorical_nll(params, target)

    def log_prob(self, params: Tensor, code: Tensor) -> Tensor:
        """Return ln p(code), in nats, in double precision."""
        return categorical_log_prob(params, code)

    def sample(
        self,
        params: Tensor,
        uniform: Tensor,
        temperature: Tensor | None = None,
        min_p: float = 0.0,
    ) -> Tensor:
        """Draw one code per row by inverting the CDF."""
        return categorical_sample(params, uniform, temperature, min_p)

    def symbols(self, code: Tensor) -> Tensor:
        """Return the code itself."""
        return code.unsqueeze(-1)


class DualSoftmaxHead(nn.Module):
    """Two softmaxes over 256 codes, coarse and fine (Kalchbrenner et al. 2018, section 2)."""

    is_density = False

    def nll(self, params: Tensor, target: Tensor) -> Tensor:
        """Return -ln p(target), in nats per 16-bit sample."""
        return dual_nll(params, target)

    def log_prob(self, params: Tensor, code: Tensor) -> Tensor:
        """Return ln p(code), in nats, in double precision."""
        return dual_log_prob(params, code)

    def sample(
        self,
        params: Tensor,
        uniform: Tensor,
        temperature: Tensor | None = None,
        min_p: float = 0.0,
    ) -> Tensor:
        """Refuse: the fine softmax is not known before the coarse code is drawn."""
        raise NotImplementedError("a dual softmax is drawn in two stages, by Model.sample")

    def symbols(self, code: Tensor) -> Tensor:
        """Return the coarse code and the fine code."""
        return torch.stack([code // FINE_LEVELS, code % FINE_LEVELS], -1)


class DigitSoftmaxHead(nn.Module):
    """Four softmaxes over 16 digits (Kalchbrenner et al. 2018, section 4.4)."""

    is_density = False

    def nll(self, params: Tensor, target: Tensor) -> Tensor:
        """Return -ln p(target), in nats per 16-bit sample."""
        return digit_nll(params, target)

    def log_prob(self, params: Tensor, code: Tensor) -> Tensor:
        """Return ln p(code), in nats, in double precision."""
        return digit_log_prob(params, code)

    def sample(
        self,
        params: Tensor,
        uniform: Tensor,
        temperature: Tensor | None = None,
        min_p: float = 0.0,
    ) -> Tensor:
        """Refuse: a softmax is not known before the digits above its own are drawn."""
        raise NotImplementedError("digits are drawn in four stages, by Model.draw_segment")

    def symbols(self, code: Tensor) -> Tensor:
        """Return the four digits, highest first."""
        return split_digits(code)


class GaussianMixtureHead(nn.Module):
    """A density over normalised amplitudes; what is drawn is rounded to the nearest code."""

    is_density = True

    def __init__(self, values: Float[Tensor, " q_levels"]):
        """Take the normalised amplitude of every code, ascending and evenly spaced."""
        super().__init__()
        self.values: Tensor
        self.register_buffer("values", values, persistent=False)

    def nll(self, params: Tensor, target: Tensor) -> Tensor:
        """Return minus the log-density, in nats per sample; it can be negative."""
        return -mixture_log_density(params, self.values[target])

    def log_prob(self, params: Tensor, code: Tensor) -> Tensor:
        """Return the log-density, in nats, in double precision."""
        return mixture_log_density(params.double(), self.values[code].double())

    def sample(
        self,
        params: Tensor,
        uniform: Tensor,
        temperature: Tensor | None = None,
        min_p: float = 0.0,
    ) -> Tensor:
        """Draw one amplitude per row; what exceeds full scale is clipped. No code is cut off."""
        value = mixture_sample(params, uniform, temperature)
        first, last = self.values[0].double(), self.values[-1].double()
        step = (last - first) / (len(self.values) - 1)  # neighbours differ by rounding as well
        code = ((value - first) / step).round().nan_to_num()
        return code.clamp(0, len(self.values) - 1).to(torch.int64)

    def symbols(self, code: Tensor) -> Tensor:
        """Return none: a density has no softmax over codes."""
        return code.new_zeros(*code.shape, 0)
