"""A server that speaks like OpenAI, Anthropic and Google, and misbehaves on request.

It listens on a port of loopback. Each call takes the next step of `script`; the last one stays.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

Shape = Literal["openai", "anthropic", "google"]
Fault = Literal["none", "hang", "half-open", "malformed", "cut", "wrong-usage", "mid-error"]

CLOSE = "connection: close\r\n"
"""It answers one request a connection, and says so."""

TEXT = ("The ", "tower ", "is tall.")


@dataclass(frozen=True)
class Step:
    """How one call is answered: with a status, and on 200 with a stream that may have a fault."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    fault: Fault = "none"
    drip_s: float = 0.0
    tool: bool = False
    message: str = "no"
    body: dict[str, Any] | None = None
    """What it answers in place of a stream."""


@dataclass
class FakeProvider:
    """The server's script, and what it was sent and when (monotonic seconds)."""

    script: list[Step] = field(default_factory=lambda: [Step()])
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""
    serving: "set[asyncio.Task[None]]" = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection, until `stop`."""
        task = asyncio.create_task(self._serve(reader, writer))
        self.serving.add(task)
        await asyncio.wait([task])
        self.serving.discard(task)

    async def stop(self) -> None:
        """Leave those that are kept waiting."""
        for task in self.serving:
            task.cancel()
        await asyncio.gather(*self.serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer its only request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.headers.append(headers)
            self.requests.append(json.loads(body))
            self.times.append(time.monotonic())
            step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            await self._answer(writer, _shape(lines[0]), step)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left.set()
        finally:
            writer.close()

    def forget(self) -> None:
        """What it was sent."""
        for seen in (self.requests, self.headers, self.times):
            seen.clear()

    async def _answer(self, writer: asyncio.StreamWriter, shape: Shape, step: Step) -> None:
        if step.fault == "hang":
            await asyncio.sleep(60)
        if step.status != 200 or step.body:
            error = {"message": step.message, "type": "error", "code": step.status, "status": "X"}
            body = json.dumps(step.body or {"type": "error", "error": error}).encode()
            extra = "".join(f"{name}: {value}\r\n" for name, value in step.headers.items())
            start = f"HTTP/1.1 {step.status} X\r\ncontent-type: application/json\r\n{CLOSE}{extra}"
            writer.write(f"{start}content-length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
            return
        start = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{CLOSE}"
        writer.write(f"{start}transfer-encoding: chunked\r\n\r\n".encode())
        for number, frame in enumerate(_frames(shape, step)):
            if number == 2 and step.fault == "malformed":
                frame = "event: content_block_delta\ndata: {not json\n\n"  # noqa: PLW2901
            if number == 2 and step.fault == "cut":
                return  # the connection closes in the middle of the chunked body
            if number == 2 and step.fault == "half-open":
                await asyncio.sleep(60)
            if number == 2 and step.fault == "mid-error":
                frame = _error_frame()  # noqa: PLW2901
            data = frame.encode()
            writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            await writer.drain()
            await asyncio.sleep(step.drip_s)
        writer.write(b"0\r\n\r\n")
        await writer.drain()


@asynccontextmanager
async def fake_provider(*script: Step) -> AsyncGenerator[FakeProvider, None]:
    """A fake provider with this script, at its `url` until the block ends."""
    fake = FakeProvider(script=list(script) or [Step()])
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    fake.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield fake
    finally:
        server.close()
        await fake.stop()


def _shape(request_line: str) -> Shape:
    if "/messages" in request_line:
        return "anthropic"
    return "google" if "streamGenerateContent" in request_line else "openai"


def _error_frame() -> str:
    error = {"type": "overloaded_error", "message": "busy", "code": 503, "status": "UNAVAILABLE"}
    return f"event: error\ndata: {json.dumps({'type': 'error', 'error': error})}\n\n"


def _frames(shape: Shape, step: Step) -> list[str]:
    wrong = step.fault == "wrong-usage"
    match shape:
        case "openai":
            return _openai(step, wrong=wrong)
        case "anthropic":
            return _anthropic(step, wrong=wrong)
        case "google":
            return _google(step, wrong=wrong)


def _openai(step: Step, *, wrong: bool) -> list[str]:
    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return {**_CHUNK, "choices": [choice]}

    usage = {
        "prompt_tokens": -5 if wrong else 100,
        "completion_tokens": 3,
        "total_tokens": 103,
        "prompt_tokens_details": {"cached_tokens": 40},
    }
    call = {"index": 0, "id": "call_7", "type": "function"}
    pieces = [
        {**call, "function": {"name": "height", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"of": '}},
        {"index": 0, "function": {"arguments": '"tower"}'}},
    ]
    deltas: list[dict[str, Any]] = [{"content": text} for text in TEXT]
    if step.tool:
        deltas = [{"tool_calls": [piece]} for piece in pieces]
    events = [chunk({"role": "assistant", "content": ""}), *map(chunk, deltas)]
    events.append(chunk({}, "tool_calls" if step.tool else "stop"))
    events.append({**_CHUNK, "choices": [], "usage": usage})
    return [f"data: {json.dumps(event)}\n\n" for event in events] + ["data: [DONE]\n\n"]


_CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def _anthropic(step: Step, *, wrong: bool) -> list[str]:
    block: dict[str, Any] = {"type": "text", "text": ""}
    deltas = [{"type": "text_delta", "text": text} for text in TEXT]
    if step.tool:
        block = {"type": "tool_use", "id": "call_7", "name": "height", "input": {}}
        parts = ('{"of": ', '"tower"}')
        deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
    usage = {
        "input_tokens": -5 if wrong else 50,
        "output_tokens": 1,
        "cache_read_input_tokens": 0 if wrong else 40,
        "cache_creation_input_tokens": 0 if wrong else 10,
    }
    message: dict[str, Any] = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    reason = "tool_use" if step.tool else "end_turn"
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": None},
            "usage": {"output_tokens": 3},
        },
        {"type": "message_stop"},
    ]
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]


def _google(step: Step, *, wrong: bool) -> list[str]:
    parts: list[dict[str, Any]] = [{"text": text} for text in TEXT]
    if step.tool:
        parts = [{"functionCall": {"name": "height", "args": {"of": "tower"}}}]
    usage = {
        "promptTokenCount": -5 if wrong else 100,
        "candidatesTokenCount": 3,
        "cachedContentTokenCount": 0 if wrong else 40,
        "totalTokenCount": 103,
    }
    events: list[dict[str, Any]] = [
        {"candidates": [{"content": {"role": "model", "parts": [part]}}]} for part in parts
    ]
    events.append(
        {
            "candidates": [
                {"content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": "STOP"}
            ],
            "usageMetadata": usage,
        }
    )
    return [f"data: {json.dumps(event)}\n\n" for event in events]
