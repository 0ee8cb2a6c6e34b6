"""Ports and waiting, for benchmarks that start servers."""

import socket
import time
import urllib.error
import urllib.request

START_LIMIT_S = 120


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(url: str) -> None:
    """Wait until the URL answers 200. Raises TimeoutError."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310  our own, on loopback
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    message = f"{url} did not answer in {START_LIMIT_S} s"
    raise TimeoutError(message)
