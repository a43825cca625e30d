"""Subscale WaveRNN: interleaved rows that one network can draw at once.

Kalchbrenner et al. 2018, section 4. A signal u is folded into B rows, row s = (u_(B i + s))_i. The
sample in row s, column i depends on its own row before i, and on rows z < s up to column i + F.
One WaveRNN, shared by all rows, walks along each of them; what it may know of the rows before comes
from a network of dilated convolutions that see columns i to i + F (section 5.3).

What the paper leaves open, and what is decided:

Chosen: the mask "over past connections" is taken at its word: convolutions look from column i to
i + F only. The past of rows z < s comes to row s through its state, without limit.
Chosen: the network sees of a column, for each distance j = 1 to B - 1, the coarse and the fine code
of row s - j as scalars, and whether there is such a row; and a bias of its own for each s.
Chosen: its output enters all gates through a linear map, as inputs of the GRU beside the codes.
Chosen: row 0 knows no other row, so the network is not asked for it; with B = 1 there is none, and
the model is a WaveRNN, weight for weight.
Chosen: a signal is cut into segments of N columns; what lies beyond the end of one's segment counts
as unknown. So a pass over several segments gives the numbers of one over all of them, and the
states are carried on. The wavefront need not stop at a segment's end.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor
from torch.nn import functional as F

from samplewise.config.models import SubscaleWaveRNNConfig
from samplewise.heads.dual_softmax import DualSoftmaxHead
from samplewise.models.segment_model import SegmentModel, given
from samplewise.nn.init import Initializer
from samplewise.nn.linear import Linear, Weight
from samplewise.nn.lookahead_conv import LookaheadStack
from samplewise.nn.matmul import linear
from samplewise.nn.rnn import RecurrentLayer
from samplewise.nn.wavernn_cell import SCALARS, byte_inputs, cell_weights, gru_units, masked_gru
from samplewise.quantizers import FINE_LEVELS

BLOCK = 64
"""Most columns for which the network is asked at once; fewer mean less delay and more work."""
PROBE_STEPS = 4
GATE_BYTES = 512 * 2**20
"""Memory that the gates of a block may take; it bounds the number of clips drawn together."""


@dataclass(frozen=True)
class SubscaleState:
    """What a Subscale WaveRNN remembers between two segments."""

    h: Float[Tensor, "batch rows dim"]
    """State of the GRU of each row, coarse half first."""
    last: Int[Tensor, "batch rows"]
    """Codes of the last column."""
    clock: int
    """Samples predicted so far."""


class SubscaleWaveRNN(SegmentModel[SubscaleWaveRNNConfig]):
    """One WaveRNN for all rows, conditioned by the rows before.

    Args:
        config: Sizes.
        seed: Of the initial weights; None leaves them without values or memory, to be loaded.
    """

    def __init__(self, config: SubscaleWaveRNNConfig, seed: int | None = 0):
        super().__init__(config, seed)
        self.head: DualSoftmaxHead = DualSoftmaxHead()  # pyright: ignore[reportIncompatibleVariableOverride]
        init, dim, half = Initializer(seed), config.dim, config.dim // 2
        self.middle, self.earlier = half, config.n_subscale - 1
        width = config.residual_channels if self.earlier else 0
        self.rnn = masked_gru(dim, config.learn_h0, init, width)
        self.o1 = Linear(init.he(half, half), weight_norm=False)
        self.o2 = Linear(init.he(FINE_LEVELS, half), weight_norm=False)
        self.o3 = Linear(init.he(half, half), weight_norm=False)
        self.o4 = Linear(init.he(FINE_LEVELS, half), weight_norm=False)
        self.network = None
        if self.earlier:
            self.network = LookaheadStack(
                SCALARS * self.earlier,
                self.earlier,
                config.dilations,
                config.residual_channels,
                config.channels,
                init,
            )

    @property
    def layer(self) -> RecurrentLayer:
        """The GRU of every row."""
        return self.rnn.layers[0]  # pyright: ignore[reportReturnType]

    def output_maps(self) -> Iterator[tuple[Linear, int]]:
        """Yield O2, which makes coarse codes, and O4, which makes fine ones."""
        yield self.o2, 0
        yield self.o4, 1

    def wide_weights(self) -> Iterator[tuple[Weight, int]]:
        """Yield R and O1 to O4; the conditioning network stays dense."""
        yield from cell_weights(self.layer, self.o1, self.o2, self.o3, self.o4)

    def initial_state(self, batch: int) -> SubscaleState:
        """Return the learned h0 in every row; silence behind."""
        rows = self.config.n_subscale
        h = self.rnn.initial_state(batch).expand(batch, rows, -1)
        silence = torch.full((batch, rows), self.quantizer.silence, device=h.device)
        return SubscaleState(h, silence, 0)

    def reset(self, state: SubscaleState, mask: Bool[Tensor, " batch"]) -> SubscaleState:
        """Start new sequences in the rows of the batch where ``mask`` is true."""
        h = torch.where(mask[:, None, None], self.rnn.h0, state.h)
        last = state.last.masked_fill(mask[:, None], self.quantizer.silence)
        return SubscaleState(h, last, state.clock)

    def forward(
        self,
        previous: Int[Tensor, "batch time"],
        state: SubscaleState,
        target: Int[Tensor, "batch time"] | None = None,
        conditioning: Float[Tensor, "batch time width"] | None = None,
    ) -> tuple[Float[Tensor, "batch time 512"], SubscaleState]:
        """Teacher-forced pass over whole segments, all rows at once.

        Args:
            previous: Not looked at: what a sample follows in its row is in ``target`` and state.
            state: At the start of a segment.
            target: The codes to predict, and to depend on.
            conditioning: None: these models are told nothing.

        Raises:
            ValueError: If there is no target, or not a number of whole segments.
        """
        self.check_conditioning(conditioning)
        codes = fold(self.check_segments(target), self.config.n_subscale)
        before = torch.cat([state.last[:, :, None], codes[:, :, :-1]], -1)
        x = byte_inputs(before, codes // FINE_LEVELS, self.real_values)
        if self.earlier:
            x = torch.cat([x, self._conditions(codes)], -1)
        h, last = self.rnn(x.flatten(0, 1), state.h.flatten(0, 1)[:, None])
        coarse = self.o2(F.relu(self.o1(h[..., : self.middle])))
        fine = self.o4(F.relu(self.o3(h[..., self.middle :])))
        params = torch.cat([coarse, fine], -1).unflatten(0, state.h.shape[:2])
        after = SubscaleState(
            last[:, 0].unflatten(0, state.h.shape[:2]),
            codes[:, :, -1],
            state.clock + previous.shape[1],
        )
        return params.transpose(1, 2).flatten(1, 2), after

    def conditions(
        self,
        slots: Int[Tensor, "batch earlier earlier columns"],
        known: Bool[Tensor, "#batch earlier earlier #columns"],
    ) -> Float[Tensor, "batch earlier columns-{self.config.horizon} residual"]:
        """Return what the network says to rows 1 to B - 1.

        Args:
            slots: Codes by row s that asks, distance j - 1 of the row s - j that is seen, column.
            known: Where there is such a row, and such a column.
        """
        assert self.network is not None
        x = byte_inputs(slots, slots // FINE_LEVELS, self.real_values)
        x[..., 2] = 1  # the third number tells known codes from unknown ones
        x = x * known[..., None]
        return self.network(x.transpose(2, 3).flatten(3))

    def neighbours(self) -> Int[Tensor, "earlier earlier"]:
        """Return row s - j for row s = 1 to B - 1 and distance j = 1 to B - 1; negative: none."""
        row = torch.arange(1, self.earlier + 1, device=self.real_values.device)
        return row[:, None] - row

    def _conditions(
        self, codes: Int[Tensor, "batch rows columns"]
    ) -> Float[Tensor, "batch rows columns residual"]:
        """Return what the network says about whole segments; zeros to row 0."""
        columns, horizon = self.config.columns, self.config.horizon
        rows = self.neighbours()
        by_segment = codes.unflatten(2, (-1, columns)).transpose(1, 2).flatten(0, 1)
        slots = F.pad(by_segment[:, rows.clamp(min=0)], (0, horizon))
        within = torch.arange(columns + horizon, device=rows.device) < columns
        known = (rows >= 0)[:, :, None] & within
        said = self.conditions(slots, known[None]).unflatten(0, (len(codes), -1))
        said = said.transpose(1, 2).flatten(2, 3)  # (batch, rows, columns, residual)
        return torch.cat([torch.zeros_like(said[:, :1]), said], 1)

    def condition_gates(
        self, said: Float[Tensor, "*lead columns residual"] | None, columns: int
    ) -> Float[Tensor, "*lead columns gates"]:
        """Return what a row's conditions add to its gates, biases included; None for row 0."""
        bias = self.layer.input.bias
        assert bias is not None
        if said is None:
            return bias.expand(columns, -1)
        return linear(said, self.layer.input.weight()[:, SCALARS:].contiguous(), bias)

    def sample_rows(
        self,
        previous: Int[Tensor, " rows"],
        h: Float[Tensor, "rows dim"],
        gates: Float[Tensor, "rows gates"],
        uniforms: Float[Tensor, " rows"],
        temperature: Float[Tensor, " rows"] | None,
        known: Int[Tensor, " rows"],
        is_known: Bool[Tensor, " rows"],
        min_p: float = 0.0,
    ) -> tuple[Int[Tensor, " rows"], Float[Tensor, "rows dim"], Float[Tensor, "rows 512"]]:
        """Draw one sample of each of some rows, whose conditions are in ``gates``.

        Where ``is_known`` the codes are not drawn but taken from ``known``.

        Returns:
            Codes, h after them, and the logits.
        """
        half, weight = self.middle, self.layer.input.weight()[:, :SCALARS]
        products = linear(h, self.layer.recurrent())

        def units(coarse: Tensor, which: slice) -> Tensor:
            x = byte_inputs(previous, coarse, self.real_values)
            return gru_units(self.layer, gates + F.linear(x, weight), products, h, which)

        coarse_half = units(torch.zeros_like(previous), slice(0, half))
        coarse_logits = self.o2(F.relu(self.o1(coarse_half)))
        coarse, rest = self.head.sample_stage(coarse_logits, uniforms, temperature, min_p)
        coarse = torch.where(is_known, known // FINE_LEVELS, coarse)
        fine_half = units(coarse, slice(half, None))
        fine_logits = self.o4(F.relu(self.o3(fine_half)))
        fine, _ = self.head.sample_stage(fine_logits, rest, temperature, min_p)
        fine = torch.where(is_known, known % FINE_LEVELS, fine)
        after = torch.cat([coarse_half, fine_half], -1)
        return coarse * FINE_LEVELS + fine, after, torch.cat([coarse_logits, fine_logits], -1)

    def probe(self, clips: int) -> Float[Tensor, "steps {clips} numbers"]:
        """Return logits of some steps of all rows, as a wavefront draws them."""
        rows, columns = self.config.n_subscale, self.block + self.config.horizon
        generator = torch.Generator().manual_seed(0)
        codes = torch.randint(self.q_levels, (rows, columns), generator=generator)
        codes = codes.to(self.real_values.device).expand(clips, -1, -1)
        gates = self.condition_gates(None, 1).expand(clips, rows, -1)
        if self.earlier:
            near = self.neighbours()
            said = self.conditions(codes[:, near.clamp(min=0)], (near >= 0)[None, :, :, None])
            gates = torch.cat([gates[:, :1], self.condition_gates(said, self.block)[:, :, 0]], 1)
        h, steps = self.initial_state(clips).h.flatten(0, 1), []
        for i in range(min(PROBE_STEPS, columns)):
            now = codes[:, :, i].flatten()
            half = torch.full_like(now, 0.5, dtype=torch.float32)
            known = torch.zeros_like(now, dtype=torch.bool)
            _, h, logits = self.sample_rows(now, h, gates.flatten(0, 1), half, None, now, known)
            steps.append(logits.unflatten(0, (clips, rows)).flatten(1))
        return torch.stack(steps)

    @property
    def block(self) -> int:
        """L of section 4.3: columns for which the network is asked at once; it divides N."""
        return block_size(self.config)

    def draw_segment(
        self,
        state: SubscaleState,
        uniforms: Float[Tensor, "batch samples"],
        temperature: Float[Tensor, "batch samples"] | None = None,
        known: Int[Tensor, "batch known"] | None = None,
        min_p: float = 0.0,
    ) -> tuple[Int[Tensor, "batch samples"], SubscaleState, Float64[Tensor, "batch samples"]]:
        """Draw a segment row after row: the plain order, which the wavefront is compared with."""
        rows, columns = self.config.n_subscale, self.config.columns
        given_codes, is_given = given(known, self.config.top_frame, uniforms)
        codes, is_known = fold(given_codes, rows).clone(), fold(is_given, rows)
        numbers = fold(uniforms, rows)
        temperatures = None if temperature is None else fold(temperature, rows)
        h, last, params = state.h.clone(), state.last.clone(), []
        for s in range(rows):
            said = self._conditions(codes)[:, s] if s else None
            gates = self.condition_gates(said, columns).expand(len(codes), -1, -1)
            for i in range(columns):
                codes[:, s, i], h[:, s], logits = self.sample_rows(
                    *(last[:, s], h[:, s], gates[:, i], numbers[:, s, i]),
                    None if temperatures is None else temperatures[:, s, i],
                    *(codes[:, s, i], is_known[:, s, i], min_p),
                )
                last[:, s] = codes[:, s, i]
                params.append(logits)
        logits = torch.stack(params, 1).unflatten(1, (rows, columns)).transpose(1, 2).flatten(0, 2)
        drawn = codes.transpose(1, 2).flatten(1, 2)
        scores = self.head.log_prob(logits, drawn.flatten()).view_as(drawn)
        return drawn, SubscaleState(h, last, state.clock + drawn.shape[1]), scores


def block_size(config: SubscaleWaveRNNConfig) -> int:
    """Return the largest number of columns up to ``BLOCK`` that divides a segment's."""
    columns = config.columns
    return max(size for size in range(1, min(BLOCK, columns) + 1) if columns % size == 0)


def max_clips(config: SubscaleWaveRNNConfig, element_size: int = 4) -> int:
    """Return the largest number of clips that are drawn together, given the bytes of a number."""
    gates = element_size * 3 * config.dim * block_size(config) * config.n_subscale
    return max(1, GATE_BYTES // gates)


def fold(signal: Tensor, rows: int) -> Tensor:
    """Return (batch, rows, columns) of (batch, time): sample t is in row t mod B, column t // B."""
    return signal.unflatten(1, (-1, rows)).transpose(1, 2)
