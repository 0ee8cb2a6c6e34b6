"""Settings that have a new name, so that the error for the old one can say it."""

from collections.abc import Sequence

_RENAMED = {
    ("upstreams",): "providers",
    ("routing", "way_out"): "failover",
    ("tiers", "*", "abilities"): "capabilities",
    ("tiers", "*", "strength"): "quality",
    ("providers", "*", "abilities"): "capabilities",
    ("providers", "*", "strength"): "quality",
}
"""The old path, where * is any name, and the new name of its last part."""


def new_path(path: Sequence[str]) -> list[str] | None:
    """The path under which a renamed setting is found now, or None if it was not renamed."""
    for old, name in _RENAMED.items():
        head = path[: len(old)]
        if len(head) == len(old) and all(o in ("*", p) for o, p in zip(old, head, strict=True)):
            return [*head[:-1], name, *path[len(old) :]]
    return None
