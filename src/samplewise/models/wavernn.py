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

from samplewise.config.models import WaveRNNConfig
from samplewise.heads.dual_softmax import DualSoftmaxHead
from samplewise.models.step_model import StepModel
from samplewise.nn.init import Initializer
from samplewise.nn.linear import Linear, Weight
from samplewise.nn.rnn import RecurrentLayer
from samplewise.nn.wavernn_cell import byte_inputs, cell_weights, gru_units, masked_gru
from samplewise.quantizers import FINE_LEVELS


@dataclass(frozen=True)
class WaveRNNState:
    """What a WaveRNN remembers between two subsequences."""

    h: Float[Tensor, "batch 1 dim"]
    """State of the GRU, coarse half first."""
    clock: int
    """Samples predicted so far."""


class WaveRNN(StepModel[WaveRNNConfig]):
    """The dense model; sizes of the paper are 224, 384, 896 and 2048.

    Args:
        config: Sizes.
        seed: Of the initial weights; None leaves them without values or memory, to be loaded.
    """

    def __init__(self, config: WaveRNNConfig, seed: int | None = 0):
        super().__init__(config, seed)
        self.head: DualSoftmaxHead = DualSoftmaxHead()  # pyright: ignore[reportIncompatibleVariableOverride]
        init, dim, half = Initializer(seed), config.dim, config.dim // 2
        self.middle = half
        self.rnn = masked_gru(dim, config.learn_h0, init, self.condition_width())
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
        conditioning: Float[Tensor, "batch time width"] | None = None,
    ) -> tuple[Float[Tensor, "batch time 512"], WaveRNNState]:
        """Teacher-forced pass; ``target`` gives the coarse codes that the fine ones depend on."""
        if target is None:
            raise ValueError("a WaveRNN needs the target: its fine code depends on its coarse one")
        self.check_conditioning(conditioning)
        x = self._inputs(previous, target // FINE_LEVELS, conditioning)
        h, last = self.rnn(x, state.h)
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
        conditioning: Float[Tensor, "batch width"] | None = None,
        min_p: float = 0.0,
    ) -> tuple[Int[Tensor, " batch"], WaveRNNState, Float[Tensor, "batch 512"]]:
        """Draw the coarse code, then the fine one; R h is computed once (Fig. 1)."""
        self.check_conditioning(conditioning)
        half, h = self.middle, state.h[:, 0]
        recurrent = F.linear(h, self.layer.recurrent())
        x = self._inputs(previous, torch.zeros_like(previous), conditioning)
        coarse_half = self._half(x, recurrent, h, slice(0, half))
        coarse_logits = self.o2(F.relu(self.o1(coarse_half)))
        coarse, rest = self.head.sample_stage(coarse_logits, uniforms, temperature, min_p)
        x = self._inputs(previous, coarse, conditioning)
        fine_half = self._half(x, recurrent, h, slice(half, None))
        fine_logits = self.o4(F.relu(self.o3(fine_half)))
        fine, _ = self.head.sample_stage(fine_logits, rest, temperature, min_p)
        after = WaveRNNState(torch.cat([coarse_half, fine_half], -1)[:, None], state.clock + 1)
        params = torch.cat([coarse_logits, fine_logits], -1)
        return coarse * FINE_LEVELS + fine, after, params

    def output_maps(self) -> Iterator[tuple[Linear, int]]:
        """Yield O2, which makes coarse codes, and O4, which makes fine ones."""
        yield self.o2, 0
        yield self.o4, 1

    def wide_weights(self) -> Iterator[tuple[Weight, int]]:
        """Yield R and O1 to O4."""
        yield from cell_weights(self.layer, self.o1, self.o2, self.o3, self.o4)

    def _inputs(
        self,
        previous: Int[Tensor, "*lead"],
        coarse: Int[Tensor, "*lead"],
        conditioning: Float[Tensor, "*lead width"] | None = None,
    ) -> Float[Tensor, "*lead inputs"]:
        """Return x_t = [c_(t-1), f_(t-1), c_t], each in [-1, 1], then the conditioning vector."""
        x = byte_inputs(previous, coarse, self.real_values)
        return x if conditioning is None else torch.cat([x, conditioning.to(x.dtype)], -1)

    def _half(
        self,
        x: Float[Tensor, "batch inputs"],
        recurrent: Float[Tensor, "batch gates"],
        h: Float[Tensor, "batch dim"],
        units: slice,
    ) -> Float[Tensor, "batch half"]:
        """Return h_t of some units, by the paper's equations for u, r, e and h."""
        return gru_units(self.layer, self.layer.input(x), recurrent, h, units)
