"""How the services' HTTP server writes and ends, over real sockets."""

import asyncio
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from services.http_server import MOST_BYTES, OneWriteProtocol
from tests.support.stack import free_port


class Writes(OneWriteProtocol):
    """Notes what reaches the socket, write by write."""

    seen: list[bytes]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        seen = self.seen

        class Noted:
            def write(self, data: bytes) -> None:
                seen.append(data)
                transport.write(data)

            def __getattr__(self, name: str) -> object:
                return getattr(transport, name)

        super().connection_made(Noted())  # type: ignore[arg-type]


@asynccontextmanager
async def connected(
    app: ASGIApp,
) -> AsyncGenerator[tuple[asyncio.StreamReader, list[bytes]], None]:
    """A client that has asked, and the writes of its answer."""
    seen: list[bytes] = []
    protocol = type("Protocol", (Writes,), {"seen": seen})
    port = free_port()
    config = uvicorn.Config(app, port=port, http=protocol, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())  # noqa: SLF001  serve() takes over the signals
    while not server.started:
        await asyncio.sleep(0.005)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    yield reader, seen
    writer.close()
    server.should_exit = True
    await task


async def start(send: Send, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": list(headers)})


async def body(send: Send, data: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def test_an_answer_leaves_in_one_write() -> None:
    async def whole(_: Scope, __: Receive, send: Send) -> None:
        await start(send, (b"content-length", b"5"))
        await body(send, b"hello", more=False)
        written_at_once.extend(writes)

    written_at_once: list[bytes] = []
    async with connected(whole) as (reader, writes):
        answer = await reader.readuntil(b"hello")
    assert writes == written_at_once == [answer]


async def test_what_a_stream_brings_at_once_leaves_at_once_and_in_order() -> None:
    go_on = asyncio.Event()

    async def stream(_: Scope, __: Receive, send: Send) -> None:
        await start(send)
        await body(send, b"one ")
        await go_on.wait()
        await body(send, b"two ")
        await body(send, b"three ")
        await body(send, b"four ", more=False)

    async with connected(stream) as (reader, writes):
        await reader.readuntil(b"one \r\n")
        first = len(writes)
        go_on.set()
        await reader.readuntil(b"0\r\n\r\n")
    assert (first, len(writes)) == (1, 2)
    answer = b"".join(writes)
    assert sorted(answer.find(word) for word in (b"one", b"two", b"three", b"four")) == [
        answer.find(word) for word in (b"one", b"two", b"three", b"four")
    ]


async def test_a_reader_that_does_not_keep_up_still_holds_up_the_writer() -> None:
    written = 0

    async def endless(_: Scope, __: Receive, send: Send) -> None:
        nonlocal written
        await start(send)
        for _index in range(10_000):
            await body(send, b"x" * MOST_BYTES)
            written += MOST_BYTES

    async with connected(endless):
        await asyncio.sleep(0.5)
        stood = written
        await asyncio.sleep(0.5)
        assert written == stood < 10_000 * MOST_BYTES


def test_a_signal_ends_an_idle_server_at_once() -> None:
    program = f"""
        import uvicorn
        from services.http_server import QuietServer

        async def app(scope, receive, send):
            pass

        QuietServer(uvicorn.Config(app, port={free_port()}, lifespan="off")).run()
    """
    arguments = [sys.executable, "-c", textwrap.dedent(program)]
    took_s = []
    for _ in range(3):
        with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            while "running on" not in process.stderr.readline():
                assert process.poll() is None
            time.sleep(0.2)  # between two looks
            began = time.monotonic()
            process.terminate()
            process.communicate(timeout=20)
            took_s.append(time.monotonic() - began)
    assert min(took_s) < 0.5, "and not when it looks next, once a second"
