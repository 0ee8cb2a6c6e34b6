"""What was computed last, in bounded memory. Used by `tiffin.cache.vectors` and `.relevance`."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from tiffin.telemetry import metrics

Kept = TypeVar("Kept")


class Recent(Generic[Kept]):
    """Values by key, at most `max_bytes` of them; what was not asked for longest goes first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._values: OrderedDict[bytes, Kept] = OrderedDict()

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Kept]:
        """Those that are kept. Counts hits, and misses once for each new key."""
        found = {key: value for key in keys if (value := self._values.get(key)) is not None}
        metrics.series(metrics.cache_total, "retrieval", "hit").inc(len(found))
        metrics.series(metrics.cache_total, "retrieval", "miss").inc(len(set(keys)) - len(found))
        return found

    def keep(self, values: Mapping[bytes, Kept], each_bytes: int) -> None:
        """Keep these, as the last to be dropped. One takes `each_bytes`."""
        for key, value in values.items():
            self._values[key] = value
            self._values.move_to_end(key)
        while len(self._values) * each_bytes > self._max_bytes:
            self._values.popitem(last=False)


def key_of(tenant: str, *texts: str) -> bytes:
    """A key of texts, for a tenant alone: how long a call takes must not tell what others have."""
    whole = "".join(f"{len(text)}:{text}" for text in (tenant, *texts))
    return hashlib.blake2b(whole.encode(), digest_size=16).digest()
