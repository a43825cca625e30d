"""WaveRNN: a GRU whose halves make the coarse and the fine 8 bits of a 16-bit sample.

Kalchbrenner et al. 2018, section 2. The inputs are scalars; the current coarse code reaches only
the fine half. In training that is a GRU with a masked input matrix. In sampling the product with R
is made once, the coarse half is completed, its code drawn, and only then the fine half.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from samplewise.heads.dual_softmax import sample_with_rest
from samplewise.models.base import Model
from samplewise.models.configs import WaveRNNConfig
from samplewise.nn.init import Initializer
from samplewise.nn.linear import Linear, Weight
from samplewise.nn.rnn import RecurrentLayer, RecurrentStack
from samplewise.quantize.dual import FINE_LEVELS


@dataclass(frozen=True)
class WaveRNNState:
    """What a WaveRNN remembers between two subsequences."""

    h: Float[Tensor, "batch 1 dim"]
    """State of the GRU, coarse half first."""
    clock: int
    """Samples predicted so far."""


class WaveRNN(Model[WaveRNNConfig]):
    """The dense model; sizes of the paper are 224, 384, 896 and 2048.

    Args:
        config: Sizes.
        seed: Of the initial weights; None leaves them without values or memory, to be loaded.
    """

    def __init__(self, config: WaveRNNConfig, seed: int | None = 0):
        super().__init__(config)
        init, dim, half = Initializer(seed), config.dim, config.dim // 2
        self.middle = half
        self.rnn = RecurrentStack(
            inputs=3,
            dim=dim,
            n_rnn=1,
            cell="gru-reset-after",
            skip=False,
            weight_norm=False,
            learn_h0=config.learn_h0,
            init=init,
        )
        mask = torch.ones(3, dim, 3, dtype=torch.bool)  # gates, units, inputs
        mask[:, :half, 2] = False  # the coarse half must not see the coarse code it makes
        self.layer.input.weight.mask = mask.flatten(0, 1)
        self.o1 = Linear(init.he(half, half), weight_norm=False)
        self.o2 = Linear(init.he(FINE_LEVELS, half), weight_norm=False)
        self.o3 = Linear(init.he(half, half), weight_norm=False)
        self.o4 = Linear(init.he(FINE_LEVELS, half), weight_norm=False)

    @property
    def layer(self) -> RecurrentLayer:
        """The GRU: R is its recurrent matrix, I* its input matrix."""
        return self.rnn.layers[0]  # pyright: ignore[reportReturnType]

    def initial_state(self, batch: int) -> WaveRNNState:
        """Return the learned h0."""
        return WaveRNNState(self.rnn.initial_state(batch), 0)

    def reset(self, state: WaveRNNState, mask: Bool[Tensor, " batch"]) -> WaveRNNState:
        """Start new sequences in the rows of ``mask``; the others go on."""
        return WaveRNNState(self.rnn.reset(state.h, mask), state.clock)

    def forward(
        self,
        previous: Int[Tensor, "batch time"],
        state: WaveRNNState,
        target: Int[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch time 512"], WaveRNNState]:
        """Teacher-forced pass; ``target`` gives the coarse codes that the fine ones depend on."""
        if target is None:
            raise ValueError("a WaveRNN needs the target: its fine code depends on its coarse one")
        h, last = self.rnn(self._inputs(previous, target // FINE_LEVELS), state.h)
        coarse = self.o2(F.relu(self.o1(h[..., : self.middle])))
        fine = self.o4(F.relu(self.o3(h[..., self.middle :])))
        params = torch.cat([coarse, fine], -1)
        return params, WaveRNNState(last, state.clock + previous.shape[1])

    def sample(
        self,
        previous: Int[Tensor, " batch"],
        state: WaveRNNState,
        uniforms: Float[Tensor, " batch"],
        temperature: Float[Tensor, " batch"] | None = None,
    ) -> tuple[Int[Tensor, " batch"], WaveRNNState, Float[Tensor, "batch 512"]]:
        """Draw the coarse code, then the fine one; R h is computed once (Fig. 1)."""
        half, h = self.middle, state.h[:, 0]
        recurrent = F.linear(h, self.layer.recurrent())
        coarse_half = self._half(previous, torch.zeros_like(previous), recurrent, h, slice(0, half))
        coarse_logits = self.o2(F.relu(self.o1(coarse_half)))
        coarse, rest = sample_with_rest(coarse_logits, uniforms, temperature)
        fine_half = self._half(previous, coarse, recurrent, h, slice(half, None))
        fine_logits = self.o4(F.relu(self.o3(fine_half)))
        fine, _ = sample_with_rest(fine_logits, rest, temperature)
        after = WaveRNNState(torch.cat([coarse_half, fine_half], -1)[:, None], state.clock + 1)
        params = torch.cat([coarse_logits, fine_logits], -1)
        return coarse * FINE_LEVELS + fine, after, params

    def wide_weights(self) -> Iterator[tuple[Weight, int]]:
        """Yield R, whose gates are ranked apart (section 3.1), and O1 to O4.

        Chosen: O1 to O4 too. The paper only says "each sparsified layer"; in the weights that its
        authors published later they are as sparse as R.
        """
        yield self.layer.recurrent, 3
        for output in (self.o1, self.o2, self.o3, self.o4):
            yield output.weight, 1

    def _inputs(
        self, previous: Int[Tensor, "*lead"], coarse: Int[Tensor, "*lead"]
    ) -> Float[Tensor, "*lead 3"]:
        """Return x_t = [c_(t-1), f_(t-1), c_t], each scaled to [-1, 1]."""
        codes = torch.stack([previous // FINE_LEVELS, previous % FINE_LEVELS, coarse], -1)
        return codes.to(self.real_values.dtype) * (2 / (FINE_LEVELS - 1)) - 1

    def _half(
        self,
        previous: Int[Tensor, " batch"],
        coarse: Int[Tensor, " batch"],
        recurrent: Float[Tensor, "batch gates"],
        h: Float[Tensor, "batch dim"],
        units: slice,
    ) -> Float[Tensor, "batch half"]:
        """Return h_t of some units, by the paper's equations for u, r, e and h."""
        gates = self.layer.input(self._inputs(previous, coarse)).unflatten(-1, (3, -1))[..., units]
        products = recurrent.unflatten(-1, (3, -1))[..., units]
        bias = self.layer.candidate_bias
        assert bias is not None
        r, u = torch.sigmoid(gates[:, :2] + products[:, :2]).unbind(1)
        e = torch.tanh(gates[:, 2] + r * (products[:, 2] + bias[units]))
        return u * h[:, units] + (1 - u) * e
