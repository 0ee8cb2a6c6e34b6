"""Whether the database and the object storage of shared corpora can be reached, and what waits.

`corpora.py` starts it if replicas share corpora. It looks in a thread every two seconds, so that
`/readyz` waits for nobody, and lets ingestion go on as soon as what was away is back.
"""

import asyncio
import logging
from collections.abc import Callable

from tiffin.config.section import SettingsError
from tiffin.core.errors import Unavailable
from tiffin.corpus.shared import Shared
from tiffin.corpus.store import Store

logger = logging.getLogger(__name__)

PERIOD_S = 2.0


class Reach:
    """What was seen last. `back` is called when what was away is there again."""

    def __init__(self, store: Store, shared: Shared, back: Callable[[], None]) -> None:
        self._store = store
        self._shared = shared
        self._back = back
        self._task: asyncio.Task[None] | None = None
        self.away: str | None = "the database of corpora was not reached yet"
        """What is wrong in one line; None if both can be reached."""
        self.counts = (0, 0)
        """Corpora of other embedders, and files that wait."""

    def start(self) -> None:
        """Begin to look. Needs a running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="reach")

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                self.counts = await asyncio.to_thread(self._look)
                away = None
            except (Unavailable, SettingsError) as error:
                away = str(error)
            except Exception as error:
                away = f"corpora cannot be looked at: {type(error).__name__}"
                if away != self.away:
                    logger.exception("corpora cannot be looked at")
            before, self.away = self.away, away
            if before is not None and away is None:
                logger.info("the database and the object storage of corpora can be reached")
                self._back()
            elif away is not None and away != before:
                logger.warning("%s", away)
            await asyncio.sleep(PERIOD_S)

    def _look(self) -> tuple[int, int]:
        self._shared.probe()
        return counts_of(self._store)


def counts_of(store: Store) -> tuple[int, int]:
    """Corpora of other embedders, and files that wait; blocks."""
    waiting = store.records.totals().get("in_progress", 0)
    return store.records.of_other_embedders(store.embedder), waiting
