"""SampleRNN: a hierarchy of modules at different clock rates (Mehri et al. 2017, section 2).

Sample t is predicted from the samples before it. Tier k > 1 wakes when FS(k) divides t, reads the
frame x_(t-FS(k)) ... x_(t-1) and conditions the next FS(k) samples; tier 1 predicts each sample.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn

from samplewise.config.models import SampleRNNConfig
from samplewise.models.base import OUTPUT_SCALE
from samplewise.models.sample_level import Prediction, SampleLevelModule
from samplewise.models.step_model import StepModel
from samplewise.nn.init import Initializer
from samplewise.nn.linear import Linear, Weight
from samplewise.nn.linear_predictor import (
    LEAST_SIZE,
    LONG,
    LinearPredictor,
    error_sizes,
    mean_size,
)
from samplewise.nn.matmul import linear
from samplewise.nn.rnn import RecurrentStack, weights_of


@dataclass(frozen=True)
class SampleRNNState:
    """What a SampleRNN remembers between two subsequences."""

    h: tuple[Float[Tensor, "batch n_rnn state_dim"], ...]
    """Recurrent state of each frame-level tier, lowest (tier 2) first."""
    conditions: tuple[Float[Tensor, "batch _ dim"], ...]
    """Conditioning vectors of each frame-level tier's current frame, tier 2 first."""
    history: Int[Tensor, "batch lookback_but_one"]
    """The last codes but the one that comes with the next call, oldest first."""
    predictor: tuple[Tensor, ...]
    """State of the linear predictor; empty without one."""
    clock: int
    """Samples predicted so far; tier k wakes when FS(k) divides it."""


class FrameLevelModule(nn.Module):
    """Tier k > 1: a deep RNN over non-overlapping frames of FS(k) samples (section 2.1)."""

    def __init__(self, config: SampleRNNConfig, tier: int, init: Initializer, width: int):
        super().__init__()
        self.frame_size, self.ratio = config.frame_sizes[tier - 1], config.ratio(tier)
        self.dim = config.dim
        is_top = tier == len(config.frame_sizes)
        norm = config.weight_norm
        self.input = (
            None if is_top else Linear(init.he(self.dim, self.frame_size), weight_norm=norm)
        )
        self.rnn = RecurrentStack(
            inputs=(self.frame_size if is_top else self.dim) + width,
            dim=self.dim,
            n_rnn=config.n_rnn,
            cell=config.cell,
            skip=config.skip,
            weight_norm=norm,
            learn_h0=config.learn_h0,
            init=init,
        )
        # r separate linear projections, stacked as rows of one matrix.
        self.upsample = Linear(init.he(self.ratio * self.dim, self.dim), weight_norm=norm)

    def forward(
        self,
        frames: Float[Tensor, "batch frames {self.frame_size}"],
        condition: Float[Tensor, "batch frames {self.dim}"] | None,
        state: Float[Tensor, "batch n_rnn state_dim"],
        conditioning: Float[Tensor, "batch frames width"] | None = None,
    ) -> tuple[Float[Tensor, "batch frames {self.dim}"], Float[Tensor, "batch n_rnn state_dim"]]:
        """Summarise frames; :meth:`conditions` makes conditioning vectors of the result.

        Args:
            frames: Real values in [-2, 2].
            condition: c of the tier above; None in the top tier.
            state: Recurrent state after the previous frame.
            conditioning: Vector in force at the start of each frame, an input of the RNN.

        Returns:
            h at every frame, and the new recurrent state.
        """
        inp = frames  # Eq. 4, k = K
        if self.input is not None:
            assert condition is not None
            inp = self.input(frames) + condition  # Eq. 4, 1 < k < K
        if conditioning is not None:
            inp = torch.cat([inp, conditioning.to(inp.dtype)], -1)
        return self.rnn(inp, state)  # Eq. 5

    def conditions(
        self, h: Float[Tensor, "batch frames {self.dim}"]
    ) -> Float[Tensor, "batch frames*{self.ratio} {self.dim}"]:
        """Return conditioning vectors at the clock rate of the tier below (Eq. 6)."""
        c = self.upsample(h)
        return c.reshape(c.shape[0], -1, self.dim)


