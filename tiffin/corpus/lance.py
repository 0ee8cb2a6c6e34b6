"""Connects to LanceDB, which the first corpus imports, not before: that takes 1 s and 130 MB."""

import warnings
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from tiffin.corpus.memory import bound


def connect(address: str, cache_bytes: int | None = None) -> Any:  # noqa: ANN401  it has no types
    """Tables in a folder, or on object storage by the variables `AWS_*`; always the newest.

    What is read stays in a cache, of 7 GiB at most or so many bytes.
    """
    bound()
    # uvloop forks to start the parser, which then runs another program and never Lance.
    warnings.filterwarnings("ignore", message="lancedb fork support", category=RuntimeWarning)
    import lancedb

    session = None
    if cache_bytes is not None:
        session = lancedb.Session(cache_bytes // 2, cache_bytes // 2)  # of indexes and of metadata
    return lancedb.connect(address, read_consistency_interval=timedelta(0), session=session)


def names_of(connection: Any) -> Iterator[str]:  # noqa: ANN401
    """The names of all tables."""
    token = None
    while True:
        page = connection.list_tables(page_token=token)
        yield from page.tables
        if not (token := page.page_token):
            return
