"""The file of keys as `tiffin keys` changes it. `tiffin.traffic.keys` says what is in it.

A change is written beside the file and takes its place, so that a full disk or a kill leaves the
file as it was. Running servers read it again.
"""

import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock
from msgspec.structs import replace

from tiffin.config.section import SettingsError
from tiffin.traffic.keys import Key, Keys, Purse, Secret, digest, read

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class KeyFile:
    """The file of keys. Two commands at once wait in turn."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser()
        self._lock = FileLock(f"{self.path}.lock")

    def all(self) -> Keys:
        """Everything; nothing while there is no file. Raises SettingsError for a damaged one."""
        try:
            return read(self.path)
        except FileNotFoundError:
            return Keys()

    def read(self) -> list[Key]:
        """The keys."""
        return self.all().keys

    def create(self, name: str, *, tenant: str | None = None, **limits: Any) -> str:  # noqa: ANN401
        """Add a key and return it: the only time that it is seen. The tenant is its name if None.

        `limits` are the fields of `Key` that limit it. Raises SettingsError for a name that is
        taken, or is none.
        """
        _check_names(name, tenant or name)
        id_, secret, salt = secrets.token_hex(4), secrets.token_urlsafe(32), secrets.token_hex(16)
        key = Key(
            id=id_,
            name=name,
            tenant=tenant or name,
            salt=salt,
            digest=digest(salt, secret),
            created=int(time.time()),
            **limits,
        )
        with self._changed() as found:
            if any(other.name == name for other in found.keys):
                message = f"there is a key named {name!r} already; revoke it first, or rotate it"
                raise SettingsError(message)
            found.keys.append(key)
        return f"tiffin-{id_}-{secret}"

    def rotate(self, name: str, overlap_s: int) -> str:
        """Give a key a new secret and return the key; the one before opens so much longer."""
        secret, salt = secrets.token_urlsafe(32), secrets.token_hex(16)
        with self._changed() as found:
            at = _position(found.keys, name)
            old = found.keys[at]
            before = Secret(old.salt, old.digest, int(time.time()) + overlap_s)
            found.keys[at] = replace(old, salt=salt, digest=digest(salt, secret), previous=before)
        return f"tiffin-{old.id}-{secret}"

    def change(self, name: str, **limits: Any) -> None:  # noqa: ANN401  the fields of Key
        """Give a key other limits."""
        with self._changed() as found:
            at = _position(found.keys, name)
            found.keys[at] = replace(found.keys[at], **limits)

    def revoke(self, name: str) -> None:
        """Remove a key; running servers refuse it from the next request on."""
        with self._changed() as found:
            del found.keys[_position(found.keys, name)]

    def allow(self, tenant: str, purse: Purse) -> None:
        """Say what all keys of a tenant together may spend."""
        _check_names(tenant)
        with self._changed() as found:
            found.tenants[tenant] = purse

    @contextmanager
    def _changed(self) -> Iterator[Keys]:
        """What the file holds, to be changed in the block and written after it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            found = self.all()
            yield found
            try:
                self._write(found)
            except OSError as error:
                message = f"{self.path}: not written: {error.strerror}; it is as it was before"
                raise SettingsError(message) from error

    def _write(self, found: Keys) -> None:
        part = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(found), indent=2))
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _position(keys: list[Key], name: str) -> int:
    for at, key in enumerate(keys):
        if key.name == name:
            return at
    known = ", ".join(key.name for key in keys) or "none"
    raise SettingsError(f"no key is named {name!r}; there are: {known}")


def _check_names(*names: str) -> None:
    for what in names:
        if not _NAME.fullmatch(what):
            message = f"{what!r} is no name: use up to 64 letters, digits, '.', '_' and '-'"
            raise SettingsError(message)
