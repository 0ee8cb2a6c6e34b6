"""One hop between two services: messages, streams, deadlines, callers that leave, bad input."""

import asyncio
import io
from collections.abc import AsyncGenerator

import aiohttp
import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from starlette.types import Message, Receive, Scope, Send

from models.errors import EngineFailed, InputTooLong
from models.values import Finished, GenerateRequest, TextDelta, TokenUsage
from tests.support.serving import served
from tests.support.soon import SOON_S
from tiffin.clients import EmbeddingClient, LLMClient
from tiffin.core import errors
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.messages import Array, Embeddings, EmbedRequest, ServiceHealth
from tiffin.telemetry import metrics
from tiffin.transport import wire
from tiffin.transport.client import ServiceClient
from tiffin.transport.server import RpcApp


def soon(seconds: float = 5.0) -> RequestContext:
    return RequestContext(Deadline.after(seconds))


def rpc(max_body_bytes: int = 1 << 20, max_in_flight: int = 64) -> RpcApp:
    return RpcApp("Test", max_body_bytes=max_body_bytes, max_in_flight=max_in_flight)


class Texts:
    """A weightless embedder that remembers what became of its calls."""

    def __init__(self) -> None:
        self.contexts: list[RequestContext] = []
        self.cancelled = asyncio.Event()

    async def embed(self, request: EmbedRequest, context: RequestContext) -> Embeddings:
        self.contexts.append(context)
        rows = np.array([[len(text), 1.5] for text in request.texts], np.float32)
        return Embeddings(Array.of(rows), tokens=len(rows))

    async def hang(self, _: EmbedRequest, __: RequestContext) -> Embeddings:
        try:
            await asyncio.sleep(60)
        finally:
            self.cancelled.set()
        raise AssertionError


class Writer:
    """A weightless LLM that writes until its caller leaves, or breaks after `breaks_after`."""

    def __init__(self, breaks_after: int = 10**9) -> None:
        self.breaks_after = breaks_after
        self.written = 0
        self.stopped = asyncio.Event()

    async def generate(
        self, request: GenerateRequest, _: RequestContext
    ) -> AsyncGenerator[TextDelta | Finished, None]:
        try:
            for _index in range(request.max_tokens or 0):
                if self.written == self.breaks_after:
                    message = "the engine died"
                    raise EngineFailed(message)
                yield TextDelta("é")
                self.written += 1
                await asyncio.sleep(0.001)
            usage = TokenUsage(prompt_tokens=1, completion_tokens=self.written)
            yield Finished("length", usage)
        finally:
            self.stopped.set()


def ask(tokens: int) -> GenerateRequest:
    return GenerateRequest(messages=[], max_tokens=tokens)


async def test_an_array_arrives_as_it_was_sent() -> None:
    app, texts = rpc(), Texts()
    app.unary("embed", EmbedRequest, texts.embed)
    async with served(app) as url:
        client = EmbeddingClient("Test", url)
        rows, tokens = await client.embed(["a", "bcd"], soon())
        await client.close()
    assert rows.dtype == np.float32
    assert rows.tolist() == [[1.0, 1.5], [3.0, 1.5]]
    assert tokens == 2


async def test_deadline_request_id_and_trace_travel_with_the_call() -> None:
    app, texts = rpc(), Texts()
    app.unary("embed", EmbedRequest, texts.embed)
    sent = RequestContext(Deadline.after(3.0), "req-1", "00-trace")
    async with served(app) as url:
        client = EmbeddingClient("Test", url)
        await client.embed(["a"], sent)
        await client.close()
    (context,) = texts.contexts
    assert (context.request_id, context.traceparent) == ("req-1", "00-trace")
    assert 2.0 < context.deadline.remaining() <= 3.0


async def test_two_thousand_calls_at_concurrency_32_lose_none() -> None:
    app, texts = rpc(), Texts()
    app.unary("embed", EmbedRequest, texts.embed)
    turns = asyncio.Semaphore(32)
    async with served(app) as url:
        client = EmbeddingClient("Test", url)

        async def call(number: int) -> bool:
            async with turns:
                rows, _ = await client.embed(["x" * number], soon(30))
                return bool(rows[0, 0] == number)

        answers = await asyncio.gather(*(call(number) for number in range(2000)))
        await client.close()
    assert answers == [True] * 2000


async def test_a_caller_that_leaves_cancels_the_work() -> None:
    app, texts = rpc(), Texts()
    app.unary("embed", EmbedRequest, texts.hang)
    async with served(app) as url:
        client = EmbeddingClient("Test", url)
        call = asyncio.create_task(client.embed(["a"], soon()))
        await asyncio.sleep(0.1)
        call.cancel()
        async with asyncio.timeout(SOON_S):
            await texts.cancelled.wait()
        await client.close()


