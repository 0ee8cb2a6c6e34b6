"""When requests arrive, generated or read from a user's log: seconds from the start, in order."""

import csv
import math
import random
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from tiffin.config.section import SettingsError

Rate = Callable[[float], float]
"""Gives the requests per second at a time."""

BURST_EVERY_S = 300.0
BURST_SHARE = 0.2
BURST_FACTOR = 5.0


def poisson(rate_per_s: float, duration_s: float, seed: int) -> list[float]:
    """Independent arrivals at a steady rate."""
    return list(_arrivals(lambda _: rate_per_s, rate_per_s, duration_s, seed))


def bursts(
    rate_per_s: float, duration_s: float, seed: int, *, every_s: float = BURST_EVERY_S
) -> list[float]:
    """Five times the rate in the last fifth of every five minutes, or of every `every_s`."""

    def rate(now: float) -> float:
        bursting = now % every_s >= (1 - BURST_SHARE) * every_s
        return rate_per_s * (BURST_FACTOR if bursting else 1)

    return list(_arrivals(rate, rate_per_s * BURST_FACTOR, duration_s, seed))


def diurnal(rate_per_s: float, duration_s: float, seed: int) -> list[float]:
    """One day over the whole duration: a tenth of the rate at night, all of it at noon."""

    def rate(now: float) -> float:
        return rate_per_s * (0.55 - 0.45 * math.cos(2 * math.pi * now / duration_s))

    return list(_arrivals(rate, rate_per_s, duration_s, seed))


TRACES = {"poisson": poisson, "bursts": bursts, "diurnal": diurnal}


def read_log(path: Path) -> list[float]:
    """Arrivals from the column `seconds` of a CSV file, or `timestamp` (ISO 8601)."""
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        column = next((c for c in ("seconds", "timestamp") if c in (rows.fieldnames or [])), None)
        if column is None:
            raise SettingsError(f"{path.name}, line 1: needs a column `seconds` or `timestamp`")
        times = [_time(path, rows.line_num, row[column], column) for row in rows]
    if not times:
        raise SettingsError(f"{path.name} holds no request")
    first = min(times)
    return sorted(time - first for time in times)


def _time(path: Path, line: int, text: str, column: str) -> float:
    try:
        time = float(text) if column == "seconds" else datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError):
        raise SettingsError(f"{path.name}, line {line}: {text!r} is no {column}") from None
    if not math.isfinite(time):
        raise SettingsError(f"{path.name}, line {line}: {text!r} is no {column}")
    return time


def _arrivals(rate: Rate, most: float, duration_s: float, seed: int) -> Iterator[float]:
    """Thinning: arrivals at the highest rate, each kept with probability rate / highest rate."""
    chance = random.Random(seed)  # noqa: S311  a repeatable trace, no secret
    now = chance.expovariate(most)
    while now < duration_s:
        if chance.random() * most < rate(now):
            yield now
        now += chance.expovariate(most)
