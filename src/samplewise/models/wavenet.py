"""WaveNet, as re-implemented for the comparison (Mehri et al. 2017, section 3.1).

Blocks of dilated layers (van den Oord et al. 2016). A step costs the same whatever the receptive
field: the layers' past vectors are the state.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from samplewise.config.models import WaveNetConfig
from samplewise.models.step_model import StepModel
from samplewise.nn.causal_conv import GatedStack, Pasts, reset_pasts
from samplewise.nn.init import Initializer
from samplewise.nn.linear import Linear, Weight
from samplewise.nn.rnn import relu_mlp, weights_of


@dataclass(frozen=True)
class WaveNetState:
    """What a WaveNet remembers between two subsequences."""

    pasts: Pasts
    """Of each layer."""
    clock: int
    """Samples predicted so far."""


class WaveNet(StepModel[WaveNetConfig]):
    """p(x_t) = f(x_(t-1), ..., x_(t-R)) with the receptive field R.

    Args:
        config: Sizes.
        seed: Of the initial weights; None leaves them without values or memory, to be loaded.
    """

    def __init__(self, config: WaveNetConfig, seed: int | None = 0):
        super().__init__(config, seed)
        init, norm, width = Initializer(seed), config.weight_norm, config.skip_channels
        self.embedding = nn.Parameter(init.normal(config.q_levels, config.channels))
        conditioning_width = self.condition_width()
        self.stack = GatedStack(
            config.dilations, config.channels, width, norm, init, conditioning_width
        )
        self.mlp = nn.ModuleList(
            [
                Linear(init.he(width, width), weight_norm=norm),
                Linear(init.he(config.q_levels, width), weight_norm=norm),
            ]
        )

    def initial_state(self, batch: int) -> WaveNetState:
        """Return zeros for everything that came before."""
        return WaveNetState(self.stack.initial_state(batch, self.real_values), 0)

    def reset(self, state: WaveNetState, mask: Bool[Tensor, " batch"]) -> WaveNetState:
        """Start new sequences in the rows of ``mask``; the others go on."""
        return WaveNetState(reset_pasts(state.pasts, mask), state.clock)

    def forward(
        self,
        previous: Int[Tensor, "batch time"],
        state: WaveNetState,
        target: Int[Tensor, "batch time"] | None = None,
        conditioning: Float[Tensor, "batch time width"] | None = None,
    ) -> tuple[Float[Tensor, "batch time parameters"], WaveNetState]:
        """Teacher-forced pass over a subsequence of any length; ``previous[:, t]`` precedes t."""
        self.check_conditioning(conditioning)
        x = F.embedding(previous, self.embedding)
        skips, pasts = self.stack(x, state.pasts, conditioning)
        params = relu_mlp(F.relu(skips), self.mlp)
        return params, WaveNetState(pasts, state.clock + previous.shape[1])

    def output_maps(self) -> Iterator[tuple[Linear, int]]:
        """Yield the MLP's last map."""
        yield self.mlp[-1], 0  # pyright: ignore[reportReturnType]

    def wide_weights(self) -> Iterator[tuple[Weight, int]]:
        """Yield the maps of the dilated layers, filter and gate ranked apart, and the MLP's."""
        yield from self.stack.wide_weights()
        yield from weights_of(self.mlp)
