"""The bytes of uploads, once for each digest: in a folder, or on object storage.

`place.py` has the first and `shared.py` the other, which is reached by `pyarrow`, because LanceDB
brings it, with the variables that LanceDB reads.
"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Protocol

from tiffin.core.errors import Unavailable, from_full_disk

logger = logging.getLogger(__name__)

PIECE_BYTES = 1 << 20
CONNECT_S, REQUEST_S = 2.0, 5.0
ATTEMPTS = 2
AWAY = "the object storage of corpora is away"


class Uploads(Protocol):
    """Where the bytes are. Everything blocks. Raises Unavailable while the storage is away."""

    def save(self, pieces: Iterator[bytes]) -> tuple[str, int]:
        """Store bytes whole, or not at all; their SHA-256 in hex and their length."""
        ...

    def read(self, digest: str) -> bytes:
        """All of them. Raises FileNotFoundError."""
        ...

    def pieces(self, digest: str) -> Iterator[bytes]:
        """The same, some at a time."""
        ...

    def path(self, digest: str) -> Path | None:
        """The file on this machine, if they are in one."""
        ...

    def remove(self, digest: str) -> None:
        """Remove them, if they are there."""
        ...


class FolderUploads:
    """In files that are named by the digest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, pieces: Iterator[bytes]) -> tuple[str, int]:
        """The file gets its name when it is whole."""
        part = self._folder / f"{os.urandom(8).hex()}.part"
        try:
            with part.open("wb") as file:
                digest, size = _copied(pieces, file)
                os.fsync(file.fileno())
            part.replace(self.path(digest))
        finally:
            part.unlink(missing_ok=True)
        return digest, size

    def read(self, digest: str) -> bytes:
        """The file."""
        return self.path(digest).read_bytes()

    def pieces(self, digest: str) -> Iterator[bytes]:
        """The file, some at a time."""
        with self.path(digest).open("rb") as file:
            yield from iter(lambda: file.read(PIECE_BYTES), b"")

    def path(self, digest: str) -> Path:
        """The file."""
        return self._folder / digest

    def remove(self, digest: str) -> None:
        """Remove the file."""
        self.path(digest).unlink(missing_ok=True)


class ObjectUploads:
    """Objects below an address `s3://BUCKET/PREFIX`, which `where` says when it is first needed.

    `claim` is told a digest before its bytes are stored.
    """

    def __init__(self, where: Callable[[], str], claim: Callable[[str], None]) -> None:
        self._where = where
        self._claim = claim

    def save(self, pieces: Iterator[bytes]) -> tuple[str, int]:
        """The bytes pass through a temporary file, because the name is known after the last one."""
        with tempfile.TemporaryFile() as file:
            digest, size = _copied(pieces, file)
            file.seek(0)
            self._claim(digest)
            with _reaching(), self._storage.open_output_stream(self._key(digest)) as target:
                for piece in iter(lambda: file.read(PIECE_BYTES), b""):
                    target.write(piece)
        return digest, size

    def read(self, digest: str) -> bytes:
        """The object."""
        return b"".join(self.pieces(digest))

    def pieces(self, digest: str) -> Iterator[bytes]:
        """The object, some at a time. It is opened by this call, not by the first piece."""
        with _reaching():
            source = self._storage.open_input_stream(self._key(digest))
        return _read(source)

    def path(self, digest: str) -> None:
        """There is none."""
        del digest

    def remove(self, digest: str) -> None:
        """Delete the object."""
        with _reaching():
            try:
                self._storage.delete_file(self._key(digest))
            except FileNotFoundError:
                return

    def probe(self, address: str) -> None:
        """Ask whether the bucket of this address is there. Raises Unavailable."""
        bucket = address.removeprefix("s3://").partition("/")[0]
        with _reaching():
            (found,) = self._storage.get_file_info([bucket])
            if not found.is_file and found.type.name != "Directory":
                raise FileNotFoundError(f"there is no bucket {bucket}")

    def _key(self, digest: str) -> str:
        return f"{self._where().removeprefix('s3://')}/files/{digest}"

    @cached_property
    def _storage(self) -> Any:  # noqa: ANN401  pyarrow carries no types
        from pyarrow import fs

        return fs.S3FileSystem(
            endpoint_override=os.environ.get("AWS_ENDPOINT"),
            region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
            connect_timeout=CONNECT_S,
            request_timeout=REQUEST_S,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        )


def _copied(pieces: Iterator[bytes], file: IO[bytes]) -> tuple[str, int]:
    """Write all of them; their digest and length."""
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        file.write(piece)
        digest.update(piece)
        size += len(piece)
    file.flush()
    return digest.hexdigest(), size


def _read(source: Any) -> Generator[bytes, None, None]:  # noqa: ANN401
    with source:
        while True:
            with _reaching():
                piece = source.read(PIECE_BYTES)
            if not piece:
                return
            yield piece


@contextmanager
def _reaching() -> Generator[None, None, None]:
    """Say that the storage is away in place of what pyarrow says, which is in the log."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if from_full_disk(error) is not None:
            raise
        logger.warning("%s: %s", AWAY, error)
        raise Unavailable(AWAY) from error