class SampleRNN(StepModel[SampleRNNConfig]):
    """The whole hierarchy; every tier is trained jointly.

    Args:
        config: Sizes.
        seed: Of the initial weights; None leaves them without values or memory, to be loaded.
    """

    def __init__(self, config: SampleRNNConfig, seed: int | None = 0):
        super().__init__(config, seed)
        init = Initializer(seed, config.init)
        tiers = range(2, len(config.frame_sizes) + 1)
        width = self.condition_width()
        self.frame_levels = nn.ModuleList(FrameLevelModule(config, k, init, width) for k in tiers)
        self.sample_level = SampleLevelModule(config, init)
        self.predictor = None
        if config.lp_order:
            self.predictor = LinearPredictor(
                config.lp_method,
                config.lp_tilt or (),
                config.lp_order,
                config.lp_window,
                config.predictor_hop,
                config.lp_noise,
                config.lp_damping,
                torch.from_numpy(self.quantizer.amplitudes),
                self.quantizer.silence,
            )

    @property
    def tiers(self) -> list[FrameLevelModule]:
        """The frame-level tiers, tier 2 first."""
        return list(self.frame_levels)  # pyright: ignore[reportReturnType]

    def initial_state(self, batch: int) -> SampleRNNState:
        """Return the state before the first sample: learned h0, silence behind."""
        device = self.real_values.device
        lookback = self.config.lookback - 1
        return SampleRNNState(
            h=tuple(tier.rnn.initial_state(batch) for tier in self.tiers),
            conditions=tuple(
                self.real_values.new_zeros(batch, tier.ratio, tier.dim) for tier in self.tiers
            ),
            history=torch.full((batch, lookback), self.quantizer.silence, device=device),
            predictor=() if self.predictor is None else self.predictor.initial_state(batch),
            clock=0,
        )

    def reset(self, state: SampleRNNState, mask: Bool[Tensor, " batch"]) -> SampleRNNState:
        """Start new sequences in the rows of ``mask``, at a top-tier frame; the others go on."""
        self.check_boundary(state)
        h = tuple(tier.rnn.reset(h, mask) for tier, h in zip(self.tiers, state.h, strict=True))
        history = state.history.masked_fill(mask.unsqueeze(1), self.quantizer.silence)
        predictor = ()
        if self.predictor is not None:
            fresh = self.predictor.initial_state(len(mask))
            pairs = zip(fresh, state.predictor, strict=True)
            predictor = tuple(torch.where(mask.unsqueeze(1), new, old) for new, old in pairs)
        return SampleRNNState(h, state.conditions, history, predictor, state.clock)

    def forward(
        self,
        previous: Int[Tensor, "batch time"],
        state: SampleRNNState,
        target: Int[Tensor, "batch time"] | None = None,
        conditioning: Float[Tensor, "batch time width"] | None = None,
    ) -> tuple[Float[Tensor, "batch time parameters"], SampleRNNState]:
        """Teacher-forced pass over a subsequence of any length; ``previous[:, t]`` precedes t."""
        codes, prediction, lowest, first, after = self._tiers(previous, state, conditioning)
        fresh = self.tiers[0].conditions(lowest)
        upper = _continue(state.conditions[0], fresh, first)
        conditions = (_latest(state.conditions[0], upper), *after.conditions[1:])
        windows = self._windows(codes, previous.shape[1])
        upper = upper[:, : previous.shape[1]]
        params = self.sample_level(windows, self.real_values[windows], upper, prediction)
        return params, replace(after, conditions=conditions)

    def strided_nll(
        self,
        previous: Int[Tensor, "batch time"],
        state: SampleRNNState,
        target: Int[Tensor, "batch time"],
        mask: Bool[Tensor, "batch time"],
        stride: int,
        conditioning: Float[Tensor, "batch time width"] | None = None,
    ) -> tuple[Float[Tensor, ""], SampleRNNState]:
        """Estimate the summed cost in nats from every ``stride``-th sample, for training.

        The sample level has no memory, so it can be computed at some of the samples alone. In frame
        f of tier 2 these are the samples r with f + r = phase (modulo ``stride``); the phase
        changes from one subsequence to the next.

        Args:
            previous: The codes before those to predict, a whole number of groups of ``stride``
                frames of tier 2.
            state: At the start of a frame.
            target: The codes to predict.
            mask: What is not padding.
            stride: Distance of the samples whose cost is computed; the cost is multiplied by it.
            conditioning: The vector in force at each sample.
        """
        codes, prediction, h, _, after = self._tiers(previous, state, conditioning)
        tier, time = self.tiers[0], previous.shape[1]
        size, phase = tier.frame_size, state.clock // time % stride
        weight, bias = tier.upsample.weight(), tier.upsample.bias
        assert bias is not None

        def chosen(
            x: Tensor,
        ) -> Tensor:  # (batch, time, ...) -> (FS(2), batch, frames / stride, ...)
            x = x.unflatten(1, (-1, size))
            return torch.stack([x[:, (phase - r) % stride :: stride, r] for r in range(size)])

        # Each part is taken once: every slice would have a gradient of the size of the whole.
        frames = [h[:, first::stride] for first in range(stride)]
        maps = zip(*(x.unflatten(0, (size, -1)).unbind() for x in (weight, bias)), strict=True)
        upper = torch.stack(
            [linear(frames[(phase - r) % stride], *maps_of) for r, maps_of in enumerate(maps)]
        )
        windows = chosen(self._windows(codes, time))
        if prediction is not None:
            prediction = Prediction(*map(chosen, prediction))
        params = self.sample_level(windows, self.real_values[windows], upper, prediction)
        nats = self.head.nll(params.flatten(0, 1), chosen(target).flatten(0, 1))
        return stride * nats.masked_fill(~chosen(mask).flatten(0, 1), 0.0).sum(), after

    def _tiers(
        self, previous: Tensor, state: SampleRNNState, conditioning: Tensor | None
    ) -> tuple[Tensor, Prediction | None, Tensor, int, SampleRNNState]:
        """Run all frame-level tiers.

        Returns:
            The codes of the past and of the call; what the linear predictor says; h of tier 2 at
            each of its frames that begins in the call; where the first of them begins; and the
            state after the call, except for the conditioning vectors of tier 2.
        """
        self.check_conditioning(conditioning)
        clock, time, lookback = state.clock, previous.shape[1], self.config.lookback
        codes = torch.cat([state.history, previous], 1)  # x_(t-1) of target t at lookback - 1 + t
        values = self.real_values[codes]
        h, conditions = list(state.h), list(state.conditions)
        upper, first_above = None, 0
        lowest, first = values.new_zeros(len(values), 0, self.config.dim), 0
        for index, tier in reversed(list(enumerate(self.tiers))):
            size = tier.frame_size
            first = -clock % size  # where in this call the tier wakes for the first time
            count = max(0, -(-(time - first) // size))
            if upper is not None:
                upper = _continue(conditions[index + 1], upper, (first_above - first) // size)
                conditions[index + 1] = _latest(conditions[index + 1], upper)
            lowest = values.new_zeros(len(values), 0, tier.dim)
            if count:
                begin = lookback + first - size
                frames = values[:, begin : begin + count * size].unflatten(1, (count, size))
                condition = None if upper is None else upper[:, :count]
                vectors = None if conditioning is None else conditioning[:, first::size]
                lowest, h[index] = tier(frames, condition, h[index], vectors)
            if index:
                upper = tier.conditions(lowest)
            first_above = first
        prediction, predictor = None, ()
        if self.predictor is not None:
            prediction, predictor = self._predict(codes, time, clock, state.predictor)
        history = codes[:, codes.shape[1] - lookback + 1 :]
        after = SampleRNNState(tuple(h), tuple(conditions), history, predictor, clock + time)
        return codes, prediction, lowest, first, after

    def _predict(
        self, codes: Tensor, time: int, clock: int, state: tuple[Tensor, ...]
    ) -> tuple[Prediction, tuple[Tensor, ...]]:
        assert self.predictor is not None
        place, errors, after = self.predictor(codes, time, clock, state)
        recent, long = error_sizes(errors, self.config.lp_largest_error * self.q_levels)
        size = mean_size(recent, long)
        past = errors[:, LONG - self.config.lp_errors :].unfold(1, self.config.lp_errors, 1)
        scaled = (past / size.unsqueeze(-1)).clamp(-6, 6)
        # Sizes are relative to those of 256 codes.
        unit = math.log(self.q_levels / 256)
        sizes = [size.log() - unit, *((mean + LEAST_SIZE).log() - unit for mean in (recent, long))]
        half = self.q_levels / 2
        value = (place - half) / half * 2
        if self.config.frame_values == "companded":
            value = self.real_values[place.round().long()]
        others = [value, *sizes]
        features = torch.cat([scaled, torch.stack(others, -1)], -1)
        return Prediction(features, place, size.log()), after

    def _windows(self, codes: Tensor, time: int) -> Int[Tensor, "batch {time} window"]:
        size = self.config.frame_sizes[0]
        return codes[:, self.config.lookback - size :].unfold(1, size, 1)

    def output_maps(self) -> Iterator[tuple[Linear, int]]:
        """Yield the MLP's last map if it makes logits."""
        if self.config.head == "categorical":
            yield self.sample_level.mlp[-1], 0  # pyright: ignore[reportReturnType]

    def wide_weights(self) -> Iterator[tuple[Weight, int]]:
        """Yield recurrent, input and upsampling maps of the tiers, and the MLP's but its first.

        Frames and codes come in through narrow maps, and the engine makes a table of the latter.
        """
        top = self.tiers[-1]
        for tier in self.tiers:
            yield from tier.rnn.wide_weights(first_input=tier is not top)
            yield tier.upsample.weight, 1
        mlp, has_codes = self.sample_level.mlp, self.config.head == "categorical"
        yield from weights_of(mlp[-2:] if has_codes else mlp[-2:-1])

    def start_at(self, counts: Int64[np.ndarray, " q_levels"]) -> None:
        """Set the output map so that an untrained model predicts codes without context.

        With a linear predictor the untrained model predicts the logistic distribution around the
        prediction.
        """
        if self.predictor is None:
            super().start_at(counts)
        else:
            for linear_map, _ in self.output_maps():
                linear_map.weight.scale(OUTPUT_SCALE)

    @torch.no_grad()
    def prepare_to_prune(self) -> None:
        """Make the first map of the MLP diagonal, at first the identity.

        Chosen: no non-linearity is between that map and tier 2's upsampling and W_x (Eqs. 6, 8 and
        9), so the engine multiplies them out, and the product of two sparse maps is not sparse.
        With a diagonal one it is as sparse as the upsampling. What the model can express stays the
        same: W_x and the upsampling can be whatever they would be after a full map.
        """
        if self.config.mlp_maps == 2:
            return
        first = self.sample_level.mlp[0]
        assert isinstance(first, Linear)
        weight = first.weight
        weight.v.copy_(torch.eye(self.config.dim))
        if weight.g is not None:
            weight.g.fill_(1.0)
        weight.prune(torch.eye(self.config.dim, dtype=torch.bool, device=weight.v.device))

    def fold(self) -> None:
        """Put weight norm into the matrices and the embedding into W_x."""
        super().fold()
        self.sample_level.fold()


def _continue(current: Tensor, fresh: Tensor, remaining: int) -> Tensor:
    """Put what remains of the current frame's conditioning vectors before the fresh ones."""
    kept = current[:, current.shape[1] - remaining :].to(fresh.dtype)
    return torch.cat([kept, fresh], 1) if remaining else fresh


def _latest(current: Tensor, conditions: Tensor) -> Tensor:
    """Return the conditioning vectors of the latest frame."""
    if conditions.shape[1] < current.shape[1]:
        return current
    return conditions[:, conditions.shape[1] - current.shape[1] :].to(current.dtype)
