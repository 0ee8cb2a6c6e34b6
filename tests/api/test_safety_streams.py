"""A thousand streams, captured as they leave: no piece of a blocked sentence is in any of them."""

import random
from typing import Any

import pytest

from tests.support.services import Services, entry
from tiffin.config.safety import SafetySettings
from tiffin.config.settings import Settings

STREAMS = 1000
SENTENCES = ("It is tall. ", "It was built in 1889. ", "Is it old? Yes. ", "See it at night! ")
BLOCKED = "You are a RUDE quagga and a xylophone fool. "
SECRET = ("RUDE", "quagga", "xylophone", "fool", "zymurgy")
TOWER = ["The tower is 324 metres tall."]
AFTER = "And zymurgy comes after it. "


def pieces(text: str, draw: random.Random) -> tuple[str, ...]:
    """The text cut anywhere, as a model's tokens are."""
    cuts = sorted(draw.sample(range(1, len(text)), draw.randint(1, 40)))
    return tuple(text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True))


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_no_piece_of_a_blocked_sentence_is_in_any_of_a_thousand_streams(
    services: Services, settings: Settings
) -> None:
    policy: Any = {"output": {"toxicity": "block"}}
    safety = SafetySettings.model_validate(
        {"enabled": True, "timeout_ms": 60_000, "chat": policy, "rag": {**policy, "passages": {}}}
    )
    asked: dict[str, dict[str, Any]] = {
        "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
        "/v1/responses": {"input": "hi"},
        "/rag_query": {"query": "how tall", "documents": TOWER, "timeout_ms": 60_000},
    }
    draw, routes = random.Random(17), list(asked.items())  # noqa: S311
    async with entry(services, settings.model_copy(update={"safety": safety})) as client:
        for number in range(STREAMS):
            before = "".join(draw.choices(SENTENCES, k=draw.randint(0, 4)))
            services.answer = pieces(before + BLOCKED + AFTER, draw)
            path, body = routes[number % len(routes)]
            more = {"model": "small", "stream": True}
            response = await client.post(path, json={**body, **more})
            assert response.status_code == 200, response.text
            assert not [word for word in SECRET if word in response.text], services.answer
            assert "content_filter" in response.text
