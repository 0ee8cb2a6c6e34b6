"""What `tiffin plan` says below its tables: what the KV cache is for, and what to run next."""

from models.placement.arithmetic import kv_cache_bytes
from models.placement.planner import Placement, Plan

SHORT_TOKENS = 1024
"""A question with its passages and answer, as an example of a shorter request."""


def room(made: Plan, placed: Placement) -> str:
    """Which requests the KV cache of an LLM is for, and how many more the GPU could hold."""
    work = placed.work
    line = f"{work.service}: the KV cache holds {requests(work.parallel, work.context_tokens)}"
    if work.context_tokens > SHORT_TOKENS:
        line += f", or {work.parallel * work.context_tokens // SHORT_TOKENS} of {SHORT_TOKENS:,}"
    if extra := more(made, placed):
        line += f";\n  about {extra} more of them would fit into what is left"
    return line


def requests(count: int, tokens: int) -> str:
    """So many requests of so many tokens, in words."""
    return f"{count} request{'s' if count > 1 else ''} of {tokens:,} tokens at once"


def more(made: Plan, placed: Placement) -> int:
    """How many more requests of this size fit into what is left of the model's GPUs."""
    work = placed.work
    one = kv_cache_bytes(work.architecture, work.context_tokens, work.number_bytes, placed.degree)
    return min(made.left(gpu) for gpu in placed.gpus) // one if placed.need.kv_cache else 0


def next_step(profile: str, *, here: bool, described: bool) -> str:
    """What to run once the plan is as wanted."""
    if described:
        return "Next: tiffin models add ORG/NAME, then TIFFIN_TIERS__LARGE__MODEL=NAME tiffin serve"
    where = "" if here else "on that machine, "
    return f"Next: {where}make setup-gpu, then .venv-gpu/bin/tiffin serve --profile {profile}"
