"""Opens the store that the settings name. Called by `tiffin.composition` at start."""

from importlib.util import find_spec

from tiffin.cache.store import MemoryStore, Store
from tiffin.config.caching import CacheSettings
from tiffin.config.section import SettingsError


def open_store(settings: CacheSettings) -> Store:
    """The server that replicas share, or this process's memory. Raises SettingsError.

    A server that is away does not keep the stack from starting.
    """
    if settings.redis is None:
        return MemoryStore(settings.max_bytes)
    if find_spec("redis") is None:
        message = "TIFFIN_CACHE__REDIS needs the extra: pip install 'tiffin[redis]'"
        raise SettingsError(message)
    from tiffin.cache.redis import RedisStore

    return RedisStore(settings.redis)
