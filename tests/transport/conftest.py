"""Services run on uvloop, so hops are tried on it."""

import asyncio
from collections.abc import Callable, Mapping

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The one that uvicorn takes."""
    return {"uvloop": uvloop.new_event_loop}
