"""Standard output and error that never fail: closed, full, or unable to write a letter.

What a command computes and stores does not depend on whether its words can be shown.
"""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any


class Output:
    """A text stream that replaces what its encoding lacks, and notes why it could not write."""

    def __init__(self, stream: Any, name: str):
        self._stream, self._name = stream, name
        self.failure: OSError | None = None
        """Why something could not be written."""

    def write(self, text: str) -> int:
        """Write ``text``; letters that the encoding lacks as a backslash and a number."""
        if self._stream is None:
            self._fail(OSError(errno.EBADF, "it is closed"))
        elif self.failure is None:
            encoding = self._stream.encoding or "utf-8"
            shown = text.encode(encoding, "backslashreplace").decode(encoding)
            with self._failing():
                self._stream.write(shown)
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        if self._stream is not None and self.failure is None:
            with self._failing():
                self._stream.flush()

    def isatty(self) -> bool:
        """Return whether somebody watches."""
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor.

        Raises:
            OSError: If the stream is closed.
        """
        if self._stream is None:
            raise OSError(errno.EBADF, f"{self._name} is closed")
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        """Name of the encoding."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def fault(self) -> str | None:
        """What was lost, in words; a reader that left did so on purpose."""
        if self.failure is None or isinstance(self.failure, BrokenPipeError):
            return None
        return f"cannot write to {self._name}: {self.failure.strerror}"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        if self.failure is None:
            self.failure = error
            if self._stream is sys.__stdout__ or self._stream is sys.__stderr__:
                _discard(self._stream)


@contextlib.contextmanager
def guarded() -> Iterator[Output]:
    """Guard ``sys.stdout`` and ``sys.stderr`` within the block; yield the guard of stdout."""
    if isinstance(sys.stdout, Output):
        yield sys.stdout
        return
    _open_descriptors()
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Output(out, "stdout"), Output(err, "stderr")
    try:
        yield sys.stdout
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = out, err


def _open_descriptors() -> None:
    """Keep files from becoming descriptor 1 or 2, where libraries write their complaints."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _discard(stream: Any) -> None:
    """Let what is still buffered go nowhere: Python complains if it cannot flush at its end."""
    if stream is not None:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)
