"""Checks chunks for instructions aimed at the model while they are stored.

`tiffin.corpus.ingest` calls `Storing.check` with the chunks of files before they can be found.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.errors import RECOVERABLE
from tiffin.core.messages import Checked
from tiffin.safety.guard import Guard

logger = logging.getLogger(__name__)

CALL_TEXTS = 8
"""In one call: a few, so that questions get between."""

CALL_S = 60.0


class Storing:
    """Asks a guard that has verdicts, which keeps what it says."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def check(self, files: Mapping[str, Sequence[str]]) -> None:
        """Check the chunks of files, by the file's id. If Safety is away, questions check them."""
        assert self._guard.verdicts is not None  # noqa: S101  said above
        texts = list(dict.fromkeys(text for its in files.values() for text in its))
        said: dict[str, Checked] = {}
        for at in range(0, len(texts), CALL_TEXTS):
            some = texts[at : at + CALL_TEXTS]
            context = RequestContext(Deadline.after(CALL_S), batch=True)
            try:
                said |= zip(some, await self._guard.scan(some, context), strict=True)
            except RECOVERABLE as error:
                logger.warning("chunks are stored without a check: %s", error.message)
                return
        flagged = {
            file: sum(bool(said[text].findings or said[text].orders) for text in its)
            for file, its in files.items()
        }
        for file, count in flagged.items():
            if count:
                logger.warning("%s: %d chunks hold instructions aimed at the model", file, count)
        await asyncio.to_thread(self._guard.verdicts.keep, said, flagged)
