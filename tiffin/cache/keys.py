"""When two requests are the same: the key of a request holds everything that may change its answer.

That is the tenant, the models by digest and all settings of the pipeline (`fingerprint`), the model
asked for, and the request itself: sampling, tools, schema, the whole conversation or the question
with its documents by content. How an answer is delivered (streamed, by when) is left out.
"""

import hashlib
from collections.abc import Sequence

import msgspec

from models.user_catalog import catalog_of
from models.values import GenerateRequest
from tiffin import __version__
from tiffin.config.settings import Settings
from tiffin.core.values import RagRequest

DIGEST_BYTES = 20
PIPELINE = {"embedding", "reranker", "tiers", "providers", "routing", "rag", "safety"}
DELIVERY = {"stream", "timeout_ms", "priority", "cache"}
"""Fields of a question that do not change its answer."""


def fingerprint(settings: Settings) -> bytes:
    """What this installation answers with: release, models by digest, and the pipeline's settings.

    A provider may change the model behind a name; the time to live bounds how long that is missed.
    """
    files = {
        model.name: [str(file.sha256) for file in model.files]
        for model in catalog_of(settings.home).models
        if model.name in settings.models()
    }
    said = settings.model_dump_json(include=PIPELINE, exclude={"routing": {"ledger"}})
    return _digest(msgspec.json.encode([__version__, files, said]))


def chat_key(mark: bytes, tenant: str, lane: str, requests: Sequence[GenerateRequest]) -> str:
    """The key of a generation without retrieval; `mark` is the fingerprint."""
    same = [msgspec.structs.replace(one, prompt_cache_key=None) for one in requests]
    said = msgspec.msgpack.encode((mark, tenant, lane, same))
    return f"{tenant_prefix(tenant)}chat:{_digest(said).hex()}"


def question_key(mark: bytes, tenant: str, request: RagRequest, state: str = "") -> str:
    """The key of a question with its documents; `mark` is the fingerprint.

    `state` are the ids and versions of its corpora, as they were before these were searched. What
    is kept of an older version is not found any more, because versions only grow.
    """
    said = request.model_dump_json(exclude=DELIVERY)
    digest = _digest(mark, tenant.encode(), said.encode(), state.encode())
    return f"{tenant_prefix(tenant)}rag:{digest.hex()}"


def scope_key(mark: bytes, tenant: str, request: RagRequest, state: str = "") -> str:
    """The key of all questions that differ in nothing but their wording."""
    return question_key(mark, tenant, request.model_copy(update={"query": ""}), state).replace(
        ":rag:", ":scope:"
    )


def tenant_prefix(tenant: str) -> str:
    """What all keys of a tenant begin with. A hash, because a tenant may have any name."""
    return f"{_digest(tenant.encode()).hex()[:16]}:"


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.digest()
