"""Memory of a mapped file that is given back, and comes back with the same bytes."""

import mmap
import os
import re
import sys
from pathlib import Path

import pytest

from models.engines.mapped import let_go

SIZE = 4 << 20


def resident(path: Path) -> int:
    """Bytes of the file that count as this process's."""
    maps = Path("/proc/self/smaps").read_text()
    found = re.search(rf"{re.escape(str(path))}\n(?:.+\n)*?Rss: +(\d+) kB", maps)
    assert found is not None
    return int(found[1]) << 10


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows what is resident")
def test_pages_of_a_mapped_file_are_given_back_and_come_back(tmp_path: Path) -> None:
    path, link = tmp_path / "weights.gguf", tmp_path / "link.gguf"
    data = os.urandom(SIZE)
    path.write_bytes(data)
    link.symlink_to(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert mapped[:] == data
        assert resident(path) == SIZE
        let_go(link)
        assert resident(path) < SIZE / 10
        assert mapped[:] == data
