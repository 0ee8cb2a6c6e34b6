"""Debian's haproxy as the load balancer of a local deployment, with one backend for each service.

Every backend has places for replicas. They are filled, drained and emptied over haproxy's own
socket while it runs, so nothing is reloaded and no connection is lost.
"""

import csv
import io
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.stack import stop

PLACES = 16
"""Replicas that one service can have."""

CONFIG = """\
global
    maxconn 4096
    stats socket unix@haproxy.sock mode 600 level admin
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
    bind {address}
    server-template {name} 1-{places} 127.0.0.1:1 check inter 500ms fall 1 rise 1 disabled
"""


class Balancer:
    """A running haproxy, which is steered over its socket."""

    def __init__(self, control: Path) -> None:
        self._control = control

    def put(self, service: str, place: int, port: int) -> None:
        """Send requests to a replica on this port of loopback."""
        server = f"{service}/{service}{place}"
        self._ask(f"set server {server} addr 127.0.0.1 port {port}")
        self._ask(f"set server {server} state ready")

    def drain(self, service: str, place: int) -> None:
        """Send no more requests to a replica; those in flight go on."""
        self._ask(f"set server {service}/{service}{place} state drain")

    def remove(self, service: str, place: int) -> None:
        """Empty a place."""
        self._ask(f"set server {service}/{service}{place} state maint")

    def in_flight(self, service: str, place: int) -> int:
        """Requests that a replica has not answered yet."""
        return int(self.statistics()[service, place]["scur"] or 0)

    def statistics(self) -> dict[tuple[str, int], dict[str, str]]:
        """Haproxy's own figures for every place, by service and place."""
        rows = csv.DictReader(io.StringIO(self._ask("show stat").lstrip("# ")))
        return {
            (row["pxname"], int(row["svname"].removeprefix(row["pxname"]))): row
            for row in rows
            if row["svname"] not in ("FRONTEND", "BACKEND")
        }

    def _ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._control))
            connection.sendall(command.encode() + b"\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode().strip()
        refusals = ("No such server", "Unknown command", "Invalid", "Can't find", "Require")
        assert not answer.startswith(refusals), f"{command}: {answer}"
        return answer


@contextmanager
def running_balancer(addresses: Mapping[str, str], folder: Path) -> Generator[Balancer, None, None]:
    """Run haproxy in front of all services; the test is skipped if it is not installed."""
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("haproxy is not installed: apt-get install haproxy")
    services = (
        SERVICE.format(name=name, address=urlsplit(url).netloc, places=PLACES)
        for name, url in addresses.items()
    )
    (folder / "haproxy.cfg").write_text(CONFIG + "".join(services))
    # A socket's path may have 108 bytes, so haproxy is given one relative to its folder.
    with (folder / "haproxy.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-db", "-f", "haproxy.cfg"],
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        control = folder / "haproxy.sock"
        while not control.exists():
            assert process.poll() is None, (folder / "haproxy.log").read_text()
            time.sleep(0.05)
        yield Balancer(control)
    finally:
        stop(process)
