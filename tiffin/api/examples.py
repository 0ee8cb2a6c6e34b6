"""What the page at `/docs` fills in: a body for every route, which works as it is.

`tiffin.api.openapi` has it put into the document once it is known what is served.
"""

from typing import Any

from tiffin.api.middleware.access import is_open
from tiffin.config.settings import Settings
from tiffin.core.names import AUTO

ALIASES = {
    "/rag_query": "/v1/rag",
    "/rag_stream": "/v1/rag",
    "/v2/rerank": "/v1/rerank",
    "/rerank": "/v1/rerank",
    "/score": "/v1/score",
    "/": "/embed",
    "/v1": "/embed",
    "/health": "/readyz",
}
"""Other names of a route. The document has them; the page, which is for people, does not."""

QUESTION = "How tall is the Eiffel Tower?"
TALL = "The Eiffel Tower in Paris is 330 metres tall."
LONG = "The Danube is 2,850 km long and flows through ten countries."
MESSAGES = [{"role": "user", "content": "Say hello in one word."}]


def bodies(settings: Settings) -> dict[str, dict[str, Any]]:
    """An example for each path that takes a body."""
    embedding, reranker = settings.embedding.model, settings.reranker.model
    own: dict[str, dict[str, Any]] = {
        "/v1/rag": {
            "query": QUESTION,
            "documents": [{"title": "Towers", "text": TALL}, {"title": "Rivers", "text": LONG}],
        },
        "/v1/chat/completions": {"model": AUTO, "messages": MESSAGES, "max_tokens": 32},
        "/v1/completions": {"model": AUTO, "prompt": "The capital of France is", "max_tokens": 8},
        "/v1/responses": {"model": AUTO, "input": MESSAGES[0]["content"], "max_output_tokens": 32},
        "/v1/embeddings": {"model": embedding, "input": [TALL, LONG]},
        "/v1/rerank": {"model": reranker, "query": QUESTION, "documents": [TALL, LONG]},
        "/v1/score": {"text_1": QUESTION, "text_2": [TALL, LONG]},
        "/embed": {"inputs": [TALL, LONG]},
    }
    return own | {alias: own[path] for alias, path in ALIASES.items() if path in own}


def fill_in(document: dict[str, Any], settings: Settings) -> None:
    """Give every body an example that works here, and ask for a key only if there are any."""
    schemas = document["components"]["schemas"]
    one_model = {
        "EmbeddingsRequest": settings.embedding.model,
        "RerankBody": settings.reranker.model,
    }
    for name, model in one_model.items():
        schemas[name]["properties"]["model"]["examples"] = [model]
    for path, example in bodies(settings).items():
        body = document["paths"][path]["post"]["requestBody"]
        body["content"]["application/json"]["example"] = example
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if settings.access.keys_file is not None and not is_open(method.upper(), path):
                operation["security"] = [{"key": []}]
