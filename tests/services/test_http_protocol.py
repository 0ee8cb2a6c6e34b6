"""Clients that break HTTP, or never end what they began: all are answered, none stays for ever."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest

from tests.support.services import Services, entry, with_door
from tests.support.serving import served
from tiffin.config.settings import Settings, load_settings

Exchange = Callable[..., Coroutine[None, None, bytes]]

PATIENCE_S = 10.0
RECEIVE_MS = 300
QUESTION = json.dumps({"query": "how tall?", "documents": ["The tower is 324 metres tall."]})
STREAM = json.dumps(
    {"model": "small", "stream": True, "messages": [{"role": "user", "content": "how tall?"}]}
)


@pytest.fixture
def settings() -> Settings:
    limits = {"receive_ms": RECEIVE_MS, "header_bytes": 4096}
    rag = {"prefer": "write", "grounding": "off"}
    return load_settings(profile="laptop", limits=limits, rag=rag)


@pytest.fixture
def services() -> Services:
    return Services()


@asynccontextmanager
async def listening(services: Services, settings: Settings) -> AsyncGenerator[str, None]:
    """The socket of the entry service."""
    async with entry(services, settings):
        assert services.front is not None
        async with served(services.front, settings.limits) as url:
            yield url.removeprefix("file://")


async def exchanged(path: str, *pieces: bytes, pause_s: float = 0.05) -> bytes:
    """Sends pieces of bytes and reads until the server hangs up."""
    reader, writer = await asyncio.open_unix_connection(path)
    answer = asyncio.create_task(_read(reader))
    try:
        for piece in pieces:
            if answer.done():
                break  # it has hung up
            writer.write(piece)
            await asyncio.sleep(pause_s)
        return await asyncio.wait_for(answer, PATIENCE_S)
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    """All that came. The server may hang up while the next piece is being written."""
    said = b""
    with suppress(ConnectionError):
        while piece := await reader.read(1 << 16):
            said += piece
    return said


@asynccontextmanager
async def raw(services: Services, settings: Settings) -> AsyncGenerator[Exchange, None]:
    """`exchanged` with the entry service."""
    async with listening(services, settings) as path:
        yield partial(exchanged, path)


def post(
    path: str, body: str, *lines: str, version: str = "1.1", length: int | None = None
) -> bytes:
    size = len(body) if length is None else length
    head = [f"POST {path} HTTP/{version}", "host: t", f"content-length: {size}"]
    head += ["content-type: application/json", *lines]
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode()


def error_of(answer: bytes, status: int) -> dict[str, str]:
    """The error in our shape that an answer is, which names its request and ends the connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.lower().splitlines()
    assert lines[0].startswith(b"http/1.1 %d" % status), answer
    assert {b"connection: close", b"content-type: application/json"} <= set(lines)
    assert any(line.startswith(b"x-request-id: ") for line in lines)
    error: dict[str, str] = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"hello\r\n\r\n", "Invalid method"),
        (b"GET / HTTP/1.1\r\nhost: t\r\nno colon\r\n\r\n", "header token"),
        (b"GET / HTTP/9\r\n\r\n", "Expected dot"),
        (b"POST /v1/rag HTTP/1.1\r\ncontent-length: -1\r\n\r\n", "Content-Length"),
        (b"POST /v1/rag HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nno hex\r\n", "chunk size"),
        (b"CONNECT t:443 HTTP/1.1\r\nhost: t\r\n\r\n", "Invalid HTTP request"),
    ],
)
async def test_what_is_no_http_is_answered_in_our_shape(
    services: Services, settings: Settings, sent: bytes, says: str
) -> None:
    async with raw(services, settings) as exchange:
        error = error_of(await exchange(sent), 400)
    assert error["code"] == "invalid_http"
    assert says in error["message"]


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
async def test_a_client_that_offers_another_protocol_is_answered_in_this_one(
    services: Services, settings: Settings, protocol: str
) -> None:
    offer = ("connection: upgrade, close", f"upgrade: {protocol}", "sec-websocket-version: 13")
    asked = post("/rag_query", QUESTION, *offer)
    async with raw(services, settings) as exchange:
        whole = await exchange(asked)
        in_pieces = await exchange(asked[: -len(QUESTION)], asked[-len(QUESTION) :])
        wrong = await exchange(post("/livez", "", *offer))
    assert whole.startswith(b"HTTP/1.1 200"), whole
    assert in_pieces.startswith(b"HTTP/1.1 200"), in_pieces
    assert error_of(wrong, 405)["message"] == "'/livez' does not take POST; it takes: GET, HEAD"


async def test_no_answer_is_taken_for_that_to_another_request(
    services: Services, settings: Settings
) -> None:
    services.delays_s = {"embed": 0.5}
    async with raw(services, settings) as exchange:
        asked = post("/rag_query", QUESTION)
        answer = await exchange(asked, b"hello\r\n\r\n", b"hello\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1") == 1


