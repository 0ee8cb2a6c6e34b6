"""The minute limits of keys in the PostgreSQL database of the ledger, if replicas share that only.

Made by `tiffin.api.middleware.sharing`; `tiffin.traffic.shared_quota` says what it must do. The
driver blocks, so that a thread of its own asks; one connection takes some hundred requests a
second. For more, share a Redis server.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from tiffin.routing.storage import LedgerError, Storage, open_storage

_NOW = "EXTRACT(EPOCH FROM clock_timestamp())::float8"
_REFILLED = f"LEAST(?::float8, b.level + GREATEST(0, {_NOW} - b.seen) * ?::float8 / 60)"
_TAKE = f"""
INSERT INTO limits AS b (name, level, seen) VALUES (?, ?::float8 - ?::float8, {_NOW})
ON CONFLICT (name) DO UPDATE SET level = LEAST(?::float8, {_REFILLED} - ?::float8), seen = {_NOW}
WHERE ?::float8 <= {_REFILLED}
RETURNING level
"""  # noqa: S608  of constants
_LEVEL = f"SELECT {_REFILLED} FROM limits AS b WHERE name = ?"  # noqa: S608

ALWAYS = -1e300
"""A need that is always there."""


class PostgresBuckets:
    """Buckets in the table `limits`, by the database's clock."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._thread = ThreadPoolExecutor(1, "limits")
        self._storage: Storage | None = None

    async def take(
        self, name: str, per_minute: int, units: float, need: float | None
    ) -> tuple[bool, float]:
        """As `Buckets` says."""
        ask = self._thread.submit(self._take, name, per_minute, units, need)
        try:
            return await asyncio.wrap_future(ask)
        except LedgerError as error:
            raise OSError(str(error)) from error

    def _take(
        self, name: str, per_minute: int, units: float, need: float | None
    ) -> tuple[bool, float]:
        least = ALWAYS if need is None else min(need, per_minute)
        pm = per_minute
        try:
            self._storage = storage = self._storage or open_storage(self._url)
            rows = storage.read(_TAKE, (name, pm, units, pm, pm, pm, units, least, pm, pm))
            if rows:
                return True, float(rows[0][0])
            return False, float(storage.read(_LEVEL, (pm, pm, name))[0][0])
        except LedgerError:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        if self._storage is not None:
            self._storage.close()
        self._storage = None

    async def close(self) -> None:
        """Close the connection."""
        await asyncio.wrap_future(self._thread.submit(self._disconnect))
        self._thread.shutdown(wait=False)
