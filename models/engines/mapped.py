"""Gives back memory that llama.cpp needed once: what it has repacked of the weights' file.

It maps the file, and copies some tensors into an order that a CPU multiplies faster. The pages that
it copied still count as the process's; a file of Q4_K_M holds a quarter of them. Called by
`models.engines.llama_cpp` when the weights are loaded.
"""

import ctypes
import mmap
from pathlib import Path

MAPS = Path("/proc/self/maps")
READ_ONLY = "r--"


def let_go(file: Path) -> None:
    """Let the kernel take this process's pages of a mapped file; what is read again comes back.

    Does nothing where there is no `/proc`.
    """
    if not MAPS.exists():
        return
    name, madvise = str(file.resolve()), ctypes.CDLL(None).madvise
    for line in MAPS.read_text(encoding="utf-8").splitlines():
        span, rights, *_ = line.split(maxsplit=5)
        if line.endswith(f" {name}") and rights.startswith(READ_ONLY):
            begin, end = (int(place, 16) for place in span.split("-"))
            madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_DONTNEED)
