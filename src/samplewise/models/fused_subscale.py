"""Fused Subscale WaveRNN: two samples a step, one from each half of the state.

Kalchbrenner et al. 2018, section 4.4: B = 2, the state split into two parts, eight softmaxes of 4
bits, F = 2, the samples of the rows as inputs, no conditioning network. The wiring is not in the
paper.

Chosen: step j makes sample j of row 0 and sample j - 3 of row 1, so that row 1 knows row 0 up to
F = 2 columns beyond its own. Neither of the two depends on the other.
Chosen: both halves share one GRU and its whole state; so each row also knows the past of the other.
Chosen: a quarter of a half makes one digit of 4 bits, through two maps of its own, and sees the
digits above it; R h is computed once. That is WaveRNN's order of coarse and fine, with four stages.
Chosen: inputs are the last three samples of row 0, all that row 1 is ahead of, and the last one of
row 1, each as its coarse and fine byte; and for each row whether it draws in this step.
Chosen: a signal is cut into segments of N columns, at whose end the horizon ends too. A segment
takes N + 3 steps: row 1 rests in the first three, row 0 in the last three.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor, nn
from torch.nn import functional as F

from samplewise.config.models import FusedSubscaleConfig
from samplewise.heads.digit_softmax import DIGIT_LEVELS, DIGITS, DigitSoftmaxHead
from samplewise.models.segment_model import SegmentModel, given
from samplewise.nn.init import Initializer
from samplewise.nn.linear import Linear
from samplewise.nn.matmul import linear
from samplewise.nn.rnn import RecurrentLayer, RecurrentStack
from samplewise.nn.wavernn_cell import byte_inputs, gru_units

ROWS, LAG = 2, 3
"""B, and by how many columns row 1 trails row 0: F + 1."""
BYTES = 2 * (LAG + 1)
INPUTS = BYTES + ROWS + ROWS * (DIGITS - 1)
"""Bytes of earlier samples, whether each row draws, the current digits but the last ones."""
PROBE_STEPS = 4


@dataclass(frozen=True)
class FusedState:
    """What the model remembers between two segments."""

    h: Float[Tensor, "batch 1 dim"]
    """State of the GRU: row 0's half first, in each half the highest digit's quarter first."""
    last: Int[Tensor, "batch 2 3"]
    """The last codes of each row, oldest first."""
    clock: int
    """Samples predicted so far."""


class FusedSubscale(SegmentModel[FusedSubscaleConfig]):
    """Two samples of 16 bits in every step.

    Args:
        config: Sizes.
        seed: Of the initial weights; None leaves them without values or memory, to be loaded.
    """

    def __init__(self, config: FusedSubscaleConfig, seed: int | None = 0):
        super().__init__(config, seed)
        self.head: DigitSoftmaxHead = DigitSoftmaxHead()  # pyright: ignore[reportIncompatibleVariableOverride]
        init, dim = Initializer(seed), config.dim
        self.part = dim // (ROWS * DIGITS)
        self.rnn = RecurrentStack(
            inputs=INPUTS,
            dim=dim,
            n_rnn=1,
            cell="gru-reset-after",
            skip=False,
            weight_norm=False,
            learn_h0=config.learn_h0,
            init=init,
        )
        self.layer.input.weight.mask = self._mask()
        sizes = [self.part] * (ROWS * DIGITS)
        self.hidden = nn.ModuleList(Linear(init.he(n, n), weight_norm=False) for n in sizes)
        self.logits = nn.ModuleList(
            Linear(init.he(DIGIT_LEVELS, n), weight_norm=False) for n in sizes
        )

    @property
    def layer(self) -> RecurrentLayer:
        """The GRU."""
        return self.rnn.layers[0]  # pyright: ignore[reportReturnType]

    def output_maps(self) -> Iterator[tuple[Linear, int]]:
        """Yield the map to each digit of each row."""
        for index, digit_map in enumerate(self.logits):
            yield digit_map, index % DIGITS  # pyright: ignore[reportReturnType]

    def initial_state(self, batch: int) -> FusedState:
        """Return the learned h0; silence behind."""
        h = self.rnn.initial_state(batch)
        silence = torch.full((batch, ROWS, LAG), self.quantizer.silence, device=h.device)
        return FusedState(h, silence, 0)

    def reset(self, state: FusedState, mask: Bool[Tensor, " batch"]) -> FusedState:
        """Start new sequences in the rows of ``mask``; the others go on."""
        last = state.last.masked_fill(mask[:, None, None], self.quantizer.silence)
        return FusedState(self.rnn.reset(state.h, mask), last, state.clock)

    def forward(
        self,
        previous: Int[Tensor, "batch time"],
        state: FusedState,
        target: Int[Tensor, "batch time"] | None = None,
        conditioning: Float[Tensor, "batch time width"] | None = None,
    ) -> tuple[Float[Tensor, "batch time 64"], FusedState]:
        """Teacher-forced pass over whole segments.

        Args:
            previous: Not looked at: what a sample follows is in ``target`` and in the state.
            state: At the start of a segment.
            target: The codes to predict, and to depend on.
            conditioning: None: these models are told nothing.

        Raises:
            ValueError: If there is no target, or not a number of whole segments.
        """
        n = self.config.columns
        self.check_conditioning(conditioning)
        codes = self.check_segments(target).unflatten(1, (-1, ROWS)).transpose(1, 2)
        line = torch.cat([state.last, codes], -1)
        x = torch.cat(
            [self._segment(line[:, :, at : at + n + LAG]) for at in range(0, codes.shape[2], n)], 1
        )
        h, last = self.rnn(x, state.h)
        steps = h.unflatten(1, (-1, n + LAG)).unflatten(-1, (ROWS, DIGITS, -1))
        rows = [steps[:, :, :n, 0].flatten(1, 2), steps[:, :, LAG:, 1].flatten(1, 2)]
        params = [
            torch.cat([self._digit(row, digit, h[:, :, digit]) for digit in range(DIGITS)], -1)
            for row, h in enumerate(rows)
        ]
        after = FusedState(last, line[:, :, -LAG:], state.clock + previous.shape[1])
        return torch.stack(params, 2).flatten(1, 2), after

    def probe(self, clips: int) -> Float[Tensor, "steps {clips} numbers"]:
        """Return logits of some steps."""
        h, steps = self.initial_state(clips).h[:, 0], []
        codes = torch.arange(LAG + PROBE_STEPS, device=h.device) * 1009 % self.q_levels
        codes = codes.expand(clips, ROWS, -1)
        half = torch.full((clips, ROWS), 0.5, device=h.device)
        for j in range(PROBE_STEPS):
            now = codes[:, None, :, j : j + LAG]
            x = self._inputs(now, torch.ones(1, ROWS, device=h.device) > 0)[:, 0]
            known = torch.zeros_like(half, dtype=torch.bool)
            _, h, logits = self._draw(x, h, half, None, codes[:, :, j], known)
            steps.append(logits.flatten(1))
        return torch.stack(steps)

    def draw_segment(
        self,
        state: FusedState,
        uniforms: Float[Tensor, "batch samples"],
        temperature: Float[Tensor, "batch samples"] | None = None,
        known: Int[Tensor, "batch known"] | None = None,
        min_p: float = 0.0,
    ) -> tuple[Int[Tensor, "batch samples"], FusedState, Float64[Tensor, "batch samples"]]:
        """Draw a segment, two samples a step."""
        n, (codes, is_known) = self.config.columns, given(known, 2 * self.config.columns, uniforms)
        codes, is_known, uniforms = (_steps(part, n) for part in (codes, is_known, uniforms))
        temperatures = None if temperature is None else _steps(temperature, n, 1)
        line = torch.cat([state.last, codes.new_zeros(len(codes), ROWS, n)], -1)
        h, params = state.h[:, 0], []
        for j in range(n + LAG):
            x = self._inputs(*self._at(line, torch.tensor([j], device=line.device)))[:, 0]
            own = None if temperatures is None else temperatures[..., j]
            drawn, h, logits = self._draw(
                x, h, uniforms[..., j], own, codes[..., j], is_known[..., j], min_p
            )
            params.append(logits)
            if j < n:
                line[:, 0, LAG + j] = drawn[:, 0]
            if j >= LAG:
                line[:, 1, j] = drawn[:, 1]  # LAG + (j - LAG)
        logits = torch.stack(params, 2)  # (batch, rows, steps, 64)
        logits = torch.stack([logits[:, 0, :n], logits[:, 1, LAG:]], 2).flatten(0, 2)
        found = line[:, :, LAG:].transpose(1, 2).flatten(1)
        scores = self.head.log_prob(logits, found.flatten()).view_as(found)
        return found, FusedState(h[:, None], line[:, :, -LAG:], state.clock + 2 * n), scores

    def _draw(
        self,
        x: Float[Tensor, "batch inputs"],
        h: Float[Tensor, "batch dim"],
        uniforms: Float[Tensor, "batch 2"],
        temperature: Float[Tensor, "batch 2"] | None,
        known: Int[Tensor, "batch 2"],
        is_known: Bool[Tensor, "batch 2"],
        min_p: float = 0.0,
    ) -> tuple[Int[Tensor, "batch 2"], Float[Tensor, "batch dim"], Float[Tensor, "batch 2 64"]]:
        """Make one step, digit after digit; R h is computed once."""
        products = linear(h, self.layer.recurrent())
        digits = torch.zeros(len(x), ROWS, DIGITS, dtype=torch.int64, device=x.device)
        right, rest = self.head.symbols(known), list(uniforms.unbind(1))
        parts: list[list[Tensor]] = [[], []]
        params: list[list[Tensor]] = [[], []]
        for digit in range(DIGITS):
            gates = self.layer.input(torch.cat([x, _scalars(digits, x)], -1))
            for row in range(ROWS):
                begin = (DIGITS * row + digit) * self.part
                units = slice(begin, begin + self.part)
                parts[row].append(gru_units(self.layer, gates, products, h, units))
                logits = self._digit(row, digit, parts[row][-1])
                params[row].append(logits)
                own = None if temperature is None else temperature[:, row]
                code, rest[row] = self.head.sample_stage(logits, rest[row], own, min_p)
                is_given = is_known[:, row]
                digits[:, row, digit] = torch.where(is_given, right[:, row, digit], code)
        after = torch.cat([*parts[0], *parts[1]], -1)
        return self.head.join(digits), after, torch.stack([torch.cat(p, -1) for p in params], 1)

    def _digit(
        self, row: int, digit: int, h: Float[Tensor, "*lead part"]
    ) -> Float[Tensor, "*lead 16"]:
        """Return the logits of one digit from the units that make it."""
        index = DIGITS * row + digit
        return self.logits[index](F.relu(self.hidden[index](h)))

    def _segment(self, line: Int[Tensor, "batch 2 columns"]) -> Float[Tensor, "batch steps inputs"]:
        """Return the inputs of all steps of a segment, from its codes and the three before."""
        steps = torch.arange(self.config.columns + LAG, device=line.device)
        x = self._inputs(*self._at(line, steps))
        digits = self.head.symbols(line[:, :, LAG:])
        early, late = F.pad(digits[:, 0], (0, 0, 0, LAG)), F.pad(digits[:, 1], (0, 0, LAG, 0))
        current = torch.stack([early, late], 2).flatten(0, 1)
        return torch.cat([x, _scalars(current, x).unflatten(0, x.shape[:2])], -1)

    def _at(
        self, line: Int[Tensor, "batch 2 columns"], j: Int[Tensor, " steps"]
    ) -> tuple[Int[Tensor, "batch steps 2 3"], Bool[Tensor, "steps 2"]]:
        """Return the last three codes of each row at step j, and whether each row draws."""
        n, offsets = self.config.columns, torch.arange(LAG, device=j.device)
        first = j.clamp(max=n)[:, None] + offsets
        second = (j - LAG).clamp(0, n)[:, None] + offsets
        return torch.stack([line[:, 0, first], line[:, 1, second]], 2), torch.stack(
            [j < n, j >= LAG], 1
        )

    def _inputs(
        self, codes: Int[Tensor, "batch steps 2 3"], draws: Bool[Tensor, "steps 2"]
    ) -> Float[Tensor, "batch steps inputs"]:
        """Return the inputs that are known before a step."""
        used = torch.cat([codes[:, :, 0], codes[:, :, 1, -1:]], 2)
        both = byte_inputs(used, used, self.real_values)[..., :2].flatten(2)
        return torch.cat([both, draws.to(both.dtype).expand(len(both), -1, -1)], -1)

    def _mask(self) -> Bool[Tensor, "gates inputs"]:
        """Return what may be seen: of the current digits, only those above in the same sample."""
        mask = torch.ones(3, ROWS, DIGITS, self.part, INPUTS, dtype=torch.bool)
        mask[..., BYTES + ROWS :] = False
        for row in range(ROWS):
            begin = BYTES + ROWS + row * (DIGITS - 1)
            for digit in range(1, DIGITS):
                mask[:, row, digit, :, begin : begin + digit] = True
        return mask.flatten(0, 3)


def _scalars(digits: Int[Tensor, "batch 2 4"], like: Tensor) -> Float[Tensor, "batch 6"]:
    """Return the digits but the last of each row, scaled to [-1, 1]."""
    return digits[..., :-1].flatten(1).to(like.dtype) * (2 / (DIGIT_LEVELS - 1)) - 1


def _steps(signal: Tensor, columns: int, rest: int = 0) -> Tensor:
    """Return (batch, 2, steps) of (batch, time): what each row has in each step, else ``rest``."""
    rows = signal.unflatten(1, (columns, ROWS)).transpose(1, 2)
    early = F.pad(rows[:, 0], (0, LAG), value=rest)
    return torch.stack([early, F.pad(rows[:, 1], (LAG, 0), value=rest)], 1)
