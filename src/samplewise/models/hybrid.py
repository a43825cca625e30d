"""SampleRNN-WaveNet hybrids (Mehri et al. 2017, appendix A).

A frame-level module reads frames of FS samples; its output is repeated FS times, concatenated at
every time step with that of a WaveNet over samples, and an MLP makes the distribution of both.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from samplewise.config.models import HybridConfig
from samplewise.models.step_model import StepModel
from samplewise.nn.causal_conv import GatedStack, Pasts, reset_pasts
from samplewise.nn.init import Initializer
from samplewise.nn.linear import Linear, Weight
from samplewise.nn.rnn import RecurrentStack, relu_mlp, weights_of


@dataclass(frozen=True)
class HybridState:
    """What a hybrid remembers between two subsequences."""

    pasts: Pasts
    """Of each sample-level layer."""
    frame_pasts: Pasts
    """The same of the frame level, where convolutions read the frames."""
    h: tuple[Float[Tensor, "batch n_rnn state_dim"], ...]
    """Recurrent state of the frame level, where an RNN reads the frames."""
    condition: Float[Tensor, "batch width"]
    """What the frame level made of the frames before the current one."""
    history: Int[Tensor, "batch frame_size_but_one"]
    """The last codes but the one that comes with the next call, oldest first."""
    clock: int
    """Samples predicted so far; the frame level wakes when FS divides it."""


class Hybrid(StepModel[HybridConfig]):
    """RNN-WaveNet or the fully convolutional hybrid.

    Args:
        config: Sizes.
        seed: Of the initial weights; None leaves them without values or memory, to be loaded.
    """

    def __init__(self, config: HybridConfig, seed: int | None = 0):
        super().__init__(config, seed)
        init, norm, width = Initializer(seed), config.weight_norm, config.skip_channels
        self.embedding = nn.Parameter(init.normal(config.q_levels, config.channels))
        self.stack = GatedStack(config.dilations, config.channels, width, norm, init)
        self.rnn, self.frame_input, self.frame_stack = None, None, None
        if config.frame_level == "rnn":
            self.rnn = RecurrentStack(
                inputs=config.frame_size,
                dim=config.dim,
                n_rnn=config.n_rnn,
                cell=config.cell,
                skip=False,
                weight_norm=norm,
                learn_h0=config.learn_h0,
                init=init,
            )
            self.frame_width = config.dim
        else:
            first = init.lecun(config.channels, config.frame_size)
            self.frame_input = Linear(first, weight_norm=norm)
            self.frame_stack = GatedStack(
                config.frame_dilations, config.channels, width, norm, init
            )
            self.frame_width = width
        self.mlp = nn.ModuleList(
            [
                Linear(init.he(width, width + self.frame_width), weight_norm=norm),
                Linear(init.he(width, width), weight_norm=norm),
                Linear(init.he(config.q_levels, width), weight_norm=norm),
            ]
        )

    def initial_state(self, batch: int) -> HybridState:
        """Return learned h0, or zeros, with silence behind."""
        like, frame = self.real_values, self.config.frame_size
        stack = self.frame_stack
        return HybridState(
            pasts=self.stack.initial_state(batch, like),
            frame_pasts=() if stack is None else stack.initial_state(batch, like),
            h=() if self.rnn is None else (self.rnn.initial_state(batch),),
            condition=like.new_zeros(batch, self.frame_width),
            history=torch.full((batch, frame - 1), self.quantizer.silence, device=like.device),
            clock=0,
        )

    def reset(self, state: HybridState, mask: Bool[Tensor, " batch"]) -> HybridState:
        """Start new sequences in the rows of ``mask``, at a frame; the others go on."""
        self.check_boundary(state)
        return HybridState(
            reset_pasts(state.pasts, mask),
            reset_pasts(state.frame_pasts, mask),
            () if self.rnn is None else (self.rnn.reset(state.h[0], mask),),
            state.condition,
            state.history.masked_fill(mask.unsqueeze(1), self.quantizer.silence),
            state.clock,
        )

    def forward(
        self,
        previous: Int[Tensor, "batch time"],
        state: HybridState,
        target: Int[Tensor, "batch time"] | None = None,
        conditioning: Float[Tensor, "batch time width"] | None = None,
    ) -> tuple[Float[Tensor, "batch time parameters"], HybridState]:
        """Teacher-forced pass over a subsequence of any length; ``previous[:, t]`` precedes t."""
        self.check_conditioning(conditioning)
        time, size = previous.shape[1], self.config.frame_size
        codes = torch.cat([state.history, previous], 1)
        first = -state.clock % size  # where in this call the frame level wakes for the first time
        count = max(0, -(-(time - first) // size))
        conditions, frame_pasts, h = state.condition.unsqueeze(1), state.frame_pasts, state.h
        if count:
            frames = self.real_values[codes[:, first : first + count * size]]
            fresh, frame_pasts, h = self._read(frames.unflatten(1, (count, size)), state)
            conditions = torch.cat([conditions.to(fresh.dtype), fresh], 1)
        # The condition before the first frame, then each repeated for the samples of its frame.
        steps = torch.arange(time, device=codes.device) + size - first
        repeated = conditions[:, steps // size]
        skips, pasts = self.stack(F.embedding(previous, self.embedding), state.pasts)
        params = relu_mlp(F.relu(torch.cat([skips, repeated.to(skips.dtype)], -1)), self.mlp)
        return params, HybridState(
            pasts,
            frame_pasts,
            h,
            conditions[:, -1].to(state.condition.dtype),
            codes[:, codes.shape[1] - size + 1 :],
            state.clock + time,
        )

    def output_maps(self) -> Iterator[tuple[Linear, int]]:
        """Yield the MLP's last map."""
        yield self.mlp[-1], 0  # pyright: ignore[reportReturnType]

    def wide_weights(self) -> Iterator[tuple[Weight, int]]:
        """Yield the maps of both levels but for the one that reads frames, and the MLP's."""
        yield from self.stack.wide_weights()
        if self.rnn is not None:
            yield from self.rnn.wide_weights(first_input=False)
        if self.frame_stack is not None:
            yield from self.frame_stack.wide_weights()
        yield from weights_of(self.mlp)

    def _read(
        self, frames: Float[Tensor, "batch frames {self.config.frame_size}"], state: HybridState
    ) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return what the frame level makes of frames, and its new state."""
        if self.rnn is not None:
            output, last = self.rnn(frames, state.h[0])
            return output, state.frame_pasts, (last,)
        assert self.frame_input is not None
        assert self.frame_stack is not None
        output, pasts = self.frame_stack(self.frame_input(frames), state.frame_pasts)
        return output, pasts, state.h
