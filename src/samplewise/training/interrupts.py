"""Ctrl-C and SIGTERM: the first asks for a checkpoint at the next step, the second ends at once."""

import signal
from types import FrameType, TracebackType
from typing import Any

GRACE_S = 8
"""A step that takes longer than this after the first request is abandoned."""


class Interrupts:
    """Context in which a request to stop is noted instead of breaking a step in two."""

    def __init__(self) -> None:
        self.requested = False
        self._old: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._old[number] = signal.signal(number, self._request)
        self._old[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._give_up)
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

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        signal.alarm(GRACE_S)

    def _give_up(self, number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt
