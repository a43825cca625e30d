"""Live generation: a take that streams while it is drawn, with a temperature that can be turned."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from samplewise.audio.write import pcm16
from samplewise.generate.temperature import Envelope

CHUNK_S = 0.05
"""Seconds of a chunk; half of them pass on average before a change of temperature is audible."""
LEAD_S = 0.6
"""Seconds by which drawing may be ahead of a player that began with it."""
MOST_READERS = 4
"""Readers of a take at once; each keeps a place of the server."""
WAIT_S = 15.0
"""Seconds after which a reader of a take that makes no progress gives up."""


class LiveEnvelope(Envelope):
    """A temperature that can be changed while a clip is drawn; it records what was used.

    The record is an ordinary envelope, from which the same clip can be drawn again.
    """

    def __init__(self, value: float):
        super().__init__((0.0,), (value,))
        self.__dict__.update(_steps=[(0, value)], _next=value, _used=0, _rate=1)

    def turn(self, value: float) -> None:
        """Use another temperature for what has not been drawn yet.

        Raises:
            ValueError: If it is out of range.
        """
        Envelope((0.0,), (value,))
        self.__dict__["_next"] = value

    def at(
        self, start_sample: int, count: int, sample_rate: int
    ) -> Float64[np.ndarray, " {count}"]:
        """Return the temperature at samples; those that are asked for are settled."""
        known, end = self.__dict__, start_sample + count
        known["_rate"] = sample_rate
        if end > known["_used"]:
            if known["_next"] != known["_steps"][-1][1]:
                known["_steps"].append((known["_used"], known["_next"]))
            known["_used"] = end
        starts, values = zip(*known["_steps"], strict=True)
        places = np.searchsorted(starts, np.arange(start_sample, end), side="right") - 1
        return np.array(values, np.float64)[places]

    def recorded(self) -> Envelope:
        """Return what was used: a step is two points, one sample apart."""
        known = self.__dict__
        points = [(0.0, known["_steps"][0][1])]
        for (_, before), (start, after) in zip(known["_steps"], known["_steps"][1:], strict=False):
            if start == 0:
                points = [(0.0, after)]
                continue
            if (start - 1) / known["_rate"] > points[-1][0]:
                points.append(((start - 1) / known["_rate"], before))
            points.append((start / known["_rate"], after))
        return Envelope(*(tuple(column) for column in zip(*points, strict=True)))


class LiveTake:
    """A clip that a thread draws and any number of readers follow.

    Args:
        id: Name of the take.
        sample_rate: Hertz.
        temperature: Its knob.
        chunks: Gives the samples; called in the thread.
        done: Called in the thread with the whole clip, at its end or when it is stopped.
        settings: What the take is, for its record.
    """

    def __init__(
        self,
        id: str,
        sample_rate: int,
        temperature: LiveEnvelope,
        chunks: Callable[[], Iterator[Float32[np.ndarray, " chunk"]]],
        done: Callable[["LiveTake", Float32[np.ndarray, " samples"]], None],
        settings: dict[str, Any],
    ):
        self.id, self.sample_rate, self.temperature, self.settings = (
            id,
            sample_rate,
            temperature,
            settings,
        )
        self.error = ""
        self._chunks, self._done = chunks, done
        self._pcm: list[bytes] = []
        self._waves: list[np.ndarray] = []
        self._changed = threading.Condition()
        self._stopping = False
        self.is_finished = False
        self.readers = 0
        self.samples = 0
        """Samples so far."""
        self.speed: float | None = None
        """Seconds of sound drawn per second of drawing."""
        self.thread = threading.Thread(target=self._run, name=f"take {id}", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """End the take after the present chunk; what was drawn is kept."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def pcm(self) -> Iterator[bytes]:
        """Yield the take from its beginning as 16-bit samples, until it ends."""
        self.readers += 1
        try:
            yield from self._parts()
        finally:
            self.readers -= 1

    def _parts(self) -> Iterator[bytes]:
        place = 0
        while True:
            with self._changed:
                until = time.monotonic() + WAIT_S
                while place == len(self._pcm) and not self.is_finished:
                    if not self._changed.wait(until - time.monotonic()):
                        return
                parts, place = self._pcm[place:], len(self._pcm)
                ended = self.is_finished
            if parts:
                yield b"".join(parts)
            elif ended:
                return

    def _run(self) -> None:
        try:
            self._draw()
            if self._waves:
                self._done(self, np.concatenate(self._waves))
        except Exception as error:  # a thread has no other place for it
            self.error = str(error) or type(error).__name__
        finally:
            with self._changed:
                self.is_finished = True
                self._changed.notify_all()

    def _draw(self) -> None:
        began, busy = None, 0.0
        chunks = self._chunks()
        while not self._stopping:
            start = time.perf_counter()
            chunk = next(chunks, None)
            if chunk is None:
                return
            now = time.perf_counter()
            began = began or now
            busy += now - start
            with self._changed:
                self._waves.append(chunk)
                self._pcm.append(pcm16(chunk).tobytes())
                self.samples += len(chunk)
                self.speed = self.samples / self.sample_rate / busy
                self._changed.notify_all()
                ahead = self.samples / self.sample_rate - (now - began) - LEAD_S
                if ahead > 0 and not self._stopping:
                    self._changed.wait(ahead)