async def test_an_old_client_reads_a_stream_without_chunks(
    services: Services, settings: Settings
) -> None:
    async with raw(services, settings) as exchange:
        answer = await exchange(post("/v1/chat/completions", STREAM, version="1.0"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    frames = body.decode().split("\n\n")
    assert all(frame.startswith("data: ") for frame in frames[:-1]), frames
    assert frames[-2:] == ["data: [DONE]", ""]


async def test_an_old_client_is_told_how_long_a_whole_answer_is(
    services: Services, settings: Settings
) -> None:
    async with raw(services, settings) as exchange:
        answer = await exchange(post("/rag_query", QUESTION, version="1.0"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head.lower()


@pytest.mark.parametrize("line", ["x-request-timeout-ms: 200", "x-none: 1"])
async def test_a_body_that_stalls_is_answered_and_holds_no_place(
    services: Services, settings: Settings, line: str
) -> None:
    if "timeout" in line:
        limits = settings.limits.model_copy(update={"receive_ms": 60_000})
        settings = settings.model_copy(update={"limits": limits})
    one_place = with_door(settings, 1, max_waiting=0)
    stalled = post("/rag_query", QUESTION[:20], line, length=1000)
    whole = post("/rag_query", QUESTION, "connection: close")
    async with raw(services, one_place) as exchange:
        waits = asyncio.create_task(exchange(stalled))
        await asyncio.sleep(0.1)
        assert (await exchange(whole)).startswith(b"HTTP/1.1 200")
        error = error_of(await waits, 408)
    assert (error["type"], error["param"]) == ("timeout_error", "body")
    assert services.calls.count("embed") == 1


async def test_a_request_that_was_answered_early_is_answered_once(
    services: Services, settings: Settings
) -> None:
    stalled = post("/rag_query", QUESTION[:20], length=1000).replace(b"/json", b"/xml")
    async with raw(services, settings) as exchange:
        answer = await exchange(stalled)
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1


async def test_headers_that_never_end_are_answered(services: Services, settings: Settings) -> None:
    async with raw(services, settings) as exchange:
        drip = [b"x-%d: 1\r\n" % number for number in range(20)]
        error = error_of(await exchange(b"GET /livez HTTP/1.1\r\n", *drip), 408)
    assert error["param"] == "headers"


@pytest.mark.parametrize("sent", [[], [b"\r\n"] * 8], ids=["nothing", "empty lines"])
async def test_a_client_that_asks_nothing_is_hung_up_on(
    services: Services, settings: Settings, sent: list[bytes]
) -> None:
    async with raw(services, settings) as exchange:
        assert await exchange(*sent) == b""


async def test_headers_are_refused_before_they_end(services: Services, settings: Settings) -> None:
    limits = settings.limits.model_copy(update={"receive_ms": 60_000})
    settings = settings.model_copy(update={"limits": limits})
    async with raw(services, settings) as exchange:
        sent = [b"GET /livez HTTP/1.1\r\nx-long: "] + [b"x" * 3000] * 4
        error = error_of(await exchange(*sent), 431)
    assert "the limit is 4,096" in error["message"]


async def test_a_client_that_does_not_read_holds_no_place_for_ever(
    services: Services, settings: Settings
) -> None:
    services.answer = ("x" * 4000,) * 10_000
    limits = settings.limits.model_copy(update={"send_ms": RECEIVE_MS})
    one_place = with_door(settings.model_copy(update={"limits": limits}), 1, max_waiting=0)
    async with listening(services, one_place) as path:
        _, unread = await asyncio.open_unix_connection(path, limit=1)
        unread.write(post("/v1/chat/completions", STREAM))
        await asyncio.sleep(0.1)
        services.answer = ("short",)
        async with asyncio.timeout(PATIENCE_S):
            while not (answer := await _asked(path)).startswith(b"HTTP/1.1 200"):
                assert answer.startswith(b"HTTP/1.1 503")
        unread.close()


async def _asked(path: str) -> bytes:
    return await exchanged(path, post("/v1/chat/completions", STREAM, "connection: close"))


async def test_an_answer_may_take_longer_than_its_request(
    services: Services, settings: Settings
) -> None:
    """Also when the next request begins to come meanwhile, and on a connection that is kept."""
    services.delays_s = {"embed": 3 * RECEIVE_MS / 1000}
    first, second = post("/rag_query", QUESTION), post("/rag_query", QUESTION, "connection: close")
    async with raw(services, settings) as exchange:
        answer = await exchange(first[:50], first[50:], second[:50], second[50:-5], second[-5:])
    assert answer.count(b"HTTP/1.1 200") == 2
