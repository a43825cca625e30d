"""What every output distribution has: the cost of a sample, and its probability."""

from abc import ABC, abstractmethod

import numpy as np
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

from samplewise.errors import NOT_FINITE, CheckpointError

MAX_NATS = 1e30
"""Cost of a sample, in nats, from which on its probability counts as 0."""


def check_log_probs(log_probs: Float64[np.ndarray, "*shape"]) -> None:
    """Check log-probabilities, in nats.

    Raises:
        CheckpointError: If one is not finite, so that the weights are of no use.
    """
    if not (np.abs(log_probs) < MAX_NATS).all():
        raise CheckpointError(f"{NOT_FINITE}. Train it again, or use an older copy")


class Head(nn.Module, ABC):
    """Base of the output distributions of one sample, given the output of a model."""

    is_density: bool = False
    """Whether the cost is that of a density, which cannot be compared with the cost of codes."""
    needs_float32: bool = False
    """Whether places among 65,536 codes do not survive a model with 8 bits of mantissa."""

    @abstractmethod
    def nll(
        self, params: Float[Tensor, "batch time parameters"], target: Int[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time"]:
        """Return -ln p(target), in nats per sample."""

    @abstractmethod
    def log_prob(
        self, params: Float[Tensor, "batch parameters"], code: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return ln p(code), in nats, in double precision."""

    @abstractmethod
    def symbols(self, code: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape symbols"]:
        """Return the symbols of a code, one for each softmax, in the order of sampling."""


class OneStageHead(Head):
    """A head whose parameters are known before anything of the sample is drawn."""

    @abstractmethod
    def sample(
        self,
        params: Float[Tensor, "batch parameters"],
        uniform: Float[Tensor, " batch"],
        temperature: Float[Tensor, " batch"] | None = None,
        min_p: float = 0.0,
    ) -> Int[Tensor, " batch"]:
        """Draw one code per row.

        Args:
            params: Output of the model.
            uniform: The random number that makes each code, in [0, 1).
            temperature: Of each row; below 1 sharpens. None means 1.
            min_p: Codes at most ``min_p`` times as probable as the most probable code are not
                drawn; 0 cuts off none.
        """
