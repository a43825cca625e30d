"""Batches that a thread reads while the device works on those before."""

import os
from queue import SimpleQueue
from threading import Thread

import torch
from torch import Tensor

from samplewise.data.lanes import Batch, LaneStream, StreamCursor

BUFFERS = 2
READERS = 8
"""Threads that read clips, which takes long where spectrograms and filters are computed."""


class Prefetch:
    """A stream whose batches are read ahead into two buffers, and that says what was used.

    The batches are those of the stream, in its order. :attr:`cursor` and :attr:`epochs` follow the
    batches that were handed out, not those that were read: a run resumes with the first that it has
    not seen. The thread starts with the first batch that is asked for.

    Args:
        stream: The batches; nobody else may use it.
        device: Where they go; for a GPU the buffers are pinned, so that copies need no host.
    """

    def __init__(self, stream: LaneStream, device: torch.device):
        self._stream = stream
        self._cursor, self._epochs = stream.cursor, stream.epochs
        self._free: SimpleQueue[_Buffer | None] = SimpleQueue()
        self._read: SimpleQueue[tuple[_Buffer, StreamCursor, float] | Exception] = SimpleQueue()
        self._thread: Thread | None = None
        for _ in range(BUFFERS):
            self._free.put(_Buffer(device))

    @property
    def cursor(self) -> StreamCursor:
        """Where the stream is after the last batch that was handed out."""
        return self._cursor

    @property
    def epochs(self) -> float:
        """How often the training split has been handed to lanes by then."""
        return self._epochs

    def next_batch(self) -> Batch:
        """Return the next batch, on the device.

        Raises:
            Exception: What reading raised.
        """
        if self._thread is None:
            self._stream.read_in_threads(min(READERS, os.cpu_count() or 1))
            self._thread = Thread(target=self._run, name="prefetch", daemon=True)
            self._thread.start()
        read = self._read.get()
        if isinstance(read, Exception):
            self._read.put(read)  # there is no batch after it
            raise read
        buffer, self._cursor, self._epochs = read
        batch = buffer.take()
        self._free.put(buffer)
        return batch

    def close(self) -> None:
        """End the thread; batches that were read remain, and :meth:`next_batch` goes on."""
        if self._thread is not None:
            self._free.put(None)
            self._thread.join()
            self._thread = None
            self._stream.read_in_threads(0)

    def _run(self) -> None:
        while (buffer := self._free.get()) is not None:
            try:
                buffer.fill(self._stream.next_batch())
                self._read.put((buffer, self._stream.cursor, self._stream.epochs))
                self._stream.read_ahead()
            except Exception as error:  # raised where the batch is asked for
                self._read.put(error)
                break


class _Buffer:
    """A batch on the host, and when the device has taken it."""

    def __init__(self, device: torch.device):
        self._device = device
        self._batch: Batch | None = None
        self._taken = torch.cuda.Event() if device.type == "cuda" else None

    def fill(self, batch: Batch) -> None:
        """Hold ``batch``, in pinned memory for a GPU."""
        if self._taken is None:
            self._batch = batch
            return
        if self._batch is None:
            self._batch = batch.map(Tensor.pin_memory)
            return
        self._taken.synchronize()
        pinned = iter(self._batch.tensors())
        self._batch = batch.map(lambda tensor: next(pinned).copy_(tensor))

    def take(self) -> Batch:
        """Return the batch on the device."""
        assert self._batch is not None
        if self._taken is None:
            return self._batch
        batch = self._batch.map(lambda tensor: tensor.to(self._device, non_blocking=True))
        self._taken.record()
        return batch
