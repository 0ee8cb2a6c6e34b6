"""Every route without a key: refused from its headers alone, and nothing behind is asked."""

import asyncio
import itertools
import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass

import aiohttp

from tests.chaos.proxy import Proxy
from tests.chaos.row import Row, misses, percentile
from tests.chaos.size import Size
from tests.chaos.stand import Guarded
from tiffin.api.app import BENTOML_PATHS, create_app
from tiffin.api.middleware.access import OPEN_PAGES, OPEN_PATHS, is_open
from tiffin.transport import wire

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
NOT_OURS = ("/static_content/x", "/no/such/route", "/v1/", "//", "/v1/../metrics", "/RAG_QUERY")
RPC_METHODS = {
    "Embedding": "embed",
    "Reranker": "score",
    "Router": "route",
    "Safety": "check",
    "SmallLLM": "generate",
}
UNSENT_BYTES = 10_000_000
"""The length of the body that is announced and never sent; below the limit of a body."""

ANSWER_S = 0.25
WAIT_S = 2.0
ENOUGH = 10
"""Routes that let somebody in, after which the rest is not tried."""

REFUSALS = {401, 403}


@dataclass(frozen=True)
class Answer:
    """What came back for headers without a body; status 0 where nothing did."""

    what: str
    status: int
    took_s: float


async def every_route(stand: Guarded, _: Size) -> AsyncGenerator[Row, None]:
    """All methods of all paths, with no key, a wrong one and a revoked one; the services' too."""
    stand.keys.create("app")
    revoked = stand.keys.create("gone")
    stand.keys.revoke("gone")
    paths = await _paths(stand)
    keys = {"no key": "", "wrong": f"tiffin-00000000-{'x' * 43}", "revoked": revoked}
    before = await _asked(stand)
    answers: list[Answer] = []
    for path, method, key in itertools.product(paths, METHODS, keys.values()):
        if is_open(method, path):
            continue
        headers = [f"authorization: Bearer {key}"] if key else []
        answers.append(await _ask(stand.url, method, path, headers))
        if sum(answer.status not in REFUSALS for answer in answers) >= ENOUGH:
            break
    inner = [answer async for answer in _inner(stand)]
    after = await _asked(stand)
    let_in = [answer for answer in (*answers, *inner) if answer.status not in REFUSALS]
    took_ms = [answer.took_s * 1000 for answer in (*answers, *inner)]
    open_to_all = ", ".join(sorted(OPEN_PATHS | OPEN_PAGES))
    example = f" ({let_in[0].what}: {let_in[0].status})" if let_in else ""
    statuses = Counter(answer.status for answer in (*answers, *inner))
    yield Row(
        f"auth: every route ({len(paths)} paths x {len(METHODS)} methods x {len(keys)} bad keys; "
        f"{len(inner)} calls of the services)",
        "401/403 from the headers, before the body is sent; 0 calls of a service or a provider",
        f"{', '.join(f'{count}x {status}' for status, count in statuses.items())}{example}; "
        f"p99 {percentile(took_ms, 0.99):.0f} ms, slowest {max(took_ms):.0f} ms, the body never "
        f"sent; {after - before} calls; open by design: {open_to_all}",
        misses(
            refused=not let_in,
            no_calls=after == before,
            at_once=max(took_ms) <= ANSWER_S * 1000,
        ),
    )


async def _paths(stand: Guarded) -> list[str]:
    """The paths of the OpenAPI document, those it does not tell of, and some that are none."""
    key = stand.keys.create("reader")
    async with (
        aiohttp.ClientSession(headers={"authorization": f"Bearer {key}"}) as session,
        session.get(f"{stand.url}/openapi.json") as response,
    ):
        document = await response.json()
    ours = {getattr(route, "path", "") for route in create_app().routes}
    inside = {wire.HEALTH_PATH, *(wire.PREFIX + name for name in RPC_METHODS.values())}
    every = {*document["paths"], *ours, *BENTOML_PATHS, *NOT_OURS, *inside} - {""}
    return sorted({re.sub(r"{[^}]*}", "x", path) for path in every} - OPEN_PATHS)


async def _asked(stand: Guarded) -> int:
    """Calls of the services and of the provider so far."""
    calls: dict[str, int] = (await stand.state())["calls"]
    return sum(calls.values()) + len(stand.provider.requests)


async def _inner(stand: Guarded) -> AsyncGenerator[Answer, None]:
    """The methods of the services behind, without the internal token and with another."""
    for service, method in RPC_METHODS.items():
        for path, token in _with_tokens(wire.PREFIX + method, wire.HEALTH_PATH):
            yield await _ask(_url(stand.proxies[service]), "POST", path, token)


def _with_tokens(*paths: str) -> Iterator[tuple[str, list[str]]]:
    for path in paths:
        yield path, []
        yield path, [f"{wire.TOKEN_HEADER}: other"]


def _url(proxy: Proxy) -> str:
    return f"http://127.0.0.1:{proxy.port}"


async def _ask(url: str, method: str, path: str, headers: list[str]) -> Answer:
    """Send the headers of a request with a large body, and no body."""
    host, port = url.removeprefix("http://").split(":")
    lines = [
        f"{method} {path} HTTP/1.1",
        f"host: {host}",
        "content-type: application/json",
        f"content-length: {UNSENT_BYTES}",
        *headers,
    ]
    began = time.monotonic()
    reader, writer = await asyncio.open_connection(host, int(port))
    status = b""
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode())
        async with asyncio.timeout(WAIT_S):
            status = await reader.readline()
    except (TimeoutError, OSError):
        pass
    finally:
        writer.close()
    words = status.split()
    code = int(words[1]) if len(words) > 1 else 0
    return Answer(f"{method} {path}", code, time.monotonic() - began)
