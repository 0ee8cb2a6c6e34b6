"""The minute limits of keys in the Redis server that replicas share: one script, one hop.

Made by `tiffin.api.middleware.sharing`; `tiffin.traffic.shared_quota` says what it must do.
"""

from tiffin.cache.redis import connect

PREFIX = "tiffin:limit:"
TIMEOUT_S = 0.2

# A bucket is a hash of its level and when that was. It expires once it is full again.
_TAKE = """
local per_minute, units = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local kept = redis.call('HMGET', KEYS[1], 'level', 'seen')
local level = tonumber(kept[1] or per_minute)
level = math.min(per_minute, level + math.max(0, now - (kept[2] or now)) * per_minute / 60)
if ARGV[3] ~= '' and math.min(tonumber(ARGV[3]), per_minute) > level then
    return {0, tostring(level)}
end
level = math.min(per_minute, level - units)
redis.call('HSET', KEYS[1], 'level', tostring(level), 'seen', tostring(now))
redis.call('PEXPIRE', KEYS[1], math.ceil((per_minute - level) * 60000 / per_minute) + 1000)
return {1, tostring(level)}
"""


class RedisBuckets:
    """Buckets under `tiffin:limit:`."""

    def __init__(self, url: str) -> None:
        self._redis = connect(url, TIMEOUT_S)
        self._script = self._redis.register_script(_TAKE)

    async def take(
        self, name: str, per_minute: int, units: float, need: float | None
    ) -> tuple[bool, float]:
        """As `Buckets` says."""
        from redis import RedisError

        said = [per_minute, units, "" if need is None else need]
        try:
            taken, level = await self._script(keys=[PREFIX + name], args=said)
        except RedisError as error:
            raise OSError(str(error)) from error
        return bool(taken), float(level)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
