"""The sample level of a SampleRNN: tier 1, an MLP over the last samples (Mehri et al. 2017)."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from samplewise.config.models import SampleRNNConfig
from samplewise.models.base import OUTPUT_SCALE, output_mlp
from samplewise.nn.init import Initializer
from samplewise.nn.linear import Linear, Weight
from samplewise.nn.linear_predictor import LogisticPrior
from samplewise.nn.lookup import sum_of_rows
from samplewise.nn.matmul import linear

LOG_SCALE = -0.5
"""Initial log scale of the logistic distribution around a prediction, in mean error sizes."""
LOG_SCALES = (-3.0, 5.0)
"""Least and largest log scale of it, in codes of 256; of more codes it can be larger."""
MIXTURE_SPREAD = 0.5
"""Distance of the initial log scales of a mixture's neighbours."""


class Prediction(NamedTuple):
    """What the linear predictor says of each sample."""

    features: Float[Tensor, "*lead features"]
    """Inputs of the MLP: errors so far in units of their size, the prediction, the log size."""
    place: Float[Tensor, "*lead"]
    """The prediction, in codes."""
    log_size: Float[Tensor, "*lead"]
    """Logarithm of the size of the errors so far, in codes."""


class SampleLevelModule(nn.Module):
    """Tier 1: an MLP convolved over windows of FS(1) samples (section 2.2)."""

    def __init__(self, config: SampleRNNConfig, init: Initializer):
        super().__init__()
        self.frame_size, self.q_levels = config.frame_sizes[0], config.q_levels
        norm, dim = config.weight_norm, config.dim
        self.embedding = None
        width = {"embedding": config.emb_size, "one-hot": self.q_levels, "real": 1, "none": 0}
        if config.sample_input == "embedding":
            self.embedding = nn.Parameter(init.normal(self.q_levels, config.emb_size))
        self.is_real = config.sample_input == "real"
        inputs = self.frame_size * width[config.sample_input]
        self.input = None  # Multi-Softmax: c alone decides (section 2.2.2)
        if inputs:
            self.input = Weight(init.he(dim, inputs), norm)  # W_x of Eq. 8, no bias
        self.folded: Tensor | None
        self.register_buffer("folded", None, persistent=False)
        self.mlp = output_mlp(config, init)
        self.components = config.components if config.head == "mol" else 0
        if self.components and init.has_values:
            self._start_mixture()
        self.features, self.logistic = None, None
        if config.lp_order:
            self.features = Weight(init.he(dim, config.lp_features), norm)
        if config.lp_order and not self.components:
            # How far the logistic lies from the prediction, and its log scale, in error sizes.
            self.logistic = Linear(init.he(2, dim), weight_norm=norm)
            if init.has_values:
                self.logistic.weight.scale(OUTPUT_SCALE)
                with torch.no_grad():
                    assert self.logistic.bias is not None
                    self.logistic.bias[1] = LOG_SCALE

    def forward(
        self,
        codes: Int[Tensor, "*lead window"],
        values: Float[Tensor, "*lead window"],
        condition: Float[Tensor, "*lead dim"],
        prediction: Prediction | None = None,
    ) -> Float[Tensor, "*lead parameters"]:
        """Return what the head takes for each sample.

        Args:
            codes: The FS(1) codes before each sample.
            values: The same as real values in [-2, 2].
            condition: c of tier 2 at every sample.
            prediction: Of a model with a linear predictor.
        """
        if self.input is None:
            inp = condition
        elif self.is_real:
            inp = F.linear(values, self.input()) + condition
        else:
            inp = self._look_up(codes).view_as(condition) + condition  # Eq. 8
        if self.features is not None and prediction is not None:
            inp = inp + linear(prediction.features, self.features())
        *first, hidden, last = self.mlp
        for layer in first:  # a third map, without a non-linearity before it
            inp = layer(inp)
        x = F.relu(hidden(F.relu(inp)))
        if self.components:
            return self._mixture(last(x), prediction)
        if self.logistic is None or prediction is None:
            return last(x)  # Eq. 9, without the softmax
        shift, log_scale = self.logistic(x).unbind(-1)
        place = prediction.place + shift * prediction.log_size.exp()
        log_scale = (log_scale + prediction.log_size).clamp(*log_scale_limits(self.q_levels))
        logits = last(x)
        prior = LogisticPrior.apply(place.flatten(), log_scale.flatten(), self.q_levels)
        return logits + prior.view_as(logits)

    def _mixture(
        self, params: Float[Tensor, "*lead parameters"], prediction: Prediction | None
    ) -> Float[Tensor, "*lead parameters"]:
        """Put the components around the prediction, in units of its errors.

        Without a prediction they lie around silence, in units of a sixteenth of the codes.
        """
        logits, shifts, log_scales = params.float().chunk(3, -1)
        place, log_size = (self.q_levels - 1) / 2, math.log(self.q_levels / 16)
        if prediction is not None:
            place, log_size = prediction.place.unsqueeze(-1), prediction.log_size.unsqueeze(-1)
            places = place + shifts * log_size.exp()
        else:
            places = place + shifts * self.q_levels / 16
        lowest, highest = log_scale_limits(self.q_levels)
        log_scales = (log_scales + log_size).clamp(lowest, highest)
        return torch.cat([logits, places, log_scales], -1)

    @torch.no_grad()
    def _start_mixture(self) -> None:
        """Let the components of an untrained model differ in width alone."""
        last = self.mlp[-1]
        assert isinstance(last, Linear)
        assert last.bias is not None
        steps = torch.arange(self.components) - (self.components - 1) / 2
        last.bias[2 * self.components :] = LOG_SCALE + MIXTURE_SPREAD * steps

    def table(self) -> Float[Tensor, "rows dim"]:
        """Embedding times W_x: one row of W_x f for each place in the window and each code.

        A sum of table rows equals the product of W_x with the flattened embeddings (Eq. 7-8) at a
        fraction of its cost, and has the same gradients.
        """
        assert self.input is not None
        weight = self.input()
        if self.embedding is None:  # one-hot
            return weight.t()
        places = weight.view(weight.shape[0], self.frame_size, -1)
        return torch.einsum("qe,dpe->pqd", self.embedding, places).flatten(0, 1)

    def fold(self) -> None:
        """Compute the table once; the weights must not change from now on."""
        if self.input is not None and not self.is_real:
            self.folded = self.table().detach()

    def _look_up(self, codes: Tensor) -> Tensor:
        table = self.table() if self.folded is None else self.folded
        return sum_of_rows(codes.flatten(0, -2), table)


def log_scale_limits(q_levels: int) -> tuple[float, float]:
    """Return the least and the largest log scale of a logistic distribution, in codes."""
    return LOG_SCALES[0], LOG_SCALES[1] + math.log(q_levels / 256)
