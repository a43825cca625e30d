"""Memory that a training step frees is kept by the process, for the next step.

glibc gives large blocks back to the system at once, and every step would fetch them anew: some
10,000 page faults, a tenth of a step's time (docs/speed.md).
"""

import ctypes
import os

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Numbers of glibc's <malloc.h>."""
KEPT = 2**31 - 1
"""Bytes at the top of the heap beyond which memory is given back; the most that an int holds."""
ON_HEAP = 2**30, 2**25
"""Bytes of a block from which on it is mapped by itself; older versions take 2^25 at most."""
PAD = 2**26
"""Bytes that the heap grows by at a time."""


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory; return whether it does.

    Nothing is done under another C library, or where ``MALLOC_*`` variables set it up already.
    """
    libc = ctypes.CDLL(None) if os.name == "posix" else None
    if not hasattr(libc, "gnu_get_libc_version") or any(
        n.startswith("MALLOC_") for n in os.environ
    ):
        return False
    assert libc is not None
    set_up = libc.mallopt(M_TRIM_THRESHOLD, KEPT) and libc.mallopt(M_TOP_PAD, PAD)
    return bool(set_up) and any(libc.mallopt(M_MMAP_THRESHOLD, size) for size in ON_HEAP)
