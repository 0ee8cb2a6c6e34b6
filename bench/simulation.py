"""`tiffin deploy simulate`'s queues against a real split deployment: predicted and seen latencies.

Replicas of Embedding with one thread each run behind haproxy on this machine (see
tests/support/deployment.py). Each load is sent to them at the times of a trace, and the same times
go into the simulation. What a request costs is measured before the load, in seconds of a core (the
service demand of operational analysis), because that does not depend on what else the machine does.
How much of a core the replicas got while they wanted one is measured during the load, every second.
Both are Linux's own counts for the encoder's threads, in /proc/PID/task/*/schedstat.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.table import Table
from tests.support.deployment import TOKEN, Deployment, running_deployment
from tiffin.clients import EmbeddingClient
from tiffin.config.scaling import Scaling
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.deploy.simulation.queueing import Simulation, Speed, Work, percentile
from tiffin.deploy.simulation.traces import bursts, poisson

ROUNDS, SECONDS = 3, 20.0
REACH_PERCENT = 20
TEXTS = ["a passage of some thirty words that the service turns into one vector " * 4] * 4
MERGED = 8
"""Requests whose texts are sent as one, to see what a batch of so many costs."""

BATCH = 16
"""Requests of these texts that fit into the 4,096 tokens of a batch."""

Call = Callable[..., Coroutine[None, None, float]]
"""Sends the texts, so many times over, in one request, and says how long that took."""


@dataclass(frozen=True)
class Load:
    """How the arrivals of a run are spread: `trace` takes a rate, seconds and a seed."""

    name: str
    replicas: int
    share: float
    """Of the requests a second that the replicas can answer one by one."""
    trace: Callable[[float, float, int], list[float]] = poisson


def _short_bursts(rate_per_s: float, duration_s: float, seed: int) -> list[float]:
    return bursts(rate_per_s, duration_s, seed, every_s=10)


BURSTY = Load("bursty", 1, 0.3, _short_bursts)
LOADS = (
    Load("calm", 1, 0.3),
    Load("busy", 1, 0.7),
    BURSTY,
    Load("busy", 2, 0.7),
)


@dataclass(frozen=True)
class Run:
    """One run of a load: predicted and seen latencies, and the share of a core that was left."""

    requests: int
    predicted: list[float]
    seen: list[float]
    share: float

    def errors(self) -> list[float]:
        """The errors of p50 and p95, in percent of what was seen."""
        return [
            100 * (percentile(self.predicted, p) / percentile(self.seen, p) - 1) for p in (50, 95)
        ]


class Encoders:
    """The threads that compute, one for each replica, as Linux counts their time."""

    def __init__(self, deployment: Deployment) -> None:
        supervisors = [psutil.Process(r.pid) for r in deployment.replicas("Embedding")]
        workers = [child for each in supervisors for child in each.children(recursive=True)]
        self._threads = [list(Path(f"/proc/{w.pid}/task").glob("*/schedstat")) for w in workers]

    def counts(self) -> list[list[tuple[float, float]]]:
        """Seconds on a core and seconds of waiting for one, of each worker's threads."""
        return [[_seconds(path) for path in paths] for paths in self._threads]

    def since(self, before: list[list[tuple[float, float]]]) -> tuple[float, float]:
        """The same since then, of the busiest thread of each worker."""
        most = [
            max((ran - r, waited - w) for (ran, waited), (r, w) in zip(now, then, strict=True))
            for now, then in zip(self.counts(), before, strict=True)
        ]
        return sum(ran for ran, _ in most), sum(waited for _, waited in most)


def _seconds(schedstat: Path) -> tuple[float, float]:
    ran, waited, _ = schedstat.read_text().split()
    return int(ran) / 1e9, int(waited) / 1e9


