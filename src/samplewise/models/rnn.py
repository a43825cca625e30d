"""The RNN baseline: a deep RNN that takes a step at every sample (Mehri et al. 2017, Eqs. 2-3)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from samplewise.config.models import RNNConfig
from samplewise.models.base import output_mlp
from samplewise.models.step_model import StepModel
from samplewise.nn.init import Initializer
from samplewise.nn.linear import Linear, Weight
from samplewise.nn.rnn import RecurrentStack, relu_mlp, weights_of


@dataclass(frozen=True)
class RNNState:
    """What the baseline remembers between two subsequences."""

    h: Float[Tensor, "batch n_rnn state_dim"]
    """Recurrent state."""
    clock: int
    """Samples predicted so far."""


class RNN(StepModel[RNNConfig]):
    """h_t = H(h_(t-1), x_t); p(x_(t+1)) = Softmax(MLP(h_t)).

    Args:
        config: Sizes.
        seed: Of the initial weights; None leaves them without values or memory, to be loaded.
    """

    def __init__(self, config: RNNConfig, seed: int | None = 0):
        super().__init__(config, seed)
        init, dim, norm = Initializer(seed, config.init), config.dim, config.weight_norm
        self.embedding = None
        if config.sample_input == "embedding":
            self.embedding = nn.Parameter(init.normal(config.q_levels, config.emb_size))
        self.rnn = RecurrentStack(
            inputs=(1 if self.embedding is None else config.emb_size) + self.condition_width(),
            dim=dim,
            n_rnn=config.n_rnn,
            cell=config.cell,
            skip=config.skip,
            weight_norm=norm,
            learn_h0=config.learn_h0,
            init=init,
        )
        self.mlp = output_mlp(config, init)

    def initial_state(self, batch: int) -> RNNState:
        """Return the learned h0."""
        return RNNState(self.rnn.initial_state(batch), 0)

    def reset(self, state: RNNState, mask: Bool[Tensor, " batch"]) -> RNNState:
        """Start new sequences in the rows of ``mask``; the others go on."""
        return RNNState(self.rnn.reset(state.h, mask), state.clock)

    def forward(
        self,
        previous: Int[Tensor, "batch time"],
        state: RNNState,
        target: Int[Tensor, "batch time"] | None = None,
        conditioning: Float[Tensor, "batch time width"] | None = None,
    ) -> tuple[Float[Tensor, "batch time parameters"], RNNState]:
        """Teacher-forced pass over a subsequence of any length; ``previous[:, t]`` precedes t."""
        self.check_conditioning(conditioning)
        if self.embedding is None:
            x = self.real_values[previous].unsqueeze(-1)
        else:
            x = F.embedding(previous, self.embedding)
        if conditioning is not None:
            x = torch.cat([x, conditioning.to(x.dtype)], -1)
        h, last = self.rnn(x, state.h)  # Eq. 2
        params = relu_mlp(h, self.mlp)  # Eq. 3, without the softmax
        return params, RNNState(last, state.clock + previous.shape[1])

    def output_maps(self) -> Iterator[tuple[Linear, int]]:
        """Yield the MLP's last map if it makes logits."""
        if self.config.head == "categorical":
            yield self.mlp[-1], 0  # pyright: ignore[reportReturnType]

    def wide_weights(self) -> Iterator[tuple[Weight, int]]:
        """Yield the recurrent maps, those between layers, and the MLP's."""
        yield from self.rnn.wide_weights(first_input=False)
        yield from weights_of(self.mlp if self.config.head == "categorical" else self.mlp[:-1])
