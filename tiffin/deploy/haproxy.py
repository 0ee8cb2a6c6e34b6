"""The load balancer of a local deployment: Debian's haproxy, one backend a service.

Every backend has places for replicas, which are filled, drained and emptied over haproxy's own
socket while it runs: nothing is reloaded, no connection is lost.
"""

import asyncio
import csv
import io
import shutil
from collections.abc import Mapping
from pathlib import Path

from tiffin.deploy.errors import DeployError

PLACES = 16
"""Replicas that one service can have."""

CONFIG = """\
global
    maxconn 4096
    stats socket unix@{socket} mode 600 level admin
    # A request that fits is sent again when its replica dies before the first byte of the answer.
    tune.bufsize 262144

defaults
    mode http
    timeout connect 2s
    timeout client 900s
    timeout server 900s
    timeout http-keep-alive 3s
    # A busy replica may be slow to say that it lives; a dead one refuses at once.
    timeout check 5s
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response
    option http-server-close
    option httpchk GET /livez
    balance leastconn
"""

SERVICE = """
listen {name}
    bind {host}:{port}
    server-template {name} 1-{places} 127.0.0.1:1 check inter 500ms fall 1 rise 1 disabled
"""


def find_haproxy() -> str:
    """The program. Raises DeployError with the way to get it."""
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        message = "haproxy is not installed: `apt-get install haproxy` (or `brew install haproxy`)"
        raise DeployError(message)
    return found


def config(binds: Mapping[str, tuple[str, int]], socket: Path) -> str:
    """The configuration for services and the addresses at which each is reached."""
    parts = [
        SERVICE.format(name=name, host=host, port=port, places=PLACES)
        for name, (host, port) in binds.items()
    ]
    return CONFIG.format(socket=socket) + "".join(parts)


class Balancer:
    """A running haproxy, steered over its socket."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def put(self, service: str, place: int, port: int) -> None:
        """Send requests to a replica on this port of loopback."""
        server = f"{service}/{service}{place}"
        await self._ask(f"set server {server} addr 127.0.0.1 port {port}")
        await self._ask(f"set server {server} state ready")

    async def drain(self, service: str, place: int) -> None:
        """Send no more requests to a replica; those in work go on."""
        await self._ask(f"set server {service}/{service}{place} state drain")

    async def remove(self, service: str, place: int) -> None:
        """Empty a place."""
        await self._ask(f"set server {service}/{service}{place} state maint")

    async def in_work(self, service: str, place: int) -> int:
        """Requests that a replica has in hand."""
        return int((await self.statistics()).get((service, place), {}).get("scur") or 0)

    async def statistics(self) -> dict[tuple[str, int], dict[str, str]]:
        """Haproxy's own numbers of every place, by service and place."""
        rows = csv.DictReader(io.StringIO((await self._ask("show stat")).lstrip("# ")))
        return {
            (row["pxname"], int(row["svname"].removeprefix(row["pxname"]))): row
            for row in rows
            if row["svname"] not in ("FRONTEND", "BACKEND")
        }

    async def _ask(self, command: str) -> str:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        try:
            writer.write(command.encode() + b"\n")
            await writer.drain()
            answer = (await reader.read()).decode().strip()
        finally:
            writer.close()
            await writer.wait_closed()
        refusals = ("No such server", "Unknown command", "Invalid", "Can't find", "Require")
        if answer.startswith(refusals):
            raise DeployError(f"haproxy refused {command!r}: {answer.splitlines()[0]}")
        return answer
