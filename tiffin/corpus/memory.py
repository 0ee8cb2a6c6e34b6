"""Gives free memory back to the system after work that needed much of it. `upkeep.py` calls it."""

import ctypes
from contextlib import suppress


def give_back() -> None:
    """Have glibc return what it keeps of freed memory; other libraries do so by themselves, or not.

    LanceDB frees hundreds of MB after it compacts or indexes a table, in many small pieces.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
