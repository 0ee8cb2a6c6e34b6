"""Starts one service alone, in a process or container of its own, for `tiffin deploy start`.

BentoML can do this with a hidden command of its image's entrypoint, but that accepts any input: it
loads a dependency that is not named inside the caller, and only the first request finds out that an
address is wrong. Here, both end the start with a one-line error.
"""

import asyncio
import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

from tiffin import __version__
from tiffin.config.section import SettingsError
from tiffin.config.settings import Settings
from tiffin.config.topology import check_service, dependencies
from tiffin.core.errors import Overloaded, TiffinError
from tiffin.core.messages import ServiceHealth
from tiffin.transport import wire
from tiffin.transport.client import ServiceClient

RETRY_S = 0.5
PROBE_TIMEOUT_S = 3.0


def check_addresses(service: str, given: Sequence[str], settings: Settings) -> dict[str, str]:
    """The address of every service that this one calls, from words like `NAME=URL`.

    Raises SettingsError unless exactly those services are given, each with an HTTP URL.
    """
    check_service(service, settings)
    wanted = dependencies(settings)[service]
    addresses: dict[str, str] = {}
    for word in given:
        name, _, url = word.partition("=")
        if name not in wanted:
            called = ", ".join(wanted) or "none"
            raise SettingsError(
                f"{service} does not call {name!r}; the services it calls: {called}"
            )
        if name in addresses:
            raise SettingsError(f"{service}: the address of {name} is given twice")
        addresses[name] = _checked_url(name, url)
    if missing := [name for name in wanted if name not in addresses]:
        example = " ".join(f"{name}=http://HOST:PORT" for name in missing)
        message = f"{service} needs the address of {', '.join(missing)}"
        raise SettingsError(f"{message}: add to BENTOML_SERVE_DEPENDS: {example}")
    return addresses


def check_token(settings: Settings) -> str:
    """The internal token, which services that run apart need for calling each other."""
    token = settings.internal.token_text()
    if token is None:
        message = "TIFFIN_INTERNAL__TOKEN is needed and not set: services that run apart share it"
        raise SettingsError(message)
    return token


async def await_services(
    addresses: dict[str, str],
    token: str,
    wait_s: float,
    may_sleep: frozenset[str] = frozenset(),
) -> None:
    """Wait until the right service answers at each address, but do not wait for one that may sleep.

    Raises SettingsError at once if something else answers, and after `wait_s` if nothing does.
    """
    waits = (
        _await(name, url, token, None if name in may_sleep else wait_s)
        for name, url in addresses.items()
    )
    await asyncio.gather(*waits)


def start_command(service: str, addresses: dict[str, str], host: str, port: int) -> list[str]:
    """The command that serves one service; run it in `tiffin.SOURCE`."""
    words = [f"{name}={url}" for name, url in addresses.items()]
    return [sys.executable, "-m", "services.bento.one_service", service, host, str(port), *words]


async def _await(name: str, url: str, token: str, wait_s: float | None) -> None:
    client = ServiceClient(name, url, token)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + (wait_s or 0)
    try:
        while True:
            try:
                _check_identity(name, url, await client.health(ServiceHealth, PROBE_TIMEOUT_S))
            except Overloaded:  # it has not started, or a load balancer has no replica of it
                if wait_s is None:
                    return
                if loop.time() >= deadline:
                    message = f"{name} does not answer at {url} after {wait_s:.0f} s"
                    raise SettingsError(message) from None
                await asyncio.sleep(RETRY_S)
            except TiffinError as error:
                raise SettingsError(f"{url} is no {name} of this Tiffin: {error.message}") from None
            else:
                return
    finally:
        await client.close()


def _check_identity(name: str, url: str, health: ServiceHealth) -> None:
    if health.service != name:
        raise SettingsError(f"{url} is given as {name} and is {health.service or 'something else'}")
    if health.protocol != wire.PROTOCOL:
        raise SettingsError(
            f"{name} at {url} is Tiffin {health.version} and speaks protocol {health.protocol}; "
            f"this is Tiffin {__version__} with protocol {wire.PROTOCOL}"
        )


def _checked_url(name: str, url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.path not in ("", "/") or parts.query:
        allowed = "http://HOST:PORT or https://HOST"
        raise SettingsError(f"the address of {name} must be {allowed}, not {url!r}")
    return url.rstrip("/")
