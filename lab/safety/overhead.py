"""What a policy adds to a chat, in milliseconds of CPU: the machine may be busy.

    python -m lab.safety.overhead

The entry service runs in this process, with stand-ins for the services that answer at once: what is
left is our own code, with the hop to Safety and back. Policies take turns, so that what else the
machine does falls on all alike.
"""

import asyncio
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np

from lab.safety.report import show_table
from tests.support.services import Services, entry
from tiffin.config.safety import SafetySettings
from tiffin.config.settings import Settings, load_settings

CHATS = 200
BODY = {"model": "small", "messages": [{"role": "user", "content": "how tall is it?"}]}
ANSWER = ("The tower is ", "324 metres tall.")
POLICIES: dict[str, dict[str, dict[str, str]]] = {
    "off": {},
    "personal data of the input": {"input": {"personal_data": "block"}},
    "personal data of the output": {"output": {"personal_data": "block"}},
}


async def cpu_ms(client: Any) -> float:  # noqa: ANN401  httpx is for tests
    """Of one chat."""
    began = time.process_time()
    response = await client.post("/v1/chat/completions", json=BODY)
    response.raise_for_status()
    return (time.process_time() - began) * 1000


async def measure(settings: Settings) -> list[list[str]]:
    """A row for each policy."""
    found: dict[str, list[float]] = {name: [] for name in POLICIES}
    async with AsyncExitStack() as stack:
        clients = {}
        for name, policy in POLICIES.items():
            safety = SafetySettings.model_validate({"enabled": True, "chat": policy})
            its = settings.model_copy(update={"safety": safety})
            clients[name] = await stack.enter_async_context(entry(Services(answer=ANSWER), its))
        for _ in range(CHATS):
            for name, client in clients.items():
                found[name].append(await cpu_ms(client))
    medians = {name: float(np.median(its[CHATS // 4 :])) for name, its in found.items()}
    return [[name, f"{p:.2f}", f"{p - medians['off']:.2f}"] for name, p in medians.items()]


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(
            profile="laptop", corpora=Path(folder), cache={"exact": False, "semantic": False}
        )
        rows = asyncio.run(measure(settings))
    show_table(["policy", "a chat, p50 ms of CPU", "added"], rows)


if __name__ == "__main__":
    main()
