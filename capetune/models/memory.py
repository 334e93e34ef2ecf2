"""Freed memory stays with the process, so that the next step needn't ask the system for every page of it again.

glibc gives buffers above 32 MiB back as soon as they are freed. A network's maps are such buffers: each step would have
them mapped and zeroed anew, which took more than half of a frozen backbone's time (benchmarks/allocator.py).
"""

from __future__ import annotations

import ctypes
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
MOST = 2**31 - 1  # what mallopt takes: buffers of 2 GiB and more are still given back


@cache
def keep_freed_memory(most: int = MOST) -> bool:
    """Keep up to `most` bytes that are freed, for this process's later use. Returns False where the C library has no
    such setting (macOS, musl): nothing is changed then."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, most) and mallopt(M_TRIM_THRESHOLD, most))
