"""Keeps the memory that LanceDB uses small, and gives what it freed back to the system.

`lance.py` calls `bound` before LanceDB is imported, and `upkeep.py` calls `give_back` after work
that needed much. LanceDB's functions take no limits; it reads these variables, once. One that is
set already stays as it is. docs/decisions/0127 says what each of them saved.
"""

import ctypes
import os
from contextlib import suppress

LIMITS = {"LANCE_CPU_THREADS": "2", "LANCE_DEFAULT_IO_BUFFER_SIZE": str(64 << 20)}
"""Threads that compute, and bytes that are read ahead, of which 2 GiB are allowed by default."""
ARENAS = 2
"""Heaps that threads share. glibc makes eight for each core, and each keeps what was freed."""
LARGE_BYTES = 1 << 20
"""A piece of so much goes back to the system when it is freed, and is never kept for later."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""The names that glibc's `mallopt` has for them."""


def bound() -> None:
    """Limit LanceDB, and what glibc keeps of freed memory; not for threads that run already."""
    for name, value in LIMITS.items():
        os.environ.setdefault(name, value)
    with suppress(OSError, AttributeError, TypeError):  # a system without glibc
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, ARENAS)
        libc.mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, LARGE_BYTES)


def give_back() -> None:
    """Have glibc return what it still keeps: LanceDB frees much of it in many small pieces."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
