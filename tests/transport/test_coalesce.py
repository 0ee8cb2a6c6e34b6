"""What comes together leaves together; nothing is lost, held back or out of order."""

import asyncio

import pytest
from starlette.types import Message

from tiffin.transport.coalesce import WriteCoalescer


class Client:
    """Takes the messages of a body; stops taking them when told to."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.reads = asyncio.Event()
        self.reads.set()

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        self.messages.append(message)

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.messages]

    async def has(self, messages: int) -> None:
        async with asyncio.timeout(20):
            while len(self.messages) < messages:
                await asyncio.sleep(0.001)


async def test_what_comes_in_one_turn_is_one_message() -> None:
    client = Client()
    body = WriteCoalescer(client.send)
    await body.write(b"one ")
    await body.write(b"two ")
    await client.has(1)
    await body.write(b"three ")
    await body.end(b"four")
    assert client.bodies == [b"one two ", b"three four"]
    assert [message["more_body"] for message in client.messages] == [True, False]


async def test_nothing_waits_for_what_does_not_come() -> None:
    client = Client()
    body = WriteCoalescer(client.send, every_s=0.05)
    for _ in range(3):
        await body.write(b"x")
        await client.has(len(client.messages) + 1)
    assert client.bodies == [b"x"] * 3


@pytest.mark.parametrize("every_s", [0.0, 0.05])
async def test_the_end_takes_along_what_waits(every_s: float) -> None:
    client = Client()
    body = WriteCoalescer(client.send, every_s)
    await body.write(b"a")
    await client.has(1)
    await body.write(b"b")
    await body.end()
    await asyncio.sleep(2 * every_s + 0.01)
    assert client.bodies == [b"a", b"b"]


async def test_a_reader_that_does_not_keep_up_holds_up_the_writer() -> None:
    client = Client()
    client.reads.clear()
    body = WriteCoalescer(client.send)
    written = 0

    async def write() -> None:
        nonlocal written
        for number in range(100):
            await body.write(b"%d " % number)
            written += 1
            await asyncio.sleep(0)
        await body.end()

    writing = asyncio.create_task(write())
    await asyncio.sleep(0.1)
    assert written < 10
    client.reads.set()
    await writing
    assert b"".join(client.bodies) == b"".join(b"%d " % number for number in range(100))
