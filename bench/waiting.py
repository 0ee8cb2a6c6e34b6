"""Waiting for a server that a benchmark started."""

import time
import urllib.error
import urllib.request

START_LIMIT_S = 300


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
