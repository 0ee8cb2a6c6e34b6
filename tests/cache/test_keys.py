"""Whose answer a key stands for."""

import msgspec

from models.values import ChatMessage, GenerateRequest
from tiffin.cache.control import ALL, NOTHING, Control, control_of
from tiffin.cache.keys import chat_key, fingerprint, question_key, tenant_prefix
from tiffin.config.settings import load_settings
from tiffin.core.values import RagRequest

MARK = b"m"


def chat(*turns: str) -> list[GenerateRequest]:
    return [GenerateRequest(messages=[ChatMessage("user", turn) for turn in turns])]


def test_a_follow_up_is_another_request_than_its_last_words_alone() -> None:
    alone, after = chat("and in 2023?"), chat("Sales in France?", "and in 2023?")
    other = chat("Sales in Spain?", "and in 2023?")
    keys = {chat_key(MARK, "t", "small", one) for one in (alone, after, other)}
    assert len(keys) == 3


def test_where_a_provider_looks_for_what_it_kept_is_no_other_request() -> None:
    (plain,) = chat("x")
    sent = msgspec.structs.replace(plain, prompt_cache_key="k")
    assert chat_key(MARK, "t", "small", [plain]) == chat_key(MARK, "t", "small", [sent])


def test_parts_of_a_key_cannot_be_shifted_into_one_another() -> None:
    one = RagRequest(query="a", documents=["b", "c"])
    other = RagRequest(query="a", documents=["bc"])
    assert question_key(MARK, "t", one) != question_key(MARK, "t", other)
    assert question_key(b"x", "yt", one) != question_key(b"xy", "t", one)


def test_tenants_share_no_key() -> None:
    ours, theirs = (chat_key(MARK, tenant, "small", chat("x")) for tenant in ("a", "b"))
    assert ours.rpartition(":")[2] != theirs.rpartition(":")[2]
    assert ours.startswith(tenant_prefix("a"))
    assert not theirs.startswith(tenant_prefix("a"))


def test_delivery_does_not_change_a_key() -> None:
    plain = RagRequest(query="a", documents=["b"])
    update = {"stream": True, "timeout_ms": 9, "priority": "batch", "cache": True}
    assert question_key(MARK, "t", plain) == question_key(
        MARK, "t", plain.model_copy(update=update)
    )


def test_the_fingerprint_changes_with_models_and_pipeline_but_not_with_the_door() -> None:
    plain = load_settings(profile="laptop")
    tier = plain.tiers["small"].model_copy(update={"model": "smollm2-135m-instruct"})
    model = plain.model_copy(update={"tiers": {"small": tier}})
    rag = plain.model_copy(update={"rag": plain.rag.model_copy(update={"top_n": 5})})
    door = plain.model_copy(update={"limits": plain.limits.model_copy(update={"concurrency": 5})})
    assert fingerprint(plain) == fingerprint(door)
    assert len({fingerprint(one) for one in (plain, model, rag)}) == 3


def test_what_headers_and_body_allow() -> None:
    assert control_of("", wanted=None, deterministic=True) == ALL
    assert control_of("", wanted=None, deterministic=False) == NOTHING
    assert control_of("", wanted=True, deterministic=False) == ALL
    assert control_of("", wanted=False, deterministic=True) == NOTHING
    assert control_of("No-Store", wanted=None, deterministic=True) == NOTHING
    assert control_of("no-cache", wanted=None, deterministic=True) == Control(read=False)
    assert control_of("private, max-age=5", wanted=None, deterministic=True) == Control(max_age_s=5)
