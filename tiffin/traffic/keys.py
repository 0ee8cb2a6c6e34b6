"""API keys as a server asks for them; `tiffin.traffic.key_file` makes and changes them.

A key reads `tiffin-<id>-<secret>`. Its file keeps the id and a salted SHA-256 of the secret; the
secret is random and long, so that a slow hash would only slow down every request. A file of an
earlier version lacks the newer fields, and every one of them has a default.
"""

import hashlib
import hmac
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from tiffin.config.section import SettingsError
from tiffin.core.errors import Unavailable
from tiffin.core.grant import Budget, Grant

logger = logging.getLogger(__name__)

_KEY = re.compile(r"tiffin-([0-9a-f]{8})-([A-Za-z0-9_-]{43})")
_NOBODY = "0" * 64


class Secret(msgspec.Struct, frozen=True):
    """What is kept of a secret that was replaced: it opens until then, a Unix time."""

    salt: str
    digest: str
    until: int


class Key(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One key as the file keeps it. A limit of None is no limit; times are Unix times.

    `previous` is the secret before the last rotation.
    """

    id: str
    name: str
    tenant: str
    salt: str
    digest: str
    created: int
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    expires: int | None = None
    models: list[str] | None = None
    tiers: list[str] | None = None
    day_usd: float | None = None
    month_usd: float | None = None
    previous: Secret | None = None

    def opens(self, secret: str, now: float) -> bool:
        """Whether this is a secret of it now; takes as long for a wrong one."""
        if hmac.compare_digest(digest(self.salt, secret), self.digest):
            return True
        old = self.previous
        return (
            old is not None
            and now < old.until
            and hmac.compare_digest(digest(old.salt, secret), old.digest)
        )

    def expired(self, now: float) -> bool:
        """Whether its time is over."""
        return self.expires is not None and now >= self.expires


class Purse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all keys of a tenant together may spend in a UTC day and month; None is no limit."""

    day_usd: float | None = None
    month_usd: float | None = None


class Keys(msgspec.Struct, frozen=True):
    """The file."""

    keys: list[Key] = []
    tenants: dict[str, Purse] = {}


class KeyRing:
    """The keys as a server asks for them; read again whenever the file has changed."""

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._path = path.expanduser()
        self._now = now
        self._seen: tuple[int, int, int] | None = None
        self._keys: dict[str, Key] | None = {}
        self._tenants: dict[str, Purse] = {}

    def find(self, text: str) -> Key | None:
        """The key that this text is, expired or not, or None.

        Raises Unavailable while the file is damaged.
        """
        self._refresh()
        if self._keys is None:
            raise Unavailable("the keys cannot be read; the server's log says why")
        match = _KEY.fullmatch(text)
        if match is None:
            return None
        key = self._keys.get(match[1])
        if key is None:
            # As much work as for a key that is there.
            hmac.compare_digest(digest(_NOBODY, match[2]), _NOBODY)
            return None
        return key if key.opens(match[2], self._now()) else None

    def is_over(self, key: Key) -> bool:
        """Whether the key has expired."""
        return key.expired(self._now())

    def grant_of(self, key: Key) -> Grant:
        """What the key allows, with what its tenant may spend."""
        purse = self._tenants.get(key.tenant, Purse())
        budgets: dict[Budget, float | None] = {
            "key_day": key.day_usd,
            "key_month": key.month_usd,
            "tenant_day": purse.day_usd,
            "tenant_month": purse.month_usd,
        }
        limits = {name: usd for name, usd in budgets.items() if usd is not None}
        return Grant(models=key.models, tiers=key.tiers, budgets=limits)

    def _refresh(self) -> None:
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except FileNotFoundError:
            self._seen, self._keys, self._tenants = None, {}, {}
            return
        if seen == self._seen:
            return
        self._seen = seen
        try:
            found = read(self._path)
            self._keys = {key.id: key for key in found.keys}
            self._tenants = found.tenants
            logger.info("%d keys are valid", len(self._keys))
        except (SettingsError, OSError) as error:
            # Whoever was revoked could be among the keys read before: let nobody in.
            logger.error("keys: %s", error)  # noqa: TRY400  the message says it all
            self._keys = None


def read(path: Path) -> Keys:
    """What a file holds. Raises SettingsError for one that is damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Keys)
    except msgspec.MsgspecError as error:
        raise SettingsError(f"{path.name}: not a file of keys: {error}") from None


def digest(salt: str, secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(f"{salt}{secret}".encode()).hexdigest()
