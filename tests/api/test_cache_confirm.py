"""A tier is asked whether one answer fits two questions (`cache.confirm`)."""

import numpy as np
import pytest

from tests.api.test_semantic_cache import ask, written
from tests.support.leaning import Leaning
from tests.support.services import Services, entry
from tiffin.config.section import SettingsError
from tiffin.config.settings import Settings
from tiffin.core.context import RequestContext
from tiffin.core.errors import InvalidRequest, TiffinError, Unavailable
from tiffin.core.messages import Array, RerankRequest, RerankScores

MODEL = "qwen2.5-coder-1.5b-instruct"
KEPT, UNSURE = "how tall is the tower", "please tell me how tall this tower is today"


class Reading(Services):
    """Its reranker has both heads, and leaves it open whether two questions are one."""

    def __init__(self, paired: float = 0.0) -> None:
        super().__init__(models={"large": MODEL})
        self.alike = True
        self.paired = paired
        self.reader = Leaning(0.5)
        self.generate_of = {"large": self.reader.generate}

    async def score(self, request: RerankRequest, context: RequestContext) -> RerankScores:
        reply = await super().score(request, context)
        if isinstance(request.query, list):
            both = Array.of(np.full(2, self.paired, np.float32))
            return RerankScores(reply.logits, reply.tokens, reply.cut, reply.readings, both)
        return reply


@pytest.fixture
def confirmed(settings: Settings) -> Settings:
    cache = settings.cache.model_copy(update={"semantic": True, "confirm": "large"})
    return settings.model_copy(update={"cache": cache})


@pytest.mark.parametrize(("yes", "given"), [(0.999, "semantic"), (0.001, "miss")])
async def test_what_a_tier_leans_to_decides_what_the_rest_leaves_open(
    confirmed: Settings, yes: float, given: str
) -> None:
    services = Reading()
    services.reader.yes = yes
    async with entry(services, confirmed) as client:
        await ask(client, KEPT)
        again = await ask(client, UNSURE)
    (read,) = services.reader.read
    assert again.headers["x-tiffin-cache"] == given
    assert f"Question 1: {KEPT}\nQuestion 2: {UNSURE}\n" in read.messages[-1].content
    assert again.json()["route"]["tier"] == "small"


@pytest.mark.parametrize("paired", [-80.0, 80.0])
async def test_a_tier_is_not_asked_if_its_word_would_change_nothing(
    confirmed: Settings, paired: float
) -> None:
    services = Reading(paired)
    async with entry(services, confirmed) as client:
        await ask(client, KEPT)
        repeat = await ask(client, "tell me how tall the tower is")
        again = await ask(client, UNSURE)
    assert repeat.headers["x-tiffin-cache"] == "semantic", "a repeat needs no one"
    assert again.headers["x-tiffin-cache"] == ("semantic" if paired > 0 else "miss")
    assert services.reader.read == []


async def test_a_tier_is_asked_about_one_kept_question_at_most(confirmed: Settings) -> None:
    services = Reading()
    services.reader.yes = 0.001
    async with entry(services, confirmed) as client:
        for query in (KEPT, UNSURE, "how tall would this tower be"):
            await ask(client, query)
    assert len(services.reader.read) == 2, "by the second and the third question"


@pytest.mark.parametrize("error", [Unavailable("it is dead"), InvalidRequest("it is too long")])
async def test_an_opinion_that_fails_is_a_miss_and_no_worse_answer(
    confirmed: Settings, error: TiffinError
) -> None:
    services = Reading()
    services.reader.yes, services.reader.error = 0.999, error
    async with entry(services, confirmed) as client:
        await ask(client, KEPT)
        again = await ask(client, UNSURE)
    assert (again.headers["x-tiffin-cache"], written(services)) == ("miss", 2)
    assert again.json()["degraded"] == []
    assert services.reader.read, "it was asked"


async def test_a_comparison_of_two_questions_says_that_a_tier_was_asked(
    confirmed: Settings,
) -> None:
    services, likely = Reading(), {}
    body = {"kept": KEPT, "new": UNSURE, "documents": ["The tower is 324 metres tall."]}
    async with entry(services, confirmed) as client:
        for yes in (0.999, 0.001):
            services.reader.yes = yes
            said = (await client.post("/v1/cache/compare", json=body)).json()
            assert said["confirmed"] is True
            likely[yes] = said["probability"]
    assert likely[0.999] > likely[0.001]


@pytest.mark.parametrize(
    ("tier", "says"), [("huge", "is no tier"), ("small", "no one has measured")]
)
async def test_a_tier_that_no_one_has_measured_is_refused_at_start(
    confirmed: Settings, tier: str, says: str
) -> None:
    cache = confirmed.cache.model_copy(update={"confirm": tier})
    with pytest.raises(SettingsError, match=rf"^cache\.confirm: .*{says}"):
        async with entry(Services(), confirmed.model_copy(update={"cache": cache})):
            pass
