"""Decides before anything is loaded which model runs on which GPU, and why; or that it cannot.

The largest model is placed first. One that fits a single card goes to the card with the most room;
one that does not is split over 2, 4 or 8 cards of the same size. Everything follows from the total
memory of the cards, so each process of a start comes to the same plan by itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from models.errors import PlacementError
from models.placement.arithmetic import Need, Workload, need
from models.placement.hardware import GB, Gpu

RESERVE = 0.10
"""The part of each card that no plan uses, for fragmentation and what the formulas leave out."""

DEGREES = (1, 2, 4, 8)
SHARE_STEPS = 20
"""Shares of a card are multiples of a twentieth."""


@dataclass(frozen=True)
class Placement:
    """One model on one group of GPUs. `share` is its part of each card's compute and memory."""

    work: Workload
    gpus: tuple[Gpu, ...]
    need: Need
    share: float
    why: str

    @property
    def degree(self) -> int:
        """The tensor-parallel degree."""
        return len(self.gpus)


@dataclass(frozen=True)
class Plan:
    """All models on all GPUs; models in the order in which they were placed."""

    gpus: tuple[Gpu, ...]
    placements: tuple[Placement, ...]

    def on(self, gpu: Gpu) -> list[Placement]:
        """The models on a GPU."""
        return [placed for placed in self.placements if gpu in placed.gpus]

    def left(self, gpu: Gpu) -> int:
        """Bytes of a GPU that no model takes, without the reserve."""
        taken = sum(placed.need.total for placed in self.on(gpu))
        return usable(gpu) - taken

    def of(self, service: str) -> Placement | None:
        """The placement of a service's model."""
        return next((p for p in self.placements if p.work.service == service), None)

    def shares(self, gpu: Gpu) -> bool:
        """Whether several processes compute on this GPU, which MPS makes fair."""
        return len(self.on(gpu)) > 1


class DoesNotFit(PlacementError):
    """A model does not fit. `work` is that model."""

    def __init__(self, message: str, work: Workload) -> None:
        super().__init__(message)
        self.work = work


def usable(gpu: Gpu) -> int:
    """Bytes of a GPU that a plan may use."""
    return int(gpu.total_bytes * (1 - RESERVE))


@dataclass
class _Board:
    """What is left of every GPU while models are placed."""

    room: dict[Gpu, int]
    shares: dict[Gpu, float] = field(default_factory=dict)

    def fits(self, gpu: Gpu, wanted: Need, given: float) -> bool:
        """The room in bytes, also limited by the shares that settings have assigned."""
        left = 1 - self.shares.get(gpu, 0)
        return wanted.total <= self.room[gpu] and given <= left + 1e-9

    def take(self, gpu: Gpu, wanted: Need, given: float) -> None:
        self.room[gpu] -= wanted.total
        self.shares[gpu] = self.shares.get(gpu, 0) + given


def make_plan(works: Sequence[Workload], gpus: Sequence[Gpu]) -> Plan:
    """Place every model. Raises DoesNotFit for the first that does not fit."""
    board = _Board({gpu: usable(gpu) for gpu in gpus})
    order = sorted(works, key=lambda work: (-(work.gpus or 0) // 1, -need(work).total))
    return Plan(tuple(gpus), tuple(_place(work, gpus, board) for work in order))


def _place(work: Workload, gpus: Sequence[Gpu], board: _Board) -> Placement:
    for degree in _degrees(work):
        wanted = need(work, degree)
        for group in _groups(gpus, degree, board):
            given = min(1.0, work.gpus or 0)
            if given and wanted.total > given * usable(group[0]):
                continue
            if all(board.fits(gpu, wanted, given) for gpu in group):
                for gpu in group:
                    board.take(gpu, wanted, given)
                share = given or _twentieths(wanted.total / usable(group[0]))
                return Placement(work, group, wanted, share, _why(work, degree, group, gpus))
    raise DoesNotFit(_complaint(work, gpus, board), work)


def _degrees(work: Workload) -> list[int]:
    """The numbers of GPUs to try, fewest first."""
    if work.gpus is None:
        possible = DEGREES if work.engine == "vllm" else (1,)
        return [degree for degree in possible if work.architecture.splits_into(degree)]
    if work.gpus < 1:
        return [1]
    degree = int(work.gpus)
    if degree > 1 and not work.architecture.splits_into(degree):
        shape = work.architecture
        message = (
            f"{work.service}: {work.model} cannot be cut over {degree} GPUs: it has {shape.heads} "
            f"attention heads and {shape.kv_heads} KV heads"
        )
        raise PlacementError(message)
    return [degree]


def _groups(gpus: Sequence[Gpu], degree: int, board: _Board) -> list[tuple[Gpu, ...]]:
    """Groups of this many equal cards, the roomiest first. MIG slices cannot communicate."""
    by_room = sorted(gpus, key=lambda gpu: -board.room[gpu])
    if degree == 1:
        return [(gpu,) for gpu in by_room]
    groups = []
    for size in sorted({gpu.total_bytes for gpu in gpus}):
        like = [gpu for gpu in by_room if gpu.total_bytes == size and gpu.mig_slice is None]
        if len(like) >= degree:
            groups.append(tuple(sorted(like[:degree], key=gpus.index)))
    return groups


def _twentieths(part: float) -> float:
    return min(1.0, math.ceil(part * SHARE_STEPS) / SHARE_STEPS)


def _why(work: Workload, degree: int, group: tuple[Gpu, ...], gpus: Sequence[Gpu]) -> str:
    if degree > 1:
        reason = "asked for" if work.gpus else "too large for fewer"
        return f"cut over {degree} like GPUs: {reason}"
    if work.gpus is not None and work.gpus < 1:
        return f"fits the {work.gpus:.0%} that it was given"
    if group[0].mig_slice:
        return f"fits the MIG slice {group[0].mig_slice}"
    return "the only GPU" if len(gpus) == 1 else "the GPU with the most room"


def _complaint(work: Workload, gpus: Sequence[Gpu], board: _Board) -> str:
    last = max(
        degree for degree in _degrees(work) if degree == 1 or degree <= len(gpus) or work.gpus
    )
    wanted = need(work, last)
    roomiest = max(board.room.values(), default=0)
    where = f"on each of {last} GPUs" if last > 1 else "on one GPU"
    limit = f"the roomiest has {max(0, roomiest) / GB:.1f} GB left of {len(gpus)} GPU(s)"
    if work.gpus is not None and work.gpus < 1:
        limit = (
            f"its share of {work.gpus:.2g} is {work.gpus * usable(gpus[0]) / GB:.1f} GB; {limit}"
        )
    return (
        f"{work.service}: {work.model} ({work.scheme.name}, {work.parallel} x "
        f"{work.context_tokens} tokens) needs {wanted.total / GB:.1f} GB {where} "
        f"(weights {wanted.weights / GB:.1f}, KV cache {wanted.kv_cache / GB:.1f}, activations "
        f"{wanted.activations / GB:.1f}, fixed {wanted.fixed / GB:.1f}); {limit}"
    )
