"""The connections of a hop: kept, closed, held up, refused. The servers are raw, to misbehave."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tiffin.core.deadline import Deadline
from tiffin.transport import unix
from tiffin.transport.client import connections_to
from tiffin.transport.connections import Connections, GivenUp, NotReachable, Request

OK = b"HTTP/1.1 200 OK\r\ncontent-type: text/x\r\n"
SHORT = OK + b"content-length: 2\r\n\r\nhi"

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def short(writer: asyncio.StreamWriter) -> None:
    writer.write(SHORT)


class Server:
    """Reads requests, answers each by `answer`, and remembers them and its connections."""

    def __init__(self, answer: Answer = short) -> None:
        self.answer = answer
        self.writers: list[asyncio.StreamWriter] = []
        self.requests: list[tuple[bytes, bytes]] = []
        self.left = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                self.requests.append((head, await reader.readexactly(int(length or 0))))
                await self.answer(writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            self.left.set()
        finally:
            writer.close()


over_both = pytest.mark.parametrize("over", ["unix", "tcp"])


@asynccontextmanager
async def on_socket(
    server: Server, folder: Path, over: str = "unix"
) -> AsyncGenerator[Connections, None]:
    if over == "unix":
        path = folder / "service.sock"
        listening = await asyncio.start_unix_server(server.serve, path)
        connections = connections_to(path.as_uri(), {})
    else:
        listening = await asyncio.start_server(server.serve, "127.0.0.1")
        port = listening.sockets[0].getsockname()[1]
        connections = connections_to(f"http://127.0.0.1:{port}", {})
    try:
        yield connections
    finally:
        await connections.close()
        listening.close()


async def ask(connections: Connections, body: bytes = b"", within_s: float = 5) -> bytes:
    with await connections.ask(Request("/x", Deadline.after(within_s), {}, body)) as connection:
        return await connection.rest()


async def test_requests_one_after_the_other_share_a_connection(tmp_path: Path) -> None:
    server = Server()
    async with on_socket(server, tmp_path) as connections:
        assert [await ask(connections) for _ in range(3)] == [b"hi"] * 3
        assert len(server.writers) == 1
        await asyncio.gather(*(ask(connections) for _ in range(3)))
        assert len(server.writers) == 3
    await asyncio.wait_for(server.left.wait(), 5)


async def test_a_connection_that_the_server_closed_is_not_used_again(tmp_path: Path) -> None:
    server = Server()
    async with on_socket(server, tmp_path) as connections:
        await ask(connections)
        server.writers[0].close()
        await asyncio.sleep(0.05)
        assert await ask(connections) == b"hi"
    assert len(server.writers) == 2


async def test_a_server_that_says_it_will_close_gets_no_more_requests(tmp_path: Path) -> None:
    async def last(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"connection: close\r\ncontent-length: 2\r\n\r\nhi")

    server = Server(last)
    async with on_socket(server, tmp_path) as connections:
        assert [await ask(connections) for _ in range(2)] == [b"hi"] * 2
    assert len(server.writers) == 2


async def test_a_connection_is_not_used_after_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix, "IDLE_CONNECTION_S", 0.05)
    server = Server()
    async with on_socket(server, tmp_path) as connections:
        await ask(connections)
        await asyncio.sleep(0.1)
        await ask(connections)
    assert len(server.writers) == 2


@over_both
async def test_a_message_of_any_size_arrives_whole(tmp_path: Path, over: str) -> None:
    body = bytes(range(256)) * 80_000
    server = Server()

    async def echo(writer: asyncio.StreamWriter) -> None:
        (_, came) = server.requests[-1]
        writer.write(OK + b"content-length: %d\r\n\r\n" % len(came) + came)

    server.answer = echo
    async with on_socket(server, tmp_path, over) as connections:
        assert await ask(connections, body) == body


@over_both
async def test_a_reader_that_does_not_keep_up_holds_up_the_service(
    tmp_path: Path, over: str
) -> None:
    size = 32 << 20
    sent = 0

    async def much(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(OK + b"content-length: %d\r\n\r\n" % size)
        while sent < size:
            writer.write(b"x" * (1 << 16))
            sent += 1 << 16
            await writer.drain()

    async with on_socket(Server(much), tmp_path, over) as connections:
        connection = await connections.ask(Request("/x", Deadline.after(20), {}, b""))
        await asyncio.sleep(0.2)
        assert len(connection.body) < 1 << 20
        assert sent < (4 << 20 if over == "unix" else 16 << 20)  # TCP's buffers are the larger
        assert len(await connection.rest()) == size
        connections.end(connection)


@over_both
async def test_what_came_is_read_before_the_break(tmp_path: Path, over: str) -> None:
    async def breaks(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"content-length: 9\r\n\r\nhalf")
        await writer.drain()
        writer.close()

    async with on_socket(Server(breaks), tmp_path, over) as connections:
        connection = await connections.ask(Request("/x", Deadline.after(5), {}, b""))
        await asyncio.sleep(0.1)
        assert connection.body == b"half"
        with pytest.raises(ConnectionError):
            await connection.more()
        connections.end(connection)


@over_both
@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", SHORT + SHORT]
)
async def test_what_is_no_answer_ends_the_request_and_the_connection(
    answer: bytes, tmp_path: Path, over: str
) -> None:
    async def odd(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    server = Server(odd)
    async with on_socket(server, tmp_path, over) as connections:
        if answer.startswith(SHORT):  # one answer too many
            assert await ask(connections) == b"hi"
        else:
            with pytest.raises(ConnectionError, match="no HTTP answer"):
                await ask(connections)
        await asyncio.wait_for(server.left.wait(), 5)


@over_both
async def test_a_request_that_is_left_closes_its_connection(tmp_path: Path, over: str) -> None:
    async def never(_: asyncio.StreamWriter) -> None:
        pass

    server = Server(never)
    async with on_socket(server, tmp_path, over) as connections:
        with pytest.raises(TimeoutError):
            await ask(connections, within_s=0.1)
        await asyncio.wait_for(server.left.wait(), 5)


async def test_over_tcp_each_request_has_a_connection_and_each_address_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1")
    port = listening.sockets[0].getsockname()[1]
    asked: list[str] = []

    async def two(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, (address, port)) for address in ("127.0.0.1", "127.0.0.2")]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", two, raising=False)
    connections = connections_to(f"http://replicas:{port}/below/", {"x-token": "t"})
    assert [await ask(connections) for _ in range(4)] == [b"hi"] * 4  # no one listens at 127.0.0.2
    await connections.close()
    listening.close()
    head = server.requests[0][0]
    assert head.startswith(b"POST /below/x HTTP/1.1\r\nhost: replicas:%d\r\n" % port)
    assert b"\r\nconnection: close\r\n" in head
    assert b"\r\nx-token: t\r\n" in head
    assert (len(server.writers), asked.count("replicas")) == (4, 1)


async def test_nobody_there_is_not_reachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        connections = connections_to(f"http://127.0.0.1:{taken.getsockname()[1]}", {})
        with pytest.raises(NotReachable):
            await ask(connections)
        await connections.close()
    connections = connections_to("http://no-such-host.invalid", {})
    with pytest.raises(NotReachable):
        await ask(connections)
    await connections.close()


async def test_a_service_given_up_while_it_is_being_connected_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server()
    async with on_socket(server, tmp_path) as connections:
        connect = unix.UnixConnections.connect

        async def slowly(*arguments: Any) -> None:
            await asyncio.sleep(0.1)
            await connect(*arguments)

        monkeypatch.setattr(unix.UnixConnections, "connect", slowly)
        call = asyncio.create_task(ask(connections))
        await asyncio.sleep(0.05)
        connections.give_up("gone")
        with pytest.raises(GivenUp, match="gone"):
            await asyncio.wait_for(call, 5)
    assert not server.requests


@over_both
async def test_a_header_cannot_bring_another(tmp_path: Path, over: str) -> None:
    async with on_socket(Server(), tmp_path, over) as connections:
        for text in ("a\r\nx-tiffin-token: b", "a\nb", "a\rb"):
            with pytest.raises(ValueError, match="one line"):
                await connections.ask(Request("/x", Deadline.after(1), {"x-request-id": text}, b""))


@over_both
async def test_a_service_given_up_ends_the_requests_in_flight(tmp_path: Path, over: str) -> None:
    async def begins(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"content-length: 9\r\n\r\nhalf")

    server = Server(begins)
    async with on_socket(server, tmp_path, over) as connections:
        call = asyncio.create_task(ask(connections))
        while not server.requests or not connections.heard_at:
            await asyncio.sleep(0.01)
        connections.give_up("gone")
        with pytest.raises(GivenUp, match="gone"):
            await asyncio.wait_for(call, 5)
        await asyncio.wait_for(server.left.wait(), 5)


async def test_over_tcp_a_caller_that_is_cancelled_closes_its_connection(tmp_path: Path) -> None:
    async def never(_: asyncio.StreamWriter) -> None:
        pass

    server = Server(never)
    async with on_socket(server, tmp_path, "tcp") as connections:
        call = asyncio.create_task(ask(connections))
        while not server.requests:
            await asyncio.sleep(0.01)
        call.cancel()
        await asyncio.wait_for(server.left.wait(), 5)
