"""A guard model on an LLM tier, asked about `toxicity` in place of our own heads.

`tiffin.safety.guard` calls it; `tiffin.composition` makes it if `safety.moderator.tier` is set. It
reads verdicts in Llama Guard's form ("safe", or "unsafe" and a line of categories) and in Granite
Guardian's ("Yes" or "No"). Anything else is no verdict, and the check has not run.
"""

import asyncio
import re
from collections.abc import Sequence
from contextlib import aclosing

from models.values import ChatMessage, Finished, GenerateRequest, TextDelta
from tiffin.core.context import RequestContext
from tiffin.core.errors import UpstreamFailed
from tiffin.core.messages import Checked, Finding
from tiffin.providers.protocol import LLM
from tiffin.traffic.failover import Breaker

MAX_TOKENS = 32
"""Of a verdict: one word, and at most a line of categories."""

AT_ONCE = 4
"""Texts of one check: the tier's other callers wait no longer than for these."""

OTHER = "other"
KINDS = {"S1": "violence", "S10": "hate", "S11": "self-harm", "S12": "sexual"}
"""Categories of Llama Guard that one of `/v1/moderations` stands for; the rest are `other`."""

_VERDICT = re.compile(
    r"\s*(?:(?P<clean>safe|no)|(?:unsafe|yes)(?:\s*\n\s*(?P<codes>S\d+(?:\s*,\s*S\d+)*))?)\W*",
    re.IGNORECASE,
)


class GuardTier:
    """Any number of calls at once. The caller's deadline bounds each."""

    def __init__(self, name: str, tier: LLM, instructions: str | None, breaker: Breaker) -> None:
        """`instructions` are the system turn; None for a model whose template has its own."""
        self._name = name
        self._tier = tier
        self._told = [] if instructions is None else [ChatMessage("system", instructions)]
        self._breaker = breaker
        self._room = asyncio.Semaphore(AT_ONCE)

    async def close(self) -> None:
        """Nothing: the tier belongs to the fleet."""

    async def check(self, texts: Sequence[str], context: RequestContext) -> list[Checked]:
        """What it says of each text. Raises DeadlineExceeded, UpstreamFailed and what tiers do."""
        late = f"the guard model on {self._name} did not answer before the deadline"
        async with self._breaker.bounded(context.deadline.remaining(), late):
            asked = [asyncio.create_task(self._one(text, context)) for text in texts]
            try:
                return await asyncio.gather(*asked)
            finally:
                for task in asked:
                    task.cancel()

    async def _one(self, text: str, context: RequestContext) -> Checked:
        request = GenerateRequest(
            messages=[*self._told, ChatMessage("user", text)], max_tokens=MAX_TOKENS
        )
        said, ended = "", False
        async with self._room, aclosing(self._tier.generate(request, context)) as events:
            async for event in events:
                said += event.text if isinstance(event, TextDelta) else ""
                ended = ended or isinstance(event, Finished)
        if not ended:
            raise UpstreamFailed(f"the guard model on {self._name} broke off its verdict")
        return _checked(text, self._kinds(said))

    def _kinds(self, said: str) -> list[str]:
        """What it flags, by our names: empty if the text is clean. Raises UpstreamFailed."""
        found = _VERDICT.fullmatch(said)
        if found is None:
            message = f"the guard model on {self._name} gave no verdict"
            raise UpstreamFailed(f"{message}: it must say safe or unsafe, or yes or no")
        if found["clean"]:
            return []
        codes = [code.strip().upper() for code in (found["codes"] or "").split(",")]
        return list(dict.fromkeys(KINDS.get(code, OTHER) for code in codes))


def _checked(text: str, kinds: Sequence[str]) -> Checked:
    """A finding over the whole text for each kind; a guard gives no probability."""
    findings = [Finding("toxicity", kind, 1.0, 0, len(text)) for kind in kinds]
    return Checked(findings, dict.fromkeys(kinds, 1.0))
