"""Clients that are slow: half of them send a byte a second, half of them read one."""

import asyncio
import json
import resource
import socket
from collections import Counter
from collections.abc import AsyncGenerator

import psutil

from tests.chaos.load import fire, kinds, question, tally
from tests.chaos.row import Row, misses, percentile
from tests.chaos.size import Size
from tests.chaos.stand import Stand

RATE_PER_S = 20.0
PACE_S = 0.05
"""Between two slow clients that come: all at once would be an overload, which is another test."""

SMALL_BUFFER = 4096
"""Bytes that the kernel takes in for a client which does not read."""


async def slow_clients(stand: Stand, size: Size) -> AsyncGenerator[Row, None]:
    """Slow clients next to ones that behave."""
    count = size.slow_clients
    limit = min(_own_limit(count), stand.entry().rlimit(psutil.RLIMIT_NOFILE)[0])
    without = await fire(stand.url, RATE_PER_S, size.seconds, question)
    at_first = stand.entry().num_fds()
    seen: Counter[str] = Counter()
    slow = []
    for number in range(count):
        slow.append(asyncio.create_task(_slow_client(stand.url, number, seen)))
        await asyncio.sleep(PACE_S)
    beside = await fire(stand.url, RATE_PER_S, size.seconds, question)
    held = stand.entry().num_fds() - at_first
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    # Before and after: what else the machine does in the meantime is in both.
    without += await fire(stand.url, RATE_PER_S, size.seconds, question)
    p99_without, p99 = (
        percentile([o.took_s * 1000 for o in outcomes], 0.99) for outcomes in (without, beside)
    )
    yield Row(
        f"{count} slow clients (half send a byte a second, half read one)",
        "the others' p99 <= 1.2x, 0 failed; none of the slow ones cut off",
        f"p99 {p99_without:.0f} ms without, {p99:.0f} ms with them; {tally(beside)}; "
        f"{seen['reads']} read and {seen['sends']} sent to the end of the test, {seen['refused']} "
        f"refused, {seen['cut off']} cut off; {held} descriptors held of {limit:,}",
        misses(
            p99=p99 <= 1.2 * p99_without,
            none_failed=len(kinds(beside, "ok")) == len(beside),
            slow_ones_served=seen["reads"] + seen["sends"] >= 0.95 * count,
            descriptors=held + at_first < limit,
        ),
    )


def _own_limit(clients: int) -> int:
    """The limit of descriptors here, raised as far as it may be."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < 2 * clients + 100:
        message = f"{clients} slow clients need more descriptors than {hard}: see `ulimit -n`"
        raise OSError(message)
    return hard


async def _slow_client(url: str, number: int, seen: Counter[str]) -> None:
    """Count it as one that `reads` or `sends` when it is cancelled while it still does."""
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        raw.setblocking(False)  # noqa: FBT003
        await asyncio.get_running_loop().sock_connect(raw, (host, int(port)))
        reader, writer = await asyncio.open_connection(sock=raw, limit=SMALL_BUFFER)
        body = json.dumps(question(number, stream=True).body).encode()
        head = f"POST /rag_query HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n"
        writer.write(f"{head}content-type: application/json\r\n\r\n".encode())
        what = "reads" if number % 2 else "sends"
        try:
            if what == "sends":
                await _send_slowly(reader, writer, body)
            else:
                writer.write(body)
                if b" 200 " not in await reader.readline():
                    what = "refused"
                while await reader.read(1):
                    await asyncio.sleep(1)
        except asyncio.CancelledError:
            seen[what] += 1
            raise
        except OSError:
            pass
        finally:
            writer.close()
        seen["cut off"] += 1


async def _send_slowly(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
) -> None:
    """A byte a second, as long as nothing comes back."""
    answer = asyncio.create_task(reader.read(1))
    try:
        for byte in body:
            if answer.done():
                return
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(1)
    finally:
        answer.cancel()
