"""Lanes for stateful truncated BPTT: each walks clips in order, a subsequence at a time.

A batch has one row per lane. A row that starts a clip is marked in ``reset``; a row whose clip ends
within the subsequence is padded, and ``mask`` is False over the padding. A lane whose clip is used
up takes the next one from the common queue.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from samplewise.config.seeds import numpy_generator
from samplewise.data.corpus import Recording
from samplewise.data.excerpts import Excerpt, Excerpts, cut
from samplewise.data.reader import ClipContent, ClipReader
from samplewise.nn.conditioning import ConditioningInputs


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

    def map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        """Return the batch with ``function`` applied to each tensor, in the order of the fields."""
        names = ("previous", "target", "mask", "reset")
        changes = {name: function(getattr(self, name)) for name in names}
        inputs = self.conditioning_inputs
        return replace(
            self,
            **changes,
            conditioning_inputs=None if inputs is None else inputs.map(function),
        )

    def tensors(self) -> list[Tensor]:
        """Return the tensors, in the order of :meth:`map`."""
        found: list[Tensor] = []
        self.map(lambda tensor: found.append(tensor) or tensor)
        return found


@dataclass
class _Lane:
    """Where one lane is."""

    clip: Excerpt | None = None
    index: int = -1
    epoch: int = 0
    position: int = 0
    content: ClipContent | None = field(default=None, repr=False)

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
        reader: ClipReader,
        *,
        lanes: int,
        seq_len: int,
        clip_samples: int,
        seed: int,
        random_offsets: bool = True,
        rows: slice = slice(None),
        cursor: StreamCursor | None = None,
    ):
        """Start at the beginning, or where ``cursor`` says.

        Args:
            recordings: The training split.
            reader: Reads the clips.
            lanes: Rows over all ranks.
            seq_len: Samples of a subsequence.
            clip_samples: Length of a clip; 0 means whole recordings.
            seed: Of the order and the offsets.
            random_offsets: Cut each recording at another place in every epoch.
            rows: The lanes that this rank reads; it follows all of them.
            cursor: Where to go on.
        """
        if not recordings:
            raise ValueError("recordings is empty: there is nothing to train on")
        self._recordings, self._reader = recordings, reader
        self._seq_len, self._clip_samples, self._seed = seq_len, clip_samples, seed
        self._random_offsets = random_offsets and clip_samples > 0
        self._rows = range(lanes)[rows]
        self._orders: dict[int, Excerpts] = {}
        self._contents: dict[tuple[int, int], ClipContent | Future[ClipContent]] = {}
        self._pool: ThreadPoolExecutor | None = None
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
        reset = [lane.is_done for lane in self._lanes]
        if self._pool is not None:
            self._read_following([row for row, is_done in enumerate(reset) if is_done])
        for lane in self._lanes:
            if lane.is_done:
                self._take_next(lane)
        own = [self._lanes[row] for row in self._rows]
        previous, target, mask, inputs = _fill(own, self._seq_len, self._reader)
        samples = sum(_advance(lane, self._seq_len) for lane in self._lanes)
        marks = torch.tensor([reset[row] for row in self._rows])
        clips = (None,) * len(own)
        return Batch(previous, target, mask, marks, clips, samples, inputs)

    def read_ahead(self) -> None:
        """Read some of the clips that lanes will take next, about as many as a batch uses up.

        Lanes that began together end together. They would read all their clips at once then, and
        whoever waits for that batch would wait for long.
        """
        left = [
            -1 if lane.clip is None else (lane.clip.samples - lane.position - 1) // self._seq_len
            for lane in self._lanes
        ]
        clip = self._clip_samples or max(recording.samples for recording in self._recordings)
        count = -(-len(self._rows) * self._seq_len // clip)
        soonest = sorted(range(len(left)), key=left.__getitem__)
        self._read_following(soonest, most=count)

    def read_in_threads(self, threads: int) -> None:
        """From now on read clips in threads of their own; 0: no more."""
        if self._pool is not None:
            self._pool.shutdown()
        self._pool = ThreadPoolExecutor(threads, "clips") if threads else None

    def _read_following(self, rows: Sequence[int], most: int | None = None) -> None:
        """Read the next clips of the queue, the first for the first of ``rows``, and so on.

        Args:
            rows: Lanes, in the order in which they take clips.
            most: Clips to read at most, beside those that are read already.
        """
        epoch, index, count = self._epoch, self._index, 0
        for row in rows:
            if count == most:
                return
            if index == len(self._order(epoch)):
                epoch, index = epoch + 1, 0
            if row in self._rows and (epoch, index) not in self._contents:
                clip = self._order(epoch)[index]
                reading = self._reader.read
                self._contents[epoch, index] = (
                    self._pool.submit(reading, clip) if self._pool else reading(clip)
                )
                count += 1
            index += 1

    def _take_next(self, lane: _Lane) -> None:
        if self._index == len(self._order(self._epoch)):
            self._epoch, self._index = self._epoch + 1, 0
        lane.clip = self._order(self._epoch)[self._index]
        lane.epoch, lane.index, lane.position = self._epoch, self._index, 0
        content = self._contents.pop((lane.epoch, lane.index), None)
        lane.content = content.result() if isinstance(content, Future) else content
        self._index += 1

    def _order(self, epoch: int) -> Excerpts:
        if epoch not in self._orders:
            generator = numpy_generator(self._seed, "order", epoch)
            offsets = None
            if self._random_offsets:
                offsets = generator.integers(self._clip_samples, size=len(self._recordings))
            clips = cut(self._recordings, self._clip_samples, offsets)
            self._orders[epoch] = clips.take(generator.permutation(len(clips)))
            for old in [key for key in self._orders if key < epoch - 1]:
                del self._orders[old]
        return self._orders[epoch]


def finite_batches(
    clips: Sequence[Excerpt],
    reader: ClipReader,
    *,
    lanes: int,
    seq_len: int,
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
                lane.position, lane.content = 0, None
        if all(lane.clip is None for lane in rows):
            return
        previous, target, mask, inputs = _fill(rows, seq_len, reader)
        names = tuple(None if lane.clip is None else lane.index for lane in rows)
        samples = sum(_advance(lane, seq_len) for lane in rows)
        yield Batch(previous, target, mask, torch.tensor(reset), names, samples, inputs)


def _fill(
    lanes: Sequence[_Lane], seq_len: int, reader: ClipReader
) -> tuple[Tensor, Tensor, Tensor, ConditioningInputs | None]:
    """Return previous codes, targets, mask and conditioning of the lanes' current subsequences."""
    codes = np.full((len(lanes), seq_len + 1), reader.silence, dtype=np.int64)
    mask = np.zeros((len(lanes), seq_len), dtype=bool)
    for row, lane in enumerate(lanes):
        if lane.clip is None:
            continue
        if lane.content is None:
            lane.content = reader.read(lane.clip)
        begin = max(0, lane.position - 1)
        part = lane.content.codes[begin : lane.position + seq_len]
        first = 1 if lane.position == 0 else 0
        codes[row, first : first + len(part)] = part
        mask[row, : len(part) - 1 + first] = True
    whole = torch.from_numpy(codes)
    contents, positions = [lane.content for lane in lanes], [lane.position for lane in lanes]
    inputs = reader.conditioning_inputs(contents, positions, seq_len)
    return whole[:, :-1], whole[:, 1:], torch.from_numpy(mask), inputs


def _advance(lane: _Lane, seq_len: int) -> int:
    """Move a lane on and return how many samples it gave."""
    if lane.clip is None:
        return 0
    taken = min(seq_len, lane.clip.samples - lane.position)
    lane.position += taken
    return taken
