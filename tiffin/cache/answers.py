"""The exact cache: gives a kept answer, or has it computed once for all who ask for it meanwhile.

`tiffin.pipeline.replay` calls it with a codec, which knows what the events of a chat or a question
are. Nothing is kept of an answer that failed, is not whole, or was given without something.
"""

import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from tiffin.cache.control import Control
from tiffin.cache.entry import BrokenError, Entry, decode, encode
from tiffin.cache.flight import Flight
from tiffin.cache.store import Store
from tiffin.core.context import CacheUse, RequestContext
from tiffin.core.errors import DeadlineExceeded, Overloaded
from tiffin.telemetry import metrics
from tiffin.telemetry.answers import outcome
from tiffin.traffic.quota import charge

Event = TypeVar("Event")
QUESTION_CHARS = 200
"""Of what was asked, so much is kept next to the answer."""

Kept = tuple[str, str, bytes]
"""What a codec keeps of an answer: its tier, its model, and its events."""


class Codec(Protocol[Event]):
    """How the events of one kind of answer are kept and given again."""

    def keep(self, events: list[Event]) -> Kept | None:
        """What to keep; None if the answer is not one to be given again."""
        ...

    def replay(self, payload: bytes, context: RequestContext) -> Iterable[Event]:
        """The events for another request. Raises BrokenError."""
        ...

    def shared(self, event: Event, context: RequestContext) -> Event:
        """An event of an answer that another request computes, as this request's own."""
        ...


@dataclass(frozen=True)
class Ask(Generic[Event]):
    """A request that the cache may answer; `compute` answers it without. `whole`: not a stream.

    `question` and `corpora` say what it was, for those who look after the cache.
    """

    key: str
    control: Control
    context: RequestContext
    codec: Codec[Event]
    compute: Callable[[], AsyncGenerator[Event, None]]
    whole: bool
    question: str = ""
    corpora: Sequence[str] = ()
    began: float = field(default_factory=time.monotonic)

    @property
    def id(self) -> str:
        """The entry's name, as clients see it: the key without its tenant and kind."""
        return self.key.rpartition(":")[2]


class AnswerCache:
    """Of one entry service. `ttl_s` is how long an answer is kept."""

    def __init__(self, store: Store, ttl_s: float, now: Callable[[], float] = time.time) -> None:
        self.store = store
        self._ttl_s = ttl_s
        self._now = now
        self._flights: dict[tuple[str, int, bool], Flight[Any]] = {}

    async def events(self, ask: Ask[Event]) -> AsyncGenerator[Event, None]:
        """The events of the answer: kept ones, or those of the work of whoever asked first."""
        found = await self.store.get(ask.key)
        if found.value is not None and ask.control.read:
            replayed = await self._replayed(ask, found.value)
            if replayed is not None:
                with outcome():
                    for event in replayed:
                        yield event
                return
        name = (ask.key, found.generation, ask.context.batch)
        running = self._flights.get(name) if ask.control.read else None
        if running is not None:
            async with aclosing(_followed(ask, running)) as events:
                async for event in events:
                    yield event
            if ask.context.bill.cache is not None:
                return
        async with aclosing(self._computed(ask, name).read()) as events:
            async for event in events:
                yield event

    async def _replayed(self, ask: Ask[Event], stored: bytes) -> list[Event] | None:
        """The events of a kept answer; None if it cannot be read, or is too old for this client."""
        try:
            entry = decode(stored)
            age_s, most_s = max(0.0, self._now() - entry.created), ask.control.max_age_s
            if most_s is not None and age_s > most_s:
                return None
            events = list(ask.codec.replay(entry.payload, ask.context))
        except BrokenError:
            metrics.series(metrics.cache_total, "exact", "broken").inc()
            await self.store.remove([ask.key])
            return None
        metrics.series(metrics.cache_total, "exact", "hit").inc()
        metrics.cache_saved_usd_total.inc(entry.usd)
        metrics.cache_saved_seconds_total.inc(entry.seconds)
        charge(0)  # gives back what was estimated at the door
        ask.context.bill.cache = CacheUse("exact", ask.id, age_s, tier=entry.tier)
        return events

    def _computed(self, ask: Ask[Event], name: tuple[str, int, bool]) -> Flight[Event]:
        """Begin the work. Others who ask for the same meanwhile find it."""
        ask.context.bill.cache = CacheUse("miss", ask.id)
        metrics.series(metrics.cache_total, "exact", "miss").inc()

        async def landed(events: list[Event]) -> None:
            await self._land(ask, name[1], events)

        flight = Flight(ask.compute(), landed)
        if ask.control.read and name not in self._flights:
            self._flights[name] = flight
            flight.task.add_done_callback(lambda _: self._flights.pop(name, None))
        return flight

    async def _land(self, ask: Ask[Event], generation: int, events: list[Event]) -> None:
        """Keep the answer, unless it is not one to be given again or was itself a kept one."""
        bill, kept = ask.context.bill, ask.codec.keep(events)
        if kept is None or (bill.cache is not None and bill.cache.gave_answer):
            return
        tier, model, payload = kept
        entry = Entry(
            created=self._now(),
            tier=tier,
            model=model,
            usd=bill.usd,
            seconds=time.monotonic() - ask.began,
            payload=payload,
            question=ask.question[:QUESTION_CHARS],
            corpora=list(ask.corpora),
        )
        await self.store.put(ask.key, encode(entry), self._ttl_s, generation)


async def _followed(ask: Ask[Event], flight: Flight[Any]) -> AsyncGenerator[Event, None]:
    """Another request's answer. Nothing if it failed for reasons of its own: its time, its turn."""
    context, began = ask.context, False
    try:
        limits = context.begin_by or context.deadline, context.deadline if ask.whole else None
        async with aclosing(flight.read(*limits)) as events:
            async for event in events:
                if not began:
                    began = True
                    charge(0)
                    context.bill.cache = CacheUse("exact", ask.id)
                    metrics.series(metrics.cache_total, "exact", "shared").inc()
                yield ask.codec.shared(event, context)
    except TimeoutError:
        message = "the request that computes the same answer did not finish in time"
        raise DeadlineExceeded(message) from None
    except (DeadlineExceeded, Overloaded):
        if began:
            raise
