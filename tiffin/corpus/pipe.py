"""The messages between `parse.py` and its child process, `reading.py`: a length, then msgpack."""

from typing import BinaryIO

import msgspec

from tiffin.corpus.document import Ocr, Parsed

LENGTH_BYTES = 8


class Task(msgspec.Struct, frozen=True, array_like=True):
    """A document to read; `seconds` is when the child ends itself if its parent does not."""

    data: bytes
    name: str
    media_type: str | None
    seconds: int
    ocr: Ocr | None = None


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """Its text, or why there is none."""

    parsed: Parsed | None = None
    unreadable: str = ""


def read_frame(pipe: BinaryIO) -> bytes | None:
    """The next message of a pipe, after its length. None at the end."""
    head = pipe.read(LENGTH_BYTES)
    return pipe.read(int.from_bytes(head)) if len(head) == LENGTH_BYTES else None


def frame(message: msgspec.Struct) -> bytes:
    """A message with its length."""
    packed = msgspec.msgpack.encode(message)
    return len(packed).to_bytes(LENGTH_BYTES) + packed
