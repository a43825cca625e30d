"""Types of the callbacks that report progress."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

ProgressCallback = Callable[[int, int], None]
"""``progress(done, total)``: absolute counts, of samples unless stated otherwise."""
ProgressBar = Callable[[str, int | None], AbstractContextManager[Any]]
"""Opens a progress bar, given a description and a total; ``update(done)`` drives it."""
