"""What a client sees when there is no room on the server's disk."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.corpora import Hashed
from tests.support.services import entry
from tiffin.config.settings import load_settings
from tiffin.core.errors import StorageFull, from_full_disk
from tiffin.corpus.store import Store


async def test_an_upload_that_finds_no_room_gets_one_typed_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_: Store, pieces: Iterator[bytes]) -> tuple[str, int]:
        del pieces
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Store, "save", no_room)
    settings = load_settings(profile="laptop", corpora=tmp_path, safety={"enabled": False})
    async with entry(Hashed(), settings) as http:
        sent = await http.post(
            "/v1/files", files={"file": ("a.txt", b"text")}, data={"purpose": "user_data"}
        )
    assert sent.status_code == 507
    assert sent.json()["error"]["code"] == "insufficient_storage"
    assert sent.headers["connection"] == "close", "its body may not have been read"


def test_only_a_full_disk_is_called_one() -> None:
    full = RuntimeError("lance error: No space left on device (os error 28)")
    assert isinstance(from_full_disk(full), StorageFull)
    nowhere = FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")
    assert isinstance(from_full_disk(nowhere), StorageFull)
    assert from_full_disk(OSError(errno.EACCES, "Permission denied")) is None
