"""Lanes for stateful truncated BPTT: each walks clips in order, a subsequence at a time.

A batch has one row per lane. A row that starts a clip is marked in ``reset``; a row whose clip ends
within the subsequence is padded, and ``mask`` is False over the padding. A lane whose clip is used
up takes the next one from the common queue.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from samplewise.config.seeds import numpy_generator
from samplewise.data.clips import Clip, cut
from samplewise.data.corpus import Recording
from samplewise.data.reader import ClipConditioning, ConditioningReader
from samplewise.nn.conditioning import ConditioningInputs

ReadCodes = Callable[[Clip], Int[np.ndarray, " samples"]]


@dataclass(frozen=True)
class Batch:
    """One subsequence of every lane."""

    previous: Int[Tensor, "lanes time"]
    """Codes before each target; silence before a clip's first."""
    target: Int[Tensor, "lanes time"]
    """Codes to predict."""
    mask: Bool[Tensor, "lanes time"]
    """False over padding."""
    reset: Bool[Tensor, " lanes"]
    """True where a lane starts a clip."""
    clips: tuple[int | None, ...]
    """Index of each lane's clip in the list that was given; None where a lane has run out."""
    samples: int
    """Targets that are not padding, over the lanes of all ranks."""
    conditioning_inputs: ConditioningInputs | None = None
    """Conditioning inputs of the lanes."""


@dataclass
class _Lane:
    """Where one lane is."""

    clip: Clip | None = None
    index: int = -1
    epoch: int = 0
    position: int = 0
    codes: np.ndarray | None = field(default=None, repr=False)
    conditioning_inputs: ClipConditioning | None = field(default=None, repr=False)

    @property
    def is_done(self) -> bool:
        return self.clip is None or self.position >= self.clip.samples


@dataclass(frozen=True)
class StreamCursor:
    """Everything needed to go on from between two batches."""

    epoch: int = 0
    """Epoch of the next clip in the queue."""
    index: int = 0
    """Place of the next clip in that epoch's order."""
    lanes: tuple[tuple[int, int, int], ...] = ()
    """Epoch, place and position in samples of each lane's clip."""


class LaneStream:
    """Endless training batches; the order of clips is a function of seed and epoch alone."""

    def __init__(
        self,
        recordings: Sequence[Recording],
        read: ReadCodes,
        *,
        lanes: int,
        seq_len: int,
        clip_samples: int,
        seed: int,
        silence: int,
        random_offsets: bool = True,
        rows: slice = slice(None),
        cursor: StreamCursor | None = None,
        conditioning_inputs: ConditioningReader | None = None,
    ):
        """Start at the beginning, or where ``cursor`` says.

        Args:
            recordings: The training split.
            read: Gives the codes of a clip.
            lanes: Rows over all ranks.
            seq_len: Samples of a subsequence.
            clip_samples: Length of a clip; 0 means whole recordings.
            seed: Of the order and the offsets.
            silence: Code before a clip's first sample and over padding.
            random_offsets: Cut each recording at another place in every epoch.
            rows: The lanes that this rank reads; it follows all of them.
            cursor: Where to go on.
            conditioning_inputs: Reads the conditioning inputs of clips.
        """
        if not recordings:
            raise ValueError("recordings is empty: there is nothing to train on")
        self._recordings, self._read, self._conditioning_inputs = (
            recordings,
            read,
            conditioning_inputs,
        )
        self._seq_len, self._clip_samples, self._seed = seq_len, clip_samples, seed
        self._silence, self._random_offsets = silence, random_offsets and clip_samples > 0
        self._rows = range(lanes)[rows]
        self._orders: dict[int, list[Clip]] = {}
        cursor = cursor or StreamCursor()
        self._epoch, self._index = cursor.epoch, cursor.index
        self._lanes = [_Lane() for _ in range(lanes)]
        for lane, (epoch, index, position) in zip(
            self._lanes, cursor.lanes or [(0, -1, 0)] * lanes, strict=True
        ):
            lane.epoch, lane.index, lane.position = epoch, index, position
            lane.clip = self._order(epoch)[index] if index >= 0 else None

    @property
    def cursor(self) -> StreamCursor:
        """Where the stream is, between two batches."""
        lanes = tuple((lane.epoch, lane.index, lane.position) for lane in self._lanes)
        return StreamCursor(self._epoch, self._index, lanes)

    @property
    def epochs(self) -> float:
        """How often the training split has been handed to lanes."""
        return self._epoch + self._index / len(self._order(self._epoch))

    def next_batch(self) -> Batch:
        """Return the next subsequence of the lanes of this rank."""
        reset = []
        for lane in self._lanes:
            reset.append(lane.is_done)
            if lane.is_done:
                self._take_next(lane)
        own = [self._lanes[row] for row in self._rows]
        conditioning_inputs = _conditioning_inputs(own, self._seq_len, self._conditioning_inputs)
        batch = _fill(own, self._seq_len, self._silence, self._read)
        samples = sum(_advance(lane, self._seq_len) for lane in self._lanes)
        marks = torch.tensor([reset[row] for row in self._rows])
        clips = (None,) * len(own)
        return Batch(
            *batch,
            reset=marks,
            clips=clips,
            samples=samples,
            conditioning_inputs=conditioning_inputs,
        )

    def _take_next(self, lane: _Lane) -> None:
        if self._index == len(self._order(self._epoch)):
            self._epoch, self._index = self._epoch + 1, 0
        lane.clip = self._order(self._epoch)[self._index]
        lane.epoch, lane.index, lane.position = self._epoch, self._index, 0
        lane.codes = lane.conditioning_inputs = None
        self._index += 1

    def _order(self, epoch: int) -> list[Clip]:
        if epoch not in self._orders:
            generator = numpy_generator(self._seed, "order", epoch)
            offsets = None
            if self._random_offsets:
                draws = generator.integers(self._clip_samples, size=len(self._recordings))
                offsets = draws.tolist()
            clips = cut(self._recordings, self._clip_samples, offsets)
            self._orders[epoch] = [clips[index] for index in generator.permutation(len(clips))]
            for old in [key for key in self._orders if key < epoch - 1]:
                del self._orders[old]
        return self._orders[epoch]


