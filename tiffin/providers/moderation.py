"""A moderation endpoint in OpenAI's shape, asked about `toxicity` in place of our own heads.

`tiffin.safety.guard` calls it; `tiffin.composition` makes it if `safety.moderator` is set. What it
flags is its own decision: `safety.false_positives` is a rate of our heads.
"""

import os
from collections.abc import Sequence

import httpx2
import msgspec

from tiffin.config.safety import ModeratorSettings
from tiffin.config.section import SettingsError
from tiffin.core.context import RequestContext
from tiffin.core.errors import Unavailable, UpstreamFailed
from tiffin.core.messages import Checked, Finding
from tiffin.providers.base import http_client, retry_after_s
from tiffin.traffic.failover import Breaker

KINDS = {"harassment": "offensive"}
"""Its categories that one of our heads stands for, by the head's name; others keep their own."""


class _Result(msgspec.Struct):
    flagged: bool
    categories: dict[str, bool | None]
    category_scores: dict[str, float | None]


class _Reply(msgspec.Struct):
    results: list[_Result]


class Moderator:
    """Any number of calls at once. The caller's deadline bounds each."""

    def __init__(self, settings: ModeratorSettings, breaker: Breaker) -> None:
        """Raises SettingsError if the environment variable with the key is not set."""
        key = os.environ.get(settings.key_env) if settings.key_env else None
        if settings.key_env and not key:
            message = f"safety.moderator: no key: set {settings.key_env}, or name another variable"
            raise SettingsError(f"{message} in key_env (empty, if the endpoint needs none)")
        self._url = f"{settings.base_url.rstrip('/')}/moderations"
        self._model = settings.model
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._client = http_client()
        self._breaker = breaker

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def check(self, texts: Sequence[str], context: RequestContext) -> list[Checked]:
        """What it says of each text. Raises DeadlineExceeded, Unavailable and UpstreamFailed."""
        late = "the moderation endpoint did not answer before the deadline"
        async with self._breaker.bounded(context.deadline.remaining(), late):
            return await self._ask(list(texts))

    async def _ask(self, texts: list[str]) -> list[Checked]:
        body = {"model": self._model, "input": texts}
        try:
            response = await self._client.post(self._url, json=body, headers=self._headers)
        except httpx2.HTTPError as error:
            raise Unavailable("the moderation endpoint is not reachable") from error
        if response.status_code != httpx2.codes.OK:
            message = f"the moderation endpoint answered with status {response.status_code}"
            after = retry_after_s(response.headers)
            raise Unavailable(message, retry_after_s=after)
        try:
            results = msgspec.json.decode(response.content, type=_Reply).results
        except msgspec.DecodeError as error:
            message = "the moderation endpoint's answer has an unknown shape"
            raise UpstreamFailed(message) from error
        if len(results) != len(texts):
            raise UpstreamFailed("the moderation endpoint answered for another number of texts")
        return [_checked(text, one) for text, one in zip(texts, results, strict=True)]


def _checked(text: str, result: _Result) -> Checked:
    """Its verdict as ours: a finding over the whole text for each category that it flags."""
    scores = {KINDS.get(name, name): p or 0.0 for name, p in result.category_scores.items()}
    named = [KINDS.get(name, name) for name, flagged in result.categories.items() if flagged]
    if result.flagged and not named:
        named = ["other"]
    return Checked(
        [Finding("toxicity", kind, scores.get(kind, 1.0), 0, len(text)) for kind in named], scores
    )
