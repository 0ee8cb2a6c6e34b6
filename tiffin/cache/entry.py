"""What is kept of an answer. Read and written by `tiffin.cache.answers`.

An entry is a typed message with a version, never a pickle: what does not decode is no answer.
"""

import msgspec

VERSION = 1
"""Changes when the meaning of an entry's fields does; entries of another version are not read."""


class BrokenError(ValueError):
    """A kept answer cannot be read."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An answer. `payload` holds its events as the codec of its kind wrote them.

    `created` is in seconds of the Unix epoch. `usd` and `seconds` are what the answer cost, which
    is what a hit saves. `tier` and `model` wrote it. `question` begins as what was asked did, and
    `corpus` is the id of the corpus that was asked.
    """

    version: int = VERSION
    created: float
    tier: str
    model: str
    usd: float
    seconds: float
    payload: bytes
    question: str = ""
    corpus: str = ""


_decoder = msgspec.msgpack.Decoder(Entry)


def encode(entry: Entry) -> bytes:
    """The entry as it is stored."""
    return msgspec.msgpack.encode(entry)


def decode(stored: bytes) -> Entry:
    """The entry. Raises BrokenError."""
    try:
        entry = _decoder.decode(stored)
    except msgspec.MsgspecError as error:
        raise BrokenError(str(error)) from error
    if entry.version != VERSION:
        message = f"version {entry.version}, not {VERSION}"
        raise BrokenError(message)
    return entry