async def test_the_deadline_stops_both_ends() -> None:
    app, texts = rpc(), Texts()
    app.unary("embed", EmbedRequest, texts.hang)
    async with served(app) as url:
        client = EmbeddingClient("Test", url)
        with pytest.raises(errors.DeadlineExceeded):
            await client.embed(["a"], soon(0.2))
        async with asyncio.timeout(SOON_S):
            await texts.cancelled.wait()
        await client.close()


async def test_a_stream_arrives_whole_in_order_and_ends() -> None:
    app, writer = rpc(), Writer()
    app.stream("generate", GenerateRequest, writer.generate)
    async with served(app) as url:
        client = LLMClient("Test", url)
        events = [event async for event in client.generate(ask(300), soon())]
        await client.close()
    assert events[:-1] == [TextDelta("é")] * 300
    assert isinstance(events[-1], Finished)


async def test_who_reads_an_answer_whole_is_woken_for_many_events_at_once() -> None:
    app, writer = rpc(), Writer()
    app.stream("generate", GenerateRequest, writer.generate)
    writes = 0

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        async def count(message: Message) -> None:
            nonlocal writes
            writes += message["type"] == "http.response.body"
            await send(message)

        await app(scope, receive, count)

    async with served(counted) as url:
        client = LLMClient("Test", url)
        streamed = [event async for event in client.generate(ask(300), soon())]
        for_a_stream, writes, writer.written = writes, 0, 0
        whole = [event async for event in client.generate(ask(300), replace(soon(), whole=True))]
        await client.close()
    assert whole == streamed
    assert writes < for_a_stream / 3


async def test_a_failure_loses_nothing_of_an_answer_that_is_read_whole() -> None:
    app, writer = rpc(), Writer(breaks_after=5)
    app.stream("generate", GenerateRequest, writer.generate)
    async with served(app) as url:
        client = LLMClient("Test", url)
        events = client.generate(ask(300), replace(soon(), whole=True))
        assert [await anext(events) for _ in range(5)] == [TextDelta("é")] * 5
        with pytest.raises(errors.UpstreamFailed):
            await anext(events)
        await client.close()


async def test_a_reader_that_leaves_a_stream_stops_the_writer() -> None:
    app, writer = rpc(), Writer()
    app.stream("generate", GenerateRequest, writer.generate)
    async with served(app) as url:
        client = LLMClient("Test", url)
        events = client.generate(ask(100_000), soon())
        await anext(events)
        await events.aclose()
        async with asyncio.timeout(SOON_S):
            await writer.stopped.wait()
        await client.close()
    assert writer.written < 1000


async def test_a_break_in_a_stream_is_an_error_and_never_a_clean_end() -> None:
    app, writer = rpc(), Writer(breaks_after=3)
    app.stream("generate", GenerateRequest, writer.generate)
    async with served(app) as url:
        client = LLMClient("Test", url)
        events = client.generate(ask(10), soon())
        read = [await anext(events) for _ in range(3)]
        with pytest.raises(errors.UpstreamFailed, match="the engine died"):
            await anext(events)
        await client.close()
    assert read == [TextDelta("é")] * 3


