"""Suppression of messages that C libraries print."""

import contextlib
import os
import threading
from collections.abc import Iterator

_STDERR = threading.RLock()


@contextlib.contextmanager
def silence_stderr() -> Iterator[None]:
    """Redirect file descriptor 2 to nowhere in this context; libmpg123 prints warnings to it."""
    with _STDERR:  # two threads would restore each other's redirection
        try:
            saved = os.dup(2)
        except OSError:  # there is no stderr
            yield
            return
        nothing = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nothing, 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            os.close(nothing)