def run() -> Table:
    """Start a split deployment, run the loads in turns, and stop it."""
    with (
        tempfile.TemporaryDirectory(prefix="simulation-") as folder,
        running_deployment(Path(folder), TIFFIN_EMBEDDING__THREADS="1") as deployment,
    ):
        runs: dict[Load, list[Run]] = {load: [] for load in LOADS}
        for number in range(ROUNDS):
            for load in LOADS:
                deployment.scale("Embedding", load.replicas)
                runs[load].append(asyncio.run(measure(deployment, load, seed=number)))
    return Table(
        "Queue model against a real split deployment",
        (
            "load", "replicas", "requests", "share of a core",
            "p50 s, predicted", "seen", "error", "p95 s, predicted", "seen", "error",
        ),
        [_row(load, of_load) for load, of_load in runs.items()],
        f"{ROUNDS} runs of {SECONDS:.0f} s for each load: medians, and in brackets the error of"
        f" each run. To reach: {REACH_PERCENT} %.",
    )  # fmt: skip


def _row(load: Load, runs: Sequence[Run]) -> list[str]:
    cells = [load.name, str(load.replicas)]
    cells.append(f"{statistics.median(run.requests for run in runs):.0f}")
    cells.append(f"{statistics.median(run.share for run in runs):.2f}")
    for which, percent in enumerate((50, 95)):
        for side in ("predicted", "seen"):
            values = [percentile(getattr(run, side), percent) for run in runs]
            cells.append(f"{statistics.median(values):.3f}")
        errors = [run.errors()[which] for run in runs]
        each = ", ".join(f"{error:+.0f}" for error in errors)
        cells.append(f"{statistics.median(map(abs, errors)):.0f} % ({each})")
    return cells


async def measure(deployment: Deployment, load: Load, seed: int) -> Run:
    """What requests cost, then the load, then the same load simulated."""
    client = EmbeddingClient("Embedding", deployment.addresses["Embedding"], TOKEN)

    async def call(times: int = 1) -> float:
        began = time.monotonic()
        await client.embed(TEXTS * times, RequestContext(Deadline.after(120)))
        return time.monotonic() - began

    try:
        await asyncio.gather(*(call() for _ in range(2 * load.replicas)))  # to warm them up
        encoders = Encoders(deployment)
        work, alone_s, outside_s = await _cost(call, encoders)
        arrivals = load.trace(load.share * load.replicas / alone_s, SECONDS, seed)
        shares: list[float] = []
        sampler = asyncio.create_task(_sample(encoders, shares))
        seen = await _replay(arrivals, call)
        sampler.cancel()
    finally:
        await client.close()
    outcome = Simulation(
        arrivals, work, Scaling(), (), replicas=load.replicas, speed=_speed(shares), seed=seed
    ).run()
    predicted = [latency + outside_s for latency in outcome.latencies_s]
    return Run(len(arrivals), predicted, seen, statistics.mean(shares))


async def _cost(call: Call, encoders: Encoders) -> tuple[Work, float, float]:
    """What the encoder spends on a request, and how long one alone takes, in it and outside it."""
    took, ran, waited = [], [], []
    for _ in range(20):
        before = encoders.counts()
        took.append(await call())
        on_core, off_core = encoders.since(before)
        ran.append(on_core)
        waited.append(off_core)
    before = encoders.counts()
    for _ in range(4):
        await call(MERGED)
    merged_s = encoders.since(before)[0] / 4
    alone_s = statistics.mean(ran)
    marginal = (merged_s / alone_s - 1) / (MERGED - 1)
    work = Work(alone_s, statistics.stdev(ran) / alone_s, batch=BATCH, marginal=marginal)
    outside_s = statistics.mean(took) - alone_s - statistics.mean(waited)
    return work, statistics.mean(took), outside_s


async def _replay(arrivals: Sequence[float], call: Call) -> list[float]:
    began = time.monotonic()
    calls: list[asyncio.Task[float]] = []
    for at in arrivals:
        await asyncio.sleep(max(0, began + at - time.monotonic()))
        calls.append(asyncio.create_task(call()))
    return await asyncio.gather(*calls)


async def _sample(encoders: Encoders, shares: list[float]) -> None:
    """Append, every second, the share of a core that the encoders got while they wanted one."""
    before = encoders.counts()
    while True:
        await asyncio.sleep(1)
        ran, waited = encoders.since(before)
        before = encoders.counts()
        idle = ran + waited == 0
        shares.append((shares or [1.0])[-1] if idle else ran / (ran + waited))


def _speed(shares: Sequence[float]) -> Speed:
    return lambda now: shares[min(int(now), len(shares) - 1)]
