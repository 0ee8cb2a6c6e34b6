"""A fake of nvidia-ml-py: the functions that Tiffin calls, on cards that a test describes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any


class NVMLError(Exception):
    """The base of NVML's errors."""


@dataclass
class FakeSlice:
    """One MIG instance."""

    uuid: str
    kind: str
    total: int


@dataclass
class FakeCard:
    """One card; `free` may be changed while a test runs."""

    name: str
    total: int
    free: int
    slices: Sequence[FakeSlice] = field(default_factory=list)


class FakeNVML(ModuleType):
    """The module `pynvml`. Handles are the fakes themselves."""

    NVMLError = NVMLError

    def __init__(
        self, cards: Sequence[FakeCard], *, driver: bool = True, broken: bool = False
    ) -> None:
        super().__init__("pynvml")
        self.cards = cards
        self.driver = driver
        self.broken = broken

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.driver:
            raise NVMLError("Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        if self.broken:
            raise NVMLError("GPU is lost")
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeCard:  # noqa: N802
        return self.cards[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> FakeSlice:  # noqa: N802
        return next(part for card in self.cards for part in card.slices if part.uuid == uuid)

    def nvmlDeviceGetName(self, handle: Any) -> str:  # noqa: N802
        return f"NVIDIA H100 MIG {handle.kind}" if isinstance(handle, FakeSlice) else handle.name

    def nvmlDeviceGetUUID(self, handle: FakeSlice) -> str:  # noqa: N802
        return handle.uuid

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> SimpleNamespace:  # noqa: N802
        free = handle.total if isinstance(handle, FakeSlice) else handle.free
        return SimpleNamespace(total=handle.total, free=free)

    def nvmlDeviceGetMigMode(self, card: FakeCard) -> tuple[int, int]:  # noqa: N802
        return (int(bool(card.slices)),) * 2

    def nvmlDeviceGetMaxMigDeviceCount(self, _: FakeCard) -> int:  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, card: FakeCard, number: int) -> FakeSlice:  # noqa: N802
        if number >= len(card.slices):
            raise NVMLError("Not Found")
        return card.slices[number]
