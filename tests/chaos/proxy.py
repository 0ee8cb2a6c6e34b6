"""A TCP proxy that breaks what passes through it, on order."""

import asyncio
import random
import socket
import struct
from contextlib import suppress
from typing import Literal

Fault = Literal["none", "latency", "reset", "blackhole", "slice", "flip", "drip", "half-open"]

LATENCY_S = 0.2
SLICE_BYTES = 7
DRIP_S = 0.3
FLIP_SHARE = 0.02
HALF_OPEN_AFTER_BYTES = 400
CLOSING_S = 0.05
"""For the event loop to close what was broken."""


class Proxy:
    """Forwards connections to one port.

    `fault` may change at any time, and then holds for every connection from its next data on.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.fault: Fault = "none"
        self._server: asyncio.Server | None = None
        self._random = random.Random(7)  # noqa: S311
        self._served: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections from now on, and break the open ones."""
        if self._server is not None:
            self._server.close()
        for served in self._served:
            served.cancel()
        await asyncio.gather(*self._served, return_exceptions=True)
        await asyncio.sleep(CLOSING_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served = asyncio.create_task(self._forward(reader, writer))
        self._served.add(served)
        try:
            await asyncio.wait([served])
        finally:
            writer.transport.abort()
            self._served.discard(served)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        pumps = [
            asyncio.create_task(self._pump(reader, far_writer, answers=False)),
            asyncio.create_task(self._pump(far_reader, writer, answers=True)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            for end in (writer, far_writer):
                end.transport.abort()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        passed = 0
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                passed += len(data)
                await self._pass(data, writer, passed, answers=answers)
                await writer.drain()

    async def _pass(
        self, data: bytes, writer: asyncio.StreamWriter, passed: int, *, answers: bool
    ) -> None:
        match self.fault:
            case "latency":
                await asyncio.sleep(LATENCY_S)
                writer.write(data)
            case "reset":
                linger = struct.pack("ii", 1, 0)  # close() then sends RST
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, linger
                )
                writer.close()
                raise ConnectionResetError
            case "blackhole":
                return
            case "half-open" if answers and passed > HALF_OPEN_AFTER_BYTES:
                await asyncio.Event().wait()
            case "slice":
                for start in range(0, len(data), SLICE_BYTES):
                    writer.write(data[start : start + SLICE_BYTES])
                    await asyncio.sleep(0)
            case "drip" if answers:
                for start in range(0, len(data), SLICE_BYTES):
                    writer.write(data[start : start + SLICE_BYTES])
                    await asyncio.sleep(DRIP_S)
            case "flip" if answers:
                writer.write(self._flipped(data))
            case _:
                writer.write(data)

    def _flipped(self, data: bytes) -> bytes:
        flipped = bytearray(data)
        for index in range(len(flipped)):
            if self._random.random() < FLIP_SHARE:
                flipped[index] ^= 1 << self._random.randrange(8)
        return bytes(flipped)
