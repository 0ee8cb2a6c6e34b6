"""What a call from one service to another costs: ours beside BentoML's `depends()`.

Both go over the unix socket that BentoML gives the callee, from one process to another, one call at
a time, with 2 kB echoed. The rounds of the ways take turns, so that a busy moment hits all.
"""

from statistics import median

import bentoml

from bench.serving import bento
from bench.table import Table

ROUNDS, CALLS, SIZE_BYTES = 15, 300, 2000
REACH_MS = 0.75


def run() -> Table:
    """Start the two services, measure, stop them."""
    with (
        bento("bench.hop_services:Caller") as url,
        bentoml.SyncHTTPClient(url, server_ready_timeout=60, timeout=600) as client,
    ):
        medians = client.measure(rounds=ROUNDS, calls=CALLS, size=SIZE_BYTES)
    stock = median(medians["bentoml.depends()"])
    rows = [
        (name, f"{median(ms):.3f}", f"{min(ms):.3f}", f"{max(ms):.3f}", f"{median(ms) / stock:.2f}")
        for name, ms in medians.items()
    ]
    return Table(
        "Service hop, p50 of one call at a time",
        ("way", "ms", "best round", "worst round", "ratio to depends()"),
        rows,
        f"{ROUNDS} rounds of {CALLS} calls each. To reach: {REACH_MS} ms on quiet cores.",
    )
