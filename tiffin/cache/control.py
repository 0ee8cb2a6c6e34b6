"""What a client allows the cache: the header `Cache-Control` and the body's field `cache`."""

import re

import msgspec

_MAX_AGE = re.compile(r"max-age\s*=\s*\"?(\d{1,9})")


class Control(msgspec.Struct, frozen=True):
    """Whether a kept answer may be given, at most how old, and whether a new one may be kept."""

    read: bool = True
    write: bool = True
    max_age_s: float | None = None

    @property
    def off(self) -> bool:
        """Whether the cache has nothing to do."""
        return not self.read and not self.write


ALL = Control()
NOTHING = Control(read=False, write=False)


def control_of(header: str, *, wanted: bool | None, deterministic: bool) -> Control:
    """What one request allows.

    `wanted` is the body's field `cache`: false keeps the cache out, true has it keep an answer that
    is sampled, too. Of the header, `no-store` keeps the cache out, `no-cache` asks for a new answer
    that then replaces the kept one, and `max-age` refuses answers that are older.
    """
    if wanted is False or not (deterministic or wanted):
        return NOTHING
    if not header:
        return ALL
    said = header.lower()
    if "no-store" in said:
        return NOTHING
    if "no-cache" in said:
        return Control(read=False)
    found = _MAX_AGE.search(said)
    return Control(max_age_s=float(found.group(1))) if found else ALL
