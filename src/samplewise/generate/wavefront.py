"""Subscale WaveRNN drawn as a wavefront: all rows at once, each behind the one before.

Kalchbrenner et al. 2018, sections 4.2 and 4.3. Row s trails row s - 1 by F + L columns, rounded up
to blocks of L: the conditioning network computes L columns of every row at a time, then all rows
take L steps together. With L = 1 that is the paper's lag of F + 1. Row 0 depends on no other row,
so the wavefront continues from segment to segment without a pause.

Chosen: the network's layers are computed anew over L + F columns for each block, and no
activations are kept. So a block costs the same wherever it lies, and a row may be anywhere in its
segment.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from samplewise.engine.sampler import WeightFormat
from samplewise.engine.wavernn_cell import DRAW, NativeCell
from samplewise.generate.segments import SegmentSampler, SegmentSamplerState
from samplewise.models.base import State
from samplewise.models.subscale_wavernn import SubscaleState, SubscaleWaveRNN, fold, max_clips


@dataclass(frozen=True)
class Front:
    """Progress of the rows since the start of the current segment."""

    blocks: int
    """Blocks that row 0 has drawn."""
    codes: Int[Tensor, "batch rows columns"]
    """Codes that were drawn, and zeros after them."""
    scores: Float[Tensor, "batch rows columns"]
    """ln p of each, in nats."""
    h: Float[Tensor, "batch rows dim"]
    """State of each row."""
    last: Int[Tensor, "batch rows"]
    """Last code of each row."""
    marks: tuple[Float[Tensor, "batch rows dim"], ...]
    """States at the end of each segment that some row has finished; zeros for the other rows."""


class WavefrontSampler(SegmentSampler):
    """Draws all rows of all clips as one batch; see :class:`SegmentSampler`.

    Args:
        model: In evaluation mode; slow unless its weights are folded.
        clips: Largest number of clips that are drawn together; see :attr:`max_batch`.
        min_p: As for :class:`SegmentSampler`.
    """

    model: SubscaleWaveRNN

    def __init__(self, model: SubscaleWaveRNN, clips: int = 1, min_p: float = 0.0):
        config = model.config
        self.rows, self.columns, self.block = config.n_subscale, config.columns, model.block
        size = model.real_values.element_size()
        super().__init__(model, min(clips, max_clips(config, size)), min_p)
        self.lag = 1 + -(-config.horizon // self.block)

    @property
    def lookahead(self) -> int:
        """Random numbers needed beyond those of the samples asked for: the front's length."""
        return self.rows * self.block * ((self.rows - 1) * self.lag + 1) - 1

    def _draw(
        self,
        sampler_state: SegmentSamplerState,
        count: int,
        numbers: Float[Tensor, "rows numbers"],
        temperatures: Float[Tensor, "rows numbers"] | None,
    ) -> tuple[Tensor, Tensor, SegmentSamplerState]:
        begin, end = sampler_state.known.shape[1], sampler_state.known.shape[1] + count
        front = sampler_state.lookahead or self._begin(sampler_state.model)
        run = _Run(self, front, self._blocks(end), sampler_state.known, numbers, temperatures)
        while run.blocks < self._blocks(end):
            run.advance()
        front = run.front()
        codes = front.codes.transpose(1, 2).flatten(1)
        scores = front.scores.transpose(1, 2).flatten(1)
        after = replace(sampler_state, known=codes[:, :end], lookahead=front)
        while after.known.shape[1] >= self.segment:
            after = self._next_segment(after)
        return codes[:, begin:end], scores[:, begin:end], after

    def _pass(self, state: SubscaleState, codes: Int[Tensor, "rows samples"]) -> State:
        need = self._blocks(self.segment)
        run = _Run(self, self._begin(state), need, codes, None, None)
        while run.blocks < need:
            run.advance()
        return self._next_segment(SegmentSamplerState(state, codes, 1, run.front())).model

    def run_cell(
        self,
        last: Int[Tensor, " rows"],
        h: Float[Tensor, "rows dim"],
        condition: Float[Tensor, "rows columns residual"],
        numbers: Float[Tensor, "rows columns"],
        temperatures: Float[Tensor, "rows columns"] | None,
        codes: Int[Tensor, "rows columns"],
        is_known: Bool[Tensor, "rows columns"],
    ) -> tuple[
        Int[Tensor, "rows columns"], Float[Tensor, "rows columns"], Float[Tensor, "rows dim"]
    ]:
        """Step the rows, a column at a time; return codes, ln p of each and h after them."""
        gates = self.model.condition_gates(
            condition if condition.shape[2] else None, condition.shape[1]
        )
        gates = gates.expand(len(last), -1, -1)
        drawn, scores = [], []
        for i in range(self.block):
            last, h, logits = self.model.sample_rows(
                *(
                    last,
                    h,
                    gates[:, i],
                    numbers[:, i],
                    None if temperatures is None else temperatures[:, i],
                ),
                *(codes[:, i], is_known[:, i], self.min_p),
            )
            scores.append(self.model.head.log_prob(logits, last))
            drawn.append(last)
        return torch.stack(drawn, 1), torch.stack(scores, 1), h

    def _blocks(self, samples: int) -> int:
        """Return how many blocks row 0 has drawn once all rows have drawn ``samples`` samples."""
        columns = -(-samples // self.rows)
        return -(-columns // self.block) + (self.rows - 1) * self.lag

    def _begin(self, state: SubscaleState) -> Front:
        codes = state.last.new_zeros(*state.last.shape, 0)
        return Front(0, codes, codes.double(), state.h, state.last, ())

    def _next_segment(self, sampler_state: SegmentSamplerState) -> SegmentSamplerState:
        """Move the state to the next segment; every row has finished the current one."""
        front, n = sampler_state.lookahead, self.columns
        last, clock = front.codes[:, :, n - 1], sampler_state.model.clock + self.segment
        return replace(
            sampler_state,
            model=SubscaleState(front.marks[0], last, clock),
            known=sampler_state.known[:, self.segment :],
            lookahead=replace(
                front,
                blocks=front.blocks - n // self.block,
                codes=front.codes[:, :, n:],
                scores=front.scores[:, :, n:],
                marks=front.marks[1:],
            ),
        )


class NativeWavefrontSampler(WavefrontSampler):
    """Wavefront sampler whose rows the native engine steps; PyTorch runs the network.

    Args:
        model: On the CPU, in float32.
        clips: Largest number of clips that are drawn together; see :attr:`max_batch`.
        weights: Format of the cell's weights in the engine.
        threads: CPU threads of the engine; None takes every core that this process may use.
        min_p: As for :class:`SegmentSampler`.
    """

    name = "native"

    def __init__(
        self,
        model: SubscaleWaveRNN,
        clips: int = 1,
        weights: WeightFormat = "int8",
        threads: int | None = None,
        min_p: float = 0.0,
    ):
        super().__init__(model, clips, min_p)
        rows = self.plan.rows(self.max_batch) * self.rows
        self.cell = NativeCell(model, rows, weights, threads, min_p)

    def run_cell(
        self,
        last: Int[Tensor, " rows"],
        h: Float[Tensor, "rows dim"],
        condition: Float[Tensor, "rows columns residual"],
        numbers: Float[Tensor, "rows columns"],
        temperatures: Float[Tensor, "rows columns"] | None,
        codes: Int[Tensor, "rows columns"],
        is_known: Bool[Tensor, "rows columns"],
    ) -> tuple[
        Int[Tensor, "rows columns"], Float[Tensor, "rows columns"], Float[Tensor, "rows dim"]
    ]:
        """Do what the reference does; narrower weights make a slightly different model."""
        found = self.cell.run(
            *(last.numpy(), h.numpy(), condition.numpy(), numbers.float().numpy()),
            None if temperatures is None else temperatures.double().numpy(),
            codes.masked_fill(~is_known, DRAW).numpy(),
        )
        drawn, scores, after = map(torch.from_numpy, found)
        return drawn, scores, after


class _Run:
    """A wavefront in progress: a copy of a :class:`Front` that changes."""

    def __init__(
        self,
        sampler: WavefrontSampler,
        front: Front,
        blocks: int,
        known: Int[Tensor, "batch known"],
        numbers: Float[Tensor, "batch numbers"] | None,
        temperatures: Float[Tensor, "batch numbers"] | None,
    ):
        """Make room for ``blocks`` blocks of row 0; without numbers, all codes are known."""
        self.sampler, self.model = sampler, sampler.model
        self.blocks, self.h, self.last = front.blocks, front.h, front.last
        _, rows, columns = front.codes.shape
        self.end = None if numbers is not None else known.shape[1] // rows
        room = (0, blocks * sampler.block - columns)
        self.codes = torch.nn.functional.pad(front.codes, room)
        self.scores = torch.nn.functional.pad(front.scores, room)
        self.marks = [mark.clone() for mark in front.marks]
        size = (0, self.codes.shape[2] * rows)
        self.is_known = torch.arange(size[1], device=known.device) < known.shape[1]
        self.is_known = fold(self.is_known[None], rows)[0]  # (rows, columns)
        given = fold(_padded(known, size[1]), rows)
        self.codes = torch.where(self.is_known, given, self.codes)
        self.numbers = fold(_padded(numbers if numbers is not None else known * 0.0, size[1]), rows)
        self.temperatures = (
            None if temperatures is None else fold(_padded(temperatures, size[1]), rows)
        )
        self.row = torch.arange(rows, device=known.device)

    def front(self) -> Front:
        """Return the progress of the rows."""
        return Front(self.blocks, self.codes, self.scores, self.h, self.last, tuple(self.marks))

    def advance(self) -> None:
        """Draw one block of every row that can move."""
        size = self.sampler.block
        first = (self.blocks - self.row * self.sampler.lag) * size  # column of each row
        moves = first >= 0
        if self.end is not None:
            moves &= first < self.end
        columns = first.clamp(min=0)[:, None] + torch.arange(size, device=first.device)
        columns = columns.clamp(max=self.codes.shape[2] - 1)
        place = (self.row[:, None], columns)
        is_known = self.is_known[place].expand(len(self.codes), -1, -1)
        temperatures = (
            None if self.temperatures is None else self.temperatures[:, *place].flatten(0, 1)
        )
        codes, scores, h = self.sampler.run_cell(
            *(self.last.flatten(), self.h.flatten(0, 1)),
            self._condition(first.clamp(min=0)).flatten(0, 1),
            *(self.numbers[:, *place].flatten(0, 1), temperatures),
            *(self.codes[:, *place].flatten(0, 1), is_known.flatten(0, 1)),
        )
        codes, scores = (part.unflatten(0, self.last.shape) for part in (codes, scores))
        self.last = torch.where(moves, codes[:, :, -1], self.last)
        self.h = torch.where(moves[:, None], h.view_as(self.h), self.h)
        moving = self.row[moves]
        target = (slice(None), moving[:, None], columns[moves])
        self.codes[target], self.scores[target] = codes[:, moves], scores[:, moves]
        self._mark(moving, first[moves] + size)
        self.blocks += 1

    def _condition(
        self, first: Int[Tensor, " rows"]
    ) -> Float[Tensor, "batch rows columns residual"]:
        """Return the network's output for every row, from its first column on; zeros for row 0."""
        model, size = self.model, self.sampler.block
        if not model.earlier:
            return model.real_values.new_zeros(len(self.codes), 1, size, 0)
        near, n = model.neighbours(), self.sampler.columns
        lookahead = torch.arange(size + model.config.horizon, device=near.device)
        columns = (first[1:, None] + lookahead)[:, None]  # (row, 1, columns)
        ends = ((first[1:] // n + 1) * n)[:, None, None]  # beyond the segment all is unknown
        seen: Bool[Tensor, "rows rows columns"] = (near >= 0)[:, :, None] & (columns < ends)
        columns = columns.clamp(max=self.codes.shape[2] - 1)
        slots = self.codes[:, near.clamp(min=0)[:, :, None], columns]
        condition = model.conditions(slots, seen[None])
        return torch.cat([torch.zeros_like(condition[:, :1]), condition], 1)

    def _mark(self, rows: Int[Tensor, " moving"], columns: Int[Tensor, " moving"]) -> None:
        """Record the states of rows that have just finished a segment."""
        n = self.sampler.columns
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            if column % n == 0:
                while len(self.marks) < column // n:
                    self.marks.append(torch.zeros_like(self.h))
                self.marks[column // n - 1][:, row] = self.h[:, row]


def _padded(values: Tensor, size: int) -> Tensor:
    """Return ``size`` columns of ``values``, zeros after its own."""
    return torch.nn.functional.pad(values[:, :size], (0, max(0, size - values.shape[1])))
