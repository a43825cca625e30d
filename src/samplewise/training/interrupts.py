"""Ctrl-C and SIGTERM: the first saves a checkpoint after the current step, the second ends.

SIGUSR2, by which a scheduler tells that the time of a job is over, saves too, if somebody handles
it; that handler, which queues the job again, is called once the checkpoint is written.
"""

import signal
from types import FrameType, TracebackType
from typing import Any

GRACE_S = 8
"""Seconds after the first request; a step that takes longer is abandoned."""


class Interrupts:
    """Context manager that records a request to stop, so that the current step can end."""

    def __init__(self) -> None:
        self.requested = False
        self._is_time_over = False
        self._old: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._old[number] = signal.signal(number, self._request)
        self._old[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._give_up)
        if callable(signal.getsignal(signal.SIGUSR2)):
            self._old[signal.SIGUSR2] = signal.signal(signal.SIGUSR2, self._note_time)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.alarm(0)
        for number, handler in self._old.items():
            signal.signal(number, handler)
        if self._is_time_over and kind is None:
            signal.raise_signal(signal.SIGUSR2)

    def _note_time(self, number: int, frame: FrameType | None) -> None:
        self.requested = self._is_time_over = True

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        signal.alarm(GRACE_S)

    def _give_up(self, number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt
