"""API keys: made and revoked by `tiffin keys`, asked for by `tiffin.api.middleware.access`.

A key reads `tiffin-<id>-<secret>`. Its file keeps the id and a salted SHA-256 of the secret; the
secret is random and long, so that a slow hash would only slow down every request.
"""

import hashlib
import hmac
import logging
import os
import re
import secrets
import time
from pathlib import Path

import msgspec
from filelock import FileLock

from tiffin.config.section import SettingsError
from tiffin.core.errors import Unavailable

logger = logging.getLogger(__name__)

_KEY = re.compile(r"tiffin-([0-9a-f]{8})-([A-Za-z0-9_-]{43})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NOBODY = "0" * 64


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """One key as the file keeps it. A limit of None is no limit."""

    id: str
    name: str
    tenant: str
    salt: str
    digest: str
    created: int
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    def opens(self, secret: str) -> bool:
        """Whether this is its secret; takes as long for a wrong one."""
        return hmac.compare_digest(_digest(self.salt, secret), self.digest)


class _File(msgspec.Struct):
    keys: list[Key] = []


class KeyFile:
    """The file of keys, as the command line changes it. Two commands at once wait in turn."""

    def __init__(self, path: Path) -> None:
        self._path = path.expanduser()
        self._lock = FileLock(f"{self._path}.lock")

    def read(self) -> list[Key]:
        """All keys; none while there is no file. Raises SettingsError for one that is damaged."""
        try:
            return read(self._path)
        except FileNotFoundError:
            return []

    def create(
        self,
        name: str,
        *,
        tenant: str | None = None,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
    ) -> str:
        """Add a key and return it: the only time that it is seen. The tenant is its name if None.

        Raises SettingsError for a name that is taken, or is none.
        """
        for what in filter(None, (name, tenant)):
            if not _NAME.fullmatch(what):
                message = f"{what!r} is no name: use up to 64 letters, digits, '.', '_' and '-'"
                raise SettingsError(message)
        id_, secret, salt = secrets.token_hex(4), secrets.token_urlsafe(32), secrets.token_hex(16)
        key = Key(
            id=id_,
            name=name,
            tenant=tenant or name,
            salt=salt,
            digest=_digest(salt, secret),
            created=int(time.time()),
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
        )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            keys = self.read()
            if any(other.name == name for other in keys):
                raise SettingsError(f"there is a key named {name!r} already; revoke it first")
            self._write([*keys, key])
        return f"tiffin-{id_}-{secret}"

    def revoke(self, name: str) -> None:
        """Remove a key; running servers refuse it from the next request on."""
        with self._lock:
            keys = self.read()
            kept = [key for key in keys if key.name != name]
            if len(kept) == len(keys):
                known = ", ".join(key.name for key in keys) or "none"
                raise SettingsError(f"no key is named {name!r}; there are: {known}")
            self._write(kept)

    def _write(self, keys: list[Key]) -> None:
        part = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(_File(keys)), indent=2))
        part.replace(self._path)


class KeyRing:
    """The keys as a server asks for them; read again whenever the file has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path.expanduser()
        self._seen: tuple[int, int, int] | None = None
        self._keys: dict[str, Key] | None = {}

    def find(self, text: str) -> Key | None:
        """The key that this text is, or None. Raises Unavailable while the file is damaged."""
        self._refresh()
        if self._keys is None:
            raise Unavailable("the keys cannot be read; the server's log says why")
        match = _KEY.fullmatch(text)
        if match is None:
            return None
        key = self._keys.get(match[1])
        if key is None:
            # As much work as for a key that is there.
            hmac.compare_digest(_digest(_NOBODY, match[2]), _NOBODY)
            return None
        return key if key.opens(match[2]) else None

    def _refresh(self) -> None:
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except FileNotFoundError:
            self._seen, self._keys = None, {}
            return
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._keys = {key.id: key for key in read(self._path)}
            logger.info("%d keys are valid", len(self._keys))
        except (SettingsError, OSError) as error:
            # Whoever was revoked could be among the keys read before: let nobody in.
            logger.error("keys: %s", error)  # noqa: TRY400  the message says it all
            self._keys = None


def read(path: Path) -> list[Key]:
    """The keys of a file. Raises SettingsError for one that is damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File).keys
    except msgspec.MsgspecError as error:
        raise SettingsError(f"{path.name}: not a file of keys: {error}") from None


def _digest(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}{secret}".encode()).hexdigest()
