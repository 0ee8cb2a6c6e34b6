"""What one check of a sentence costs, alone and with other streams: p50 and p95 in milliseconds.

    python -m lab.safety.cost http://localhost:3000

A check is an embedding and a hop to Safety. `/v1/embeddings` of the same sentence is timed in turn
with `/v1/moderations`, so that what else the machine does falls on both alike.
"""

import asyncio
import sys
import time

import httpx2
import numpy as np

from lab.safety import data
from lab.safety.report import show_table

CALLS = 200
STREAMS = (1, 4, 16)
"""That ask at the same time: Embedding puts their sentences into one batch."""

BODIES = {"/v1/moderations": {}, "/v1/embeddings": {"model": "all-minilm-l6-v2"}}


async def timed(client: httpx2.AsyncClient, path: str, text: str) -> float:
    """Milliseconds of one call."""
    began = time.perf_counter()
    response = await client.post(path, json={"input": text, **BODIES[path]})
    response.raise_for_status()
    return (time.perf_counter() - began) * 1000


async def measure(url: str) -> list[list[str]]:
    """A row for each number of streams."""
    texts = data.questions("test")[:CALLS]
    rows = []
    async with httpx2.AsyncClient(base_url=url, timeout=60) as client:
        for streams in STREAMS:
            found: dict[str, list[float]] = {path: [] for path in BODIES}
            for at in range(0, len(texts), streams):
                for path, its in found.items():
                    some = texts[at : at + streams]
                    calls = (timed(client, path, one) for one in some)
                    its.extend(await asyncio.gather(*calls))
            for path, its in found.items():
                p50, p95 = np.percentile(its, (50, 95))
                rows.append([path, str(streams), f"{p50:.1f}", f"{p95:.1f}"])
    return rows


def main() -> None:
    """Print the table."""
    show_table(["route", "streams", "p50 ms", "p95 ms"], asyncio.run(measure(sys.argv[1])))


if __name__ == "__main__":
    main()
