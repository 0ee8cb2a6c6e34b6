"""`tiffin bench`: loads a running Tiffin with a mix of requests, and prints what its callers saw.

With `--callers` each of them asks again as soon as it has its answer. With `--rate` requests leave
by the clock whatever became of those before, and a latency counts from when a request should have
left, so that a stall is seen by everyone it held up.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import httpx2
import numpy as np
from rich.table import Table

from tiffin.cli.as_json import json_option, print_json
from tiffin.cli.load import Outcome, Shot, makers, send
from tiffin.cli.progress import print_table
from tiffin.cli.questions import of_file
from tiffin.cli.server import headers_of, server_options, unreachable
from tiffin.config.section import SettingsError

KINDS = tuple(makers(()))
USUAL = "question=4,unanswerable=1,repeat=1,chat=2,embeddings=1,rerank=1"
STAGES = ("embed", "search", "rerank", "evidence", "route", "generate", "cite")
TIMEOUT_S = 120.0
SEED = 17


@dataclass(frozen=True)
class Wanted:
    """The service level: what an answer must keep to, to count as good. Seconds."""

    first_s: float
    total_s: float

    def met(self, outcome: Outcome) -> bool:
        """Whether it was answered, in time; what does not stream has only the second limit."""
        in_time = outcome.first_s is None or outcome.first_s <= self.first_s
        return outcome.end == "ok" and in_time and outcome.total_s <= self.total_s


@click.command()
@server_options
@click.option(
    "--mix", default=USUAL, show_default=True, help="Kinds of request, with their shares."
)
@click.option(
    "--questions",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Ask these (JSON lines, as for `tiffin eval answers`).",
)
@click.option("--for", "seconds", type=click.FloatRange(1, 86400), default=30, show_default=True)
@click.option("--callers", type=click.IntRange(1, 1024), default=2, show_default=True)
@click.option(
    "--rate",
    type=click.FloatRange(0, 10_000, min_open=True),
    help="Requests a second, at random moments, instead of --callers.",
)
@click.option("--first", type=float, default=2, show_default=True, help="Good: first text in, s.")
@click.option("--whole", type=float, default=10, show_default=True, help="Good: all in, s.")
@json_option
def bench(
    *,
    url: str,
    key: str | None,
    mix: str,
    questions: Path | None,
    seconds: float,
    callers: int,
    rate: float | None,
    first: float,
    whole: float,
    as_json: bool,
) -> None:
    """Load a running server, and print latencies, stages and goodput.

    Goodput is how many answers a second came within --first and --whole.
    """
    own = of_file(questions, None, None) if questions else []
    shots = _shots(_shares(mix), makers(own))
    client = httpx2.AsyncClient(
        base_url=url,
        headers=headers_of(key),
        timeout=TIMEOUT_S,
        limits=httpx2.Limits(max_connections=None),
    )
    pace = (
        partial(_closed, shots=shots, seconds=seconds, callers=callers)
        if rate is None
        else partial(_open, shots=shots, seconds=seconds, rate=rate)
    )
    began = time.perf_counter()
    outcomes = asyncio.run(_load(client, pace))
    took_s = time.perf_counter() - began
    wanted = Wanted(first, whole)
    found = _found(outcomes, took_s, wanted)
    if as_json:
        print_json(found)
    else:
        _print(found)


def _shares(mix: str) -> dict[str, float]:
    """Raises SettingsError that names the part at fault."""
    shares = {}
    for part in mix.split(","):
        kind, _, share = part.strip().partition("=")
        try:
            shares[kind] = float(share or 1)
        except ValueError:
            raise SettingsError(f"--mix: {part.strip()!r}: the share is not a number") from None
        if kind not in KINDS or shares[kind] < 0:
            raise SettingsError(f"--mix: {part.strip()!r}: write one of {', '.join(KINDS)}, =share")
    if not sum(shares.values()):
        raise SettingsError("--mix: at least one share must be more than 0")
    return shares


def _shots(shares: dict[str, float], make: dict[str, Any]) -> Iterator[Shot]:
    """Endless, the same at every call: kinds by their shares, each with the next number."""
    dice, number = random.Random(SEED), random.SystemRandom().randrange(1_000_000)  # noqa: S311
    kinds, weights = list(shares), list(shares.values())
    while True:
        number += 1
        yield make[dice.choices(kinds, weights)[0]](number)


async def _load(
    client: httpx2.AsyncClient, pace: Callable[[httpx2.AsyncClient], Awaitable[list[Outcome]]]
) -> list[Outcome]:
    async with client:
        try:
            (await client.get("/readyz")).raise_for_status()
        except httpx2.HTTPError as error:
            raise SettingsError(unreachable(str(client.base_url), error)) from error
        return await pace(client)


async def _closed(
    client: httpx2.AsyncClient, shots: Iterator[Shot], seconds: float, callers: int
) -> list[Outcome]:
    """So many callers, each with one request at a time."""
    until = time.perf_counter() + seconds
    outcomes: list[Outcome] = []

    async def caller() -> None:
        while (now := time.perf_counter()) < until:
            outcomes.append(await send(client, next(shots), now))

    await asyncio.gather(*(caller() for _ in range(callers)))
    return outcomes


async def _open(
    client: httpx2.AsyncClient, shots: Iterator[Shot], seconds: float, rate: float
) -> list[Outcome]:
    """Arrivals of a Poisson process, whatever became of those before."""
    dice, due = random.Random(SEED), time.perf_counter()  # noqa: S311
    until = due + seconds
    sent: list[asyncio.Task[Outcome]] = []
    while (due := due + dice.expovariate(rate)) < until:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        sent.append(asyncio.create_task(send(client, next(shots), due)))
    return list(await asyncio.gather(*sent))


def _found(outcomes: Sequence[Outcome], took_s: float, wanted: Wanted) -> dict[str, Any]:
    """All figures, as `--json` prints them. Times in ms; None if there is nothing to measure."""
    kinds = {
        kind: _figures([one for one in outcomes if one.kind == kind], wanted)
        for kind in KINDS
        if any(one.kind == kind for one in outcomes)
    }
    stages = {stage: _ms(_stage_s(outcomes, stage)) for stage in STAGES}
    good = sum(map(wanted.met, outcomes))
    return {
        "seconds": round(took_s, 1),
        "sent": len(outcomes),
        "ended": dict(Counter(one.end for one in outcomes)),
        "sent_per_s": round(len(outcomes) / took_s, 2),
        "good_per_s": round(good / took_s, 2),
        "good_within": {"first_s": wanted.first_s, "whole_s": wanted.total_s},
        "kinds": kinds,
        "stages_p50_ms": stages,
    }


def _stage_s(outcomes: Sequence[Outcome], stage: str) -> list[float]:
    """How long a stage took, where it ran."""
    found = (one.stages_ms.get(f"{stage}_ms") for one in outcomes)
    return [ms / 1000 for ms in found if ms]


def _figures(outcomes: Sequence[Outcome], wanted: Wanted) -> dict[str, Any]:
    whole = [one for one in outcomes if one.end == "ok"]
    firsts = [one.first_s for one in whole if one.first_s is not None]
    return {
        "sent": len(outcomes),
        "ok": len(whole),
        "good": sum(map(wanted.met, outcomes)),
        "p50_ms": _ms([one.total_s for one in whole]),
        "p95_ms": _ms([one.total_s for one in whole], 0.95),
        "first_p50_ms": _ms(firsts),
        "first_p95_ms": _ms(firsts, 0.95),
        "between_p50_ms": _ms([gap for one in whole for gap in one.gaps_s]),
    }


def _ms(seconds: Sequence[float], share: float = 0.5) -> float | None:
    if not seconds:
        return None
    return round(float(np.quantile(seconds, share)) * 1000, 1)


def _print(found: dict[str, Any]) -> None:
    table = Table("", "sent", "good", "p50", "p95", "TTFT", "p95", "between")
    for kind, figures in found["kinds"].items():
        counts = [str(figures[name]) for name in ("sent", "good")]
        times = [
            "-" if ms is None else f"{ms:,.0f}"
            for name, ms in figures.items()
            if name.endswith("_ms")
        ]
        table.add_row(kind, *counts, *times)
    print_table(table)
    stages = ", ".join(
        f"{stage} {ms:,.0f}" for stage, ms in found["stages_p50_ms"].items() if ms is not None
    )
    click.echo("Times in ms; between is the time between two pieces of text.")
    click.echo(f"Stages of a question, p50: {stages or 'none measured'}")
    within = found["good_within"]
    click.echo(
        f"Good (first text in {within['first_s']:g} s, all in {within['whole_s']:g} s): "
        f"{found['good_per_s']:g}/s of {found['sent_per_s']:g}/s sent, for {found['seconds']:g} s"
    )
    bad = Counter({end: count for end, count in found["ended"].items() if end != "ok"})
    if bad:
        click.echo("Not answered: " + ", ".join(f"{n} {end}" for end, n in bad.most_common()))
