"""Asks the Safety service about texts, with the vectors that the checks read.

The pipelines and `/v1/moderations` call it. A vector that the caller has is passed on; only what
has none is embedded, in one call (docs/decisions/0096). A text without a finding costs one hop.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from tiffin.clients import EmbeddingClient, SafetyClient
from tiffin.config.safety import Check
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.messages import Array, Checked, SafetyRequest
from tiffin.safety.verdicts import Verdicts
from tiffin.safety.views import WINDOW_CHARS, quoted, readings, windows

Floats = NDArray[np.float32]

_BY_VECTOR = frozenset({"injection", "toxicity"})
MODERATED: Check = "toxicity"
"""What a moderator judges, if there is one."""


class Moderates(Protocol):
    """Judges texts in place of our heads: `tiffin.providers.moderation`."""

    async def check(self, texts: Sequence[str], context: RequestContext) -> list[Checked]:
        """What it says of each text. Raises what services raise."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


@dataclass(frozen=True)
class Guard:
    """Holds no state of a request."""

    embedding: EmbeddingClient
    safety: SafetyClient
    false_positives: float
    timeout_s: float
    moderator: Moderates | None = None
    verdicts: Verdicts | None = None

    async def close(self) -> None:
        """Close the moderator's connections, and the file of verdicts."""
        if self.moderator is not None:
            await self.moderator.close()
        if self.verdicts is not None:
            self.verdicts.close()

    def groups(self, checks: Sequence[Check]) -> list[list[Check]]:
        """The checks, in groups of which one may fail while another runs."""
        if self.moderator is None:
            return [list(checks)]
        own = [check for check in checks if check != MODERATED]
        theirs = [check for check in checks if check == MODERATED]
        return [group for group in (own, theirs) if group]

    async def check(
        self,
        texts: Sequence[str],
        checks: Sequence[Check],
        context: RequestContext,
        *,
        vectors: Floats | None = None,
        documents: bool = False,
    ) -> list[Checked]:
        """What the checks say of each text, within the time allowed.

        `vectors` float32 (len(texts), dimensions) are the texts' own, if the caller has them.
        Documents are judged by their sentences as well. Raises what services raise.
        """
        context = self._in_time(context)
        if documents and vectors is None and list(checks) == ["injection"]:
            return await self._unless_known(texts, context)
        asked = [
            self.moderator.check(texts, context)
            if self.moderator is not None and group == [MODERATED]
            else self._own(texts, group, context, vectors=vectors, documents=documents)
            for group in self.groups(checks)
        ]
        return Checked.merged(await asyncio.gather(*asked))

    async def scan(self, texts: Sequence[str], context: RequestContext) -> list[Checked]:
        """Whether documents hold instructions for the model, within the context's deadline."""
        return await self._own(texts, ["injection"], context, vectors=None, documents=True)

    async def orders(
        self, sentences: Sequence[str], vectors: Floats, context: RequestContext
    ) -> set[str]:
        """Those of the sentences that probably give orders to the model, within the time allowed.

        `vectors` float32 (len(sentences), dimensions). What stands within quotation marks is
        judged by itself as well. Raises what services raise.
        """
        context = self._in_time(context)
        parts = [(whole, part) for whole in sentences for part in quoted(whole)]
        texts = [*sentences, *(part for _, part in parts)]
        if parts:
            rows, _ = await self.embedding.embed([part for _, part in parts], context)
            vectors = np.concatenate([vectors, rows])
        said = await self._sentences(texts, vectors, context)
        wholes = [*sentences, *(whole for whole, _ in parts)]
        return {whole for whole, one in zip(wholes, said, strict=True) if one.orders}

    def _in_time(self, context: RequestContext) -> RequestContext:
        deadline = Deadline(min(context.deadline.at, Deadline.after(self.timeout_s).at))
        return replace(context, deadline=deadline)

    async def _sentences(
        self, sentences: Sequence[str], rows: Floats, context: RequestContext
    ) -> list[Checked]:
        """What the head says that reads a sentence's vector and its words."""
        request = SafetyRequest(
            list(sentences),
            ["injection"],
            self.false_positives,
            Array.of(rows),
            list(range(len(sentences))),
            kind="sentence",
        )
        return (await self.safety.check(request, context)).results

    async def _unless_known(self, texts: Sequence[str], context: RequestContext) -> list[Checked]:
        """The same, as it was said when they were stored; only the others are checked."""
        known: list[Checked | None] = [None] * len(texts)
        if self.verdicts is not None:
            known = await self.verdicts.known(texts)
        new = [text for text, one in zip(texts, known, strict=True) if one is None]
        said = iter(await self.scan(new, context) if new else ())
        return [next(said) if one is None else one for one in known]

    async def _own(
        self,
        texts: Sequence[str],
        checks: Sequence[Check],
        context: RequestContext,
        *,
        vectors: Floats | None,
        documents: bool,
    ) -> list[Checked]:
        """What our own checks say of each text."""
        rows, owners = None, list[int]()
        if not _BY_VECTOR.isdisjoint(checks):
            rows, owners = await self._vectors(texts, checks, vectors, context, documents=documents)
        request = SafetyRequest(
            list(texts),
            list(checks),
            self.false_positives,
            None if rows is None else Array.of(rows),
            owners,
            kind="document" if documents else "text",
        )
        results = (await self.safety.check(request, context)).results
        return await self._surer(texts, results, context)

    async def _vectors(
        self,
        texts: Sequence[str],
        checks: Sequence[Check],
        given: Floats | None,
        context: RequestContext,
        *,
        documents: bool,
    ) -> tuple[Floats | None, list[int]]:
        """The rows that stand for the texts, and which text each is of.

        The sentences of a document are read one by one, so that for `injection` it needs none.
        """
        wanted: list[tuple[int, str]] = []
        owners: list[int] = []
        for index, text in enumerate(texts):
            if given is not None and (documents or len(text) <= WINDOW_CHARS):
                owners.append(index)
            elif not documents or "toxicity" in checks:
                wanted += [(index, part) for part in windows(text) if part.strip()]
            if not documents:
                hidden = (part for reading in readings(text) for part in windows(reading))
                wanted += [(index, part) for part in hidden if part.strip()]
        rows = [] if given is None else [given[owners]]
        if wanted:
            embedded, _ = await self.embedding.embed([part for _, part in wanted], context)
            rows.append(embedded)
            owners += [index for index, _ in wanted]
        return (np.concatenate(rows) if rows else None), owners

    async def _surer(
        self, texts: Sequence[str], results: list[Checked], context: RequestContext
    ) -> list[Checked]:
        """The results, with those that were unsure decided by the embeddings of the sentences."""
        unsure = [(index, text) for index, one in enumerate(results) for text in one.unsure]
        if not unsure:
            return results
        sentences = [text for _, text in unsure]
        rows, _ = await self.embedding.embed(sentences, context)
        said = await self._sentences(sentences, rows, context)
        for (index, _), one in zip(unsure, said, strict=True):
            known = results[index]
            found = known.findings or [replace(f, end=len(texts[index])) for f in one.findings]
            results[index] = replace(known, findings=found, orders=[*known.orders, *one.orders])
        return results
