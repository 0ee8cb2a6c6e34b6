"""Chooses where the minute limits of keys are counted. Called by `tiffin.api.app` at start."""

from tiffin.cache.limits import RedisBuckets
from tiffin.config.settings import Settings
from tiffin.core.postgres import POSTGRES
from tiffin.routing.limits import PostgresBuckets
from tiffin.traffic.quota import Limiter, LocalLimiter
from tiffin.traffic.shared_quota import SharedLimiter


def limiter_of(settings: Settings) -> Limiter:
    """In the Redis server of the cache, else in the PostgreSQL database of the ledger, else here.

    These are what replicas share anyway, so that there is nothing to set.
    """
    if settings.cache.redis is not None:
        return SharedLimiter(RedisBuckets(settings.cache.redis))
    ledger = str(settings.ledger_at())
    if ledger.startswith(POSTGRES):
        return SharedLimiter(PostgresBuckets(ledger))
    return LocalLimiter()
