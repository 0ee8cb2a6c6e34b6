"""Who may use the entry service: its settings, and the rule that an open address needs keys.

Keys themselves are in `tiffin.traffic.keys`; `tiffin.api.middleware.access` asks for them.
"""

import ipaddress
from pathlib import Path

from tiffin.config.section import Section, SettingsError


class AccessSettings(Section):
    """Keys and origins."""

    keys_file: Path | None = None
    """The file that `tiffin keys` writes; if set, every request needs a key."""
    without_keys: bool = False
    """Serve without keys on an address that others can reach."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose web pages may call the API. As a variable, a JSON array."""


def check_address(access: AccessSettings, host: str) -> None:
    """Raise SettingsError if others can reach `host` and no key is required."""
    if access.keys_file is None and not access.without_keys and not is_loopback(host):
        message = (
            f"{host} can be reached from outside and no keys are set up: set "
            "TIFFIN_ACCESS__KEYS_FILE and run `tiffin keys create NAME`, or set "
            "TIFFIN_ACCESS__WITHOUT_KEYS=true to let everyone in"
        )
        raise SettingsError(message)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address. A host name is assumed to be public."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
