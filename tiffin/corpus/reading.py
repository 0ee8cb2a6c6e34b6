"""The child process of `parse.py`: reads documents within limits, and answers on its pipe.

Documents are hostile until read. The child holds no secrets (its environment is bare), may write no
file and use so much memory; the parent ends it when its time is over.
"""

import contextlib
import os
import resource
import signal
import sys

import msgspec

from tiffin.corpus.document import Ocr, Parsed, Scanned, Unreadable
from tiffin.corpus.kinds import charset_of, kind_of, reader_of
from tiffin.corpus.outline import Outline
from tiffin.corpus.pipe import Reply, Task, frame, read_frame

MAX_TEXT_CHARS = 20_000_000
"""About 7,000 pages."""


def read(data: bytes, name: str, media_type: str | None = None, ocr: Ocr | None = None) -> Parsed:
    """Read a document in this process, without limits. Raises Unreadable."""
    kind = kind_of(data, name, media_type)
    outline = Outline()
    try:
        try:
            reader_of(kind)(data, name, charset_of(media_type), outline)
        except Scanned:
            if ocr is None:
                raise
            _read_scan(data, name, ocr, outline)
    except (Unreadable, MemoryError):
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise Unreadable(f"{name}: broken ({said}); open it and save it again") from error
    parsed = outline.parsed(kind)
    if not parsed.parts:
        raise Unreadable(f"{name}: holds no text; leave it out")
    if len(parsed.text) > MAX_TEXT_CHARS:
        raise Unreadable(
            f"{name}: holds {len(parsed.text)} characters, and {MAX_TEXT_CHARS} are the most; "
            "split it"
        )
    return parsed


def _read_scan(data: bytes, name: str, ocr: Ocr, outline: Outline) -> None:
    from tiffin.corpus.formats.scan import read_scan

    read_scan(data, name, ocr, outline)


def _reply(task: Task, memory: int) -> Reply:
    try:
        return Reply(read(task.data, task.name, task.media_type, task.ocr))
    except Unreadable as error:
        return Reply(unreadable=str(error))
    except MemoryError:
        message = f"{task.name}: needs more than {memory >> 20} MiB to be read; split it"
        return Reply(unreadable=message)


def _limit(memory: int) -> None:
    for limit, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # macOS knows no limit of memory
            resource.setrlimit(limit, (value, value))


def main() -> None:
    """Answer every task on the standard input until it ends."""
    memory = int(sys.argv[1])
    _limit(memory)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    while (packed := read_frame(sys.stdin.buffer)) is not None:
        task = msgspec.msgpack.decode(packed, type=Task)
        signal.alarm(task.seconds)
        reply = frame(_reply(task, memory))
        signal.alarm(0)
        answers.write(reply)
        answers.flush()


if __name__ == "__main__":
    main()