async def test_a_stream_cut_without_its_end_frame_is_an_error() -> None:
    async def cut(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        body = wire.frame(wire.FRAME_EVENT, wire.encode(TextDelta("a")))
        await send({"type": "http.response.body", "body": body})

    async with served(cut) as url:
        client = LLMClient("Test", url)
        events = client.generate(ask(10), soon())
        assert await anext(events) == TextDelta("a")
        with pytest.raises(errors.UpstreamFailed, match="broke off"):
            await anext(events)
        await client.close()


async def test_a_stream_ends_at_its_deadline_though_the_service_does_not_mind() -> None:
    async def drags_on(_scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        body = wire.frame(wire.FRAME_EVENT, wire.encode(TextDelta("a")))
        await send({"type": "http.response.body", "body": body, "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    async with served(drags_on) as url:
        client = LLMClient("Test", url)
        events = client.generate(ask(10), soon(0.5))
        assert await anext(events) == TextDelta("a")
        with pytest.raises(errors.DeadlineExceeded):
            await asyncio.wait_for(anext(events), 5)
        await client.close()


async def test_the_callee_s_error_is_raised_at_the_caller() -> None:
    async def too_long(_: EmbedRequest, __: RequestContext) -> Embeddings:
        raise InputTooLong(9000, 4096)

    app = rpc()
    app.unary("embed", EmbedRequest, too_long)
    async with served(app) as url:
        client = EmbeddingClient("Test", url)
        with pytest.raises(errors.FieldTooLarge, match="9000 tokens long"):
            await client.embed(["a"], soon())
        await client.close()


async def test_one_request_over_the_limit_is_refused_at_once() -> None:
    app, texts = rpc(max_in_flight=1), Texts()
    app.unary("embed", EmbedRequest, texts.hang)
    async with served(app) as url:
        client = EmbeddingClient("Test", url)
        first = asyncio.create_task(client.embed(["a"], soon()))
        await asyncio.sleep(0.1)
        with pytest.raises(errors.Overloaded) as refusal:
            await client.embed(["b"], soon())
        first.cancel()
        await client.close()
    assert refusal.value.retry_after_s == 1


async def test_a_service_that_is_not_there_is_unavailable() -> None:
    client = ServiceClient("Test", "file:///nowhere/service.sock")
    with pytest.raises(errors.Unavailable, match="Test is not reachable"):
        await client.call("embed", EmbedRequest([]), Embeddings, soon())
    with pytest.raises(errors.Unavailable):
        await client.health(ServiceHealth, 0.2)
    await client.close()


@pytest.mark.parametrize(
    ("path", "content_type", "body", "status", "says"),
    [
        ("embed", "application/json", b"{}", 415, "msgpack only"),
        ("embed", wire.MESSAGE_TYPE, b"\xc1", 400, "embed"),
        ("embed", wire.MESSAGE_TYPE, msgspec.msgpack.encode({"texts": 5}), 400, "texts"),
        ("embed", wire.MESSAGE_TYPE, b"x" * (1 << 21), 413, "1048576 bytes"),
        ("nothing", wire.MESSAGE_TYPE, b"", 404, "it has: embed"),
    ],
)
async def test_a_bad_message_is_refused_and_named(
    path: str, content_type: str, body: bytes, status: int, says: str
) -> None:
    app = rpc()
    app.unary("embed", EmbedRequest, Texts().embed)
    async with served(app) as url:
        connector = aiohttp.UnixConnector(url.removeprefix("file://"))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post(
                f"http://service{wire.PREFIX}{path}",
                data=io.BytesIO(body),
                headers={"content-type": content_type},
            ) as response,
        ):
            error = wire.decode_error(await response.read())
    assert response.status == status
    assert says in error.message


async def test_a_service_that_is_lost_ends_the_calls_that_wait_for_it_at_once() -> None:
    texts = Texts()
    app = rpc()
    app.unary("embed", EmbedRequest, texts.hang)
    async with served(app) as url:
        client = EmbeddingClient("Test", url)
        call = asyncio.create_task(client.embed(["x"], soon(60)))
        await asyncio.sleep(0.1)
        client.lost = "Test does not answer"
        with pytest.raises(errors.Unavailable, match="does not answer"):
            async with asyncio.timeout(SOON_S):
                await call
        async with asyncio.timeout(SOON_S):
            await texts.cancelled.wait()
        with pytest.raises(errors.Unavailable):
            await client.embed(["y"], soon(60))
        client.lost = None
        with pytest.raises(errors.DeadlineExceeded):
            await client.embed(["z"], soon(0.1))
        await client.close()


async def test_a_call_is_counted_though_the_service_is_away() -> None:
    """What has no replica is started by that count."""
    client = LLMClient("Asleep", "http://127.0.0.1:1")
    client.lost = "asleep"
    with pytest.raises(errors.Unavailable):
        await anext(client.generate(GenerateRequest(prompt="x"), soon()))
    (counted,) = metrics.calls_total.labels("Asleep").collect()
    assert counted.samples[0].value == 1
    await client.close()


async def test_a_stream_of_a_service_that_is_lost_ends_typed() -> None:
    class Silent(Writer):
        async def generate(
            self, request: GenerateRequest, _: RequestContext
        ) -> AsyncGenerator[TextDelta | Finished, None]:
            yield TextDelta("one" * (request.max_tokens or 1))
            await asyncio.sleep(60)

    app = rpc()
    app.stream("generate", GenerateRequest, Silent().generate)
    async with served(app) as url:
        client = LLMClient("Test", url)
        events = client.generate(GenerateRequest(messages=[], max_tokens=1), soon(60))
        assert await anext(events) == TextDelta("one")
        asyncio.get_running_loop().call_later(0.1, setattr, client, "lost", "gone")
        with pytest.raises(errors.Unavailable, match="gone"):
            async with asyncio.timeout(SOON_S):
                await anext(events)
        await client.close()


async def test_an_answer_of_the_wrong_shape_is_the_service_s_failure() -> None:
    class Broken(Texts):
        async def embed(self, _: EmbedRequest, __: RequestContext) -> Embeddings:
            return Embeddings(Array((7, 7), b"1234"), tokens=1)

    app = rpc()
    app.unary("embed", EmbedRequest, Broken().embed)
    async with served(app) as url:
        client = EmbeddingClient("Test", url)
        with pytest.raises(errors.UpstreamFailed, match="broken array"):
            await client.embed(["x"], soon())
        await client.close()
