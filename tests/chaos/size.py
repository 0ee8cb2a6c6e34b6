"""How long a run lasts and how often it repeats."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """`seconds` is for every load that has no length of its own."""

    seconds: float
    disconnects: int
    slow_clients: int
    terms: int
    soak_s: float
    kill_rounds: int
    interleavings: int


SHORT = Size(
    seconds=3,
    disconnects=100,
    slow_clients=50,
    terms=1,
    soak_s=10,
    kill_rounds=1,
    interleavings=500,
)
LONG = Size(
    seconds=12,
    disconnects=1000,
    slow_clients=200,
    terms=20,
    soak_s=3605,
    kill_rounds=30,
    interleavings=10_000,
)
