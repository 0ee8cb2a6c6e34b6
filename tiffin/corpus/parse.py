"""Reads documents in a process of their own, which is ended if it takes too long.

Ingestion keeps a `Parser` for many documents; `parse` and `parse_apart` start one for a single one.
The child is `reading.py`; it is started afresh, never forked.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import msgspec

from tiffin.config.section import SettingsError
from tiffin.corpus.document import Ocr, Parsed, Unreadable
from tiffin.corpus.pipe import LENGTH_BYTES, Reply, Task, frame

MAX_BYTES = 64 << 20
MAX_MEMORY = 1 << 30
MAX_SECONDS = 60.0
OCR_SECONDS = 600.0
"""If scans are read: about 3 s a page."""
_GRACE_S = 5
"""So much later the child ends itself, if its parent is gone."""


def parse(data: bytes, name: str, media_type: str | None = None) -> Parsed:
    """The text of a document with its structure. Blocks. Raises Unreadable."""
    message = frame(_task(data, name, media_type, MAX_SECONDS))
    try:
        ended = subprocess.run(  # noqa: S603  our own module
            _command(MAX_MEMORY),
            input=message,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            timeout=MAX_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _too_slow(name, MAX_SECONDS) from error
    if len(ended.stdout) < LENGTH_BYTES:
        raise _died(name, MAX_MEMORY)
    return _parsed(ended.stdout[LENGTH_BYTES:])


async def parse_apart(data: bytes, name: str, media_type: str | None = None) -> Parsed:
    """The same, without blocking the event loop."""
    async with Parser() as parser:
        return await parser.parse(data, name, media_type)


@dataclass
class Parser:
    """Reads one document at a time in a child that is kept, and replaced when it had to be ended.

    `memory` is in bytes; it holds what the parent sends, too.
    """

    seconds: float = MAX_SECONDS
    memory: int = MAX_MEMORY
    ocr: Ocr | None = None
    _child: asyncio.subprocess.Process | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def parse(self, data: bytes, name: str, media_type: str | None = None) -> Parsed:
        """The text of a document with its structure. Raises Unreadable. Cancelling it ends it."""
        task = _task(data, name, media_type, self.seconds, self.ocr)
        async with self._turn:
            try:
                async with asyncio.timeout(self.seconds):
                    packed = await self._ask(frame(task))
            except TimeoutError as error:
                await self.close()
                raise _too_slow(name, self.seconds) from error
            except (OSError, asyncio.IncompleteReadError) as error:
                await self.close()
                raise _died(name, self.memory) from error
            except BaseException:
                await self.close()
                raise
        return _parsed(packed)

    async def _ask(self, message: bytes) -> bytes:
        if self._child is None:
            self._child = await asyncio.create_subprocess_exec(
                *_command(self.memory),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
            )
        requests, answers = self._child.stdin, self._child.stdout
        assert requests is not None and answers is not None  # noqa: S101, PT018  both are pipes
        requests.write(message)
        await requests.drain()
        length = int.from_bytes(await answers.readexactly(LENGTH_BYTES))
        return await answers.readexactly(length)

    async def close(self) -> None:
        """End the child. Whoever is cancelled meanwhile still waits for it, which takes no time."""
        child, self._child = self._child, None
        if child is not None:
            with suppress(ProcessLookupError):
                child.kill()
            ended = asyncio.ensure_future(child.communicate())
            try:
                await asyncio.shield(ended)
            finally:
                await ended


def parser_of(languages: str | None) -> Parser:
    """A parser that reads scanned PDFs in these languages, if any (`TIFFIN_OCR`).

    Raises SettingsError if there is no tesseract.
    """
    if languages is None:
        return Parser()
    if (program := shutil.which("tesseract")) is None:
        message = "TIFFIN_OCR: there is no tesseract; install Debian's tesseract-ocr, or unset it"
        raise SettingsError(message)
    return Parser(seconds=OCR_SECONDS, ocr=Ocr(program, languages))


def _task(
    data: bytes, name: str, media_type: str | None, seconds: float, ocr: Ocr | None = None
) -> Task:
    name = " ".join(name.split())
    if len(data) > MAX_BYTES:
        message = f"{name}: has {len(data) >> 20} MiB, and {MAX_BYTES >> 20} are the most; split it"
        raise Unreadable(message)
    if not data.strip():
        raise Unreadable(f"{name}: is empty; leave it out")
    return Task(data, name, media_type, int(seconds) + _GRACE_S, ocr)


def _command(memory: int) -> list[str]:
    return [sys.executable, "-m", "tiffin.corpus.reading", str(memory)]


def _environment() -> dict[str, str]:
    """Where modules are found, and none of the parent's secrets."""
    path = os.pathsep.join(filter(None, sys.path))
    return {"PYTHONPATH": path, "PYTHONUTF8": "1"}


def _parsed(packed: bytes) -> Parsed:
    reply = msgspec.msgpack.decode(packed, type=Reply)
    if reply.parsed is None:
        raise Unreadable(reply.unreadable)
    return reply.parsed


def _too_slow(name: str, seconds: float) -> Unreadable:
    return Unreadable(f"{name}: not read after {seconds:g} s; split it or save it again")


def _died(name: str, memory: int) -> Unreadable:
    return Unreadable(
        f"{name}: its reader crashed or needed more than {memory >> 20} MiB; save it again or "
        "split it"
    )