def finite_batches(
    clips: Sequence[Clip],
    read: ReadCodes,
    *,
    lanes: int,
    seq_len: int,
    silence: int,
    conditioning_inputs: ConditioningReader | None = None,
) -> Iterator[Batch]:
    """Hand out every sample of every clip exactly once, for scoring."""
    queue = iter(enumerate(clips))
    rows = [_Lane() for _ in range(min(lanes, len(clips)))]
    while True:
        reset = []
        for lane in rows:
            reset.append(lane.is_done)
            if lane.is_done:
                lane.index, lane.clip = next(queue, (-1, None))
                lane.position, lane.codes, lane.conditioning_inputs = 0, None, None
        if all(lane.clip is None for lane in rows):
            return
        inputs = _conditioning_inputs(rows, seq_len, conditioning_inputs)
        batch = _fill(rows, seq_len, silence, read)
        names = tuple(None if lane.clip is None else lane.index for lane in rows)
        samples = sum(_advance(lane, seq_len) for lane in rows)
        marks = torch.tensor(reset)
        yield Batch(*batch, reset=marks, clips=names, samples=samples, conditioning_inputs=inputs)


def _fill(
    lanes: Sequence[_Lane], seq_len: int, silence: int, read: ReadCodes
) -> tuple[Tensor, Tensor, Tensor]:
    """Return previous codes, targets and mask of the lanes' current subsequences."""
    codes = np.full((len(lanes), seq_len + 1), silence, dtype=np.int64)
    mask = np.zeros((len(lanes), seq_len), dtype=bool)
    for row, lane in enumerate(lanes):
        if lane.clip is None:
            continue
        if lane.codes is None:
            excited = (
                None if lane.conditioning_inputs is None else lane.conditioning_inputs.excitation
            )
            lane.codes = read(lane.clip) if excited is None else excited.codes
        begin = max(0, lane.position - 1)
        part = lane.codes[begin : lane.position + seq_len]
        first = 1 if lane.position == 0 else 0
        codes[row, first : first + len(part)] = part
        mask[row, : len(part) - 1 + first] = True
    whole = torch.from_numpy(codes)
    return whole[:, :-1], whole[:, 1:], torch.from_numpy(mask)


def _conditioning_inputs(
    lanes: Sequence[_Lane], seq_len: int, reader: ConditioningReader | None
) -> ConditioningInputs | None:
    """Return the cues of the lanes' current subsequences."""
    if reader is None:
        return None
    for lane in lanes:
        if lane.clip is not None and lane.conditioning_inputs is None:
            lane.conditioning_inputs = reader.read(lane.clip)
    states = [None if lane.clip is None else lane.conditioning_inputs for lane in lanes]
    return reader.cut(states, [lane.position for lane in lanes], seq_len)


def _advance(lane: _Lane, seq_len: int) -> int:
    """Move a lane on and return how many samples it gave."""
    if lane.clip is None:
        return 0
    taken = min(seq_len, lane.clip.samples - lane.position)
    lane.position += taken
    return taken
