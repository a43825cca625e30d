"""The compiled module: there or not, and how many threads it gets."""

import logging
import os
from functools import cache
from pathlib import Path
from types import ModuleType

from samplewise.errors import EngineError

logger = logging.getLogger(__name__)
REQUIRE = "SAMPLEWISE_REQUIRE_NATIVE"
"""Environment variable: 1 makes a missing module an error (our tests set it)."""


def native_module() -> ModuleType:
    """Return the compiled module.

    Raises:
        EngineError: If it was not built, or does not load on this machine.
    """
    try:
        # It lies where it was installed, not beside this file.
        from samplewise import _native  # pyright: ignore[reportMissingModuleSource]
    except ImportError as error:
        raise EngineError(
            f"the native engine is not there ({error}); install samplewise on a machine with a "
            "C++20 compiler, or use --backend reference"
        ) from None
    return _native


MAX_THREADS = 256
"""More never help one model."""
CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
"""Where a container's share of the machine stands: microseconds of every so many, or max."""


@cache
def can_load_native() -> bool:
    """Return whether the module is there; without a word if not."""
    try:
        native_module()
    except EngineError:
        return False
    return True


@cache
def has_native() -> bool:
    """Return whether the module can be used; say it once if not.

    Raises:
        EngineError: If it cannot, and the environment asks for it.
    """
    try:
        native_module()
    except EngineError as error:
        if os.environ.get(REQUIRE) == "1":
            raise
        logger.warning("%s; generation will be tens of times slower", error)
        return False
    return True


def default_threads() -> int:
    """Return how many cores this process may use; OMP_NUM_THREADS lowers it."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    cores = min(cores, MAX_THREADS, _container_limit())
    limit = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return max(1, min(cores, int(limit)) if limit.isdecimal() and int(limit) else cores)


def _container_limit() -> int:
    try:
        quota, period = CPU_LIMIT.read_text().split()
        return max(1, -(-int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or no limit
        return MAX_THREADS
