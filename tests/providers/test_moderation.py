"""OpenAI's moderation endpoint in place of our heads: what it says, and what if it does not."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai.types import ModerationCreateResponse

from tests.support.providers import FakeProvider, Step, fake_provider
from tiffin.api.schemas.moderations import CATEGORIES
from tiffin.config.safety import ModeratorSettings
from tiffin.config.section import SettingsError
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.errors import DeadlineExceeded, TiffinError, Unavailable, UpstreamFailed
from tiffin.core.messages import Checked
from tiffin.providers.moderation import Moderator
from tiffin.traffic.failover import Breaker


def reply(*flagged: tuple[str, ...]) -> dict[str, Any]:
    """What OpenAI answers for as many texts."""
    results = [
        {
            "flagged": bool(names),
            "categories": {name: name in names for name in CATEGORIES},
            "category_scores": {name: 0.9 if name in names else 0.01 for name in CATEGORIES},
            "category_applied_input_types": {name: ["text"] for name in CATEGORIES},
        }
        for names in flagged
    ]
    return {"id": "modr-1", "model": "omni-moderation-latest", "results": results}


@asynccontextmanager
async def moderator(fake: FakeProvider) -> AsyncGenerator[Moderator, None]:
    settings = ModeratorSettings(base_url=fake.url, key_env="A_KEY")
    made = Moderator(settings, Breaker("moderation", 2, 60.0))
    try:
        yield made
    finally:
        await made.close()


async def checked(made: Moderator, *texts: str, seconds: float = 5) -> list[Checked]:
    return await made.check(texts, RequestContext(Deadline.after(seconds)))


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "sk-secret")


async def test_what_it_flags_is_a_finding_under_our_names() -> None:
    body = reply((), ("harassment", "violence"))
    ModerationCreateResponse.model_validate(body)
    async with fake_provider(Step(body=body)) as fake, moderator(fake) as made:
        clean, rude = await checked(made, "hello", "you fool")
    assert clean.findings == []
    assert {(one.check, one.kind, one.end) for one in rude.findings} == {
        ("toxicity", "offensive", 8),
        ("toxicity", "violence", 8),
    }
    assert rude.scores["offensive"] == 0.9
    assert fake.requests == [{"model": "omni-moderation-latest", "input": ["hello", "you fool"]}]
    assert fake.headers[0]["authorization"] == "bearer sk-secret"


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (Step(status=401), Unavailable),
        (Step(body={"results": [{"flagged": "?"}]}), UpstreamFailed),
        (Step(body=reply((), ())), UpstreamFailed),
        (Step(fault="hang"), DeadlineExceeded),
    ],
    ids=["no key", "unknown shape", "other number", "late"],
)
async def test_it_fails_in_a_way_that_a_policy_can_decide_on(
    step: Step, error: type[TiffinError]
) -> None:
    async with fake_provider(step) as fake, moderator(fake) as made:
        with pytest.raises(error):
            await checked(made, "hello", seconds=0.1)


async def test_one_that_fails_is_left_alone_for_a_while() -> None:
    async with fake_provider(Step(status=500)) as fake, moderator(fake) as made:
        for _ in range(4):
            with pytest.raises(Unavailable):
                await checked(made, "hello")
    assert len(fake.requests) == 2


async def test_it_says_when_to_come_back() -> None:
    step = Step(status=429, headers={"retry-after": "7"})
    async with fake_provider(step) as fake, moderator(fake) as made:
        for _ in range(2):
            with pytest.raises(Unavailable) as caught:
                await checked(made, "hello")
            assert caught.value.retry_after_s == 7
    assert len(fake.requests) == 1


def test_without_its_key_the_start_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("A_KEY")
    with pytest.raises(SettingsError, match="no key: set A_KEY"):
        Moderator(ModeratorSettings(key_env="A_KEY"), Breaker("moderation", 2, 60.0))
