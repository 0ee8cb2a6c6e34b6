"""Connects to LanceDB, which the first corpus imports, not before: that takes 1 s and 130 MB."""

import warnings
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from tiffin.corpus.memory import bound

INDEX_CACHE, METADATA_CACHE = 512 << 20, 64 << 20
"""Bytes of indexes and of metadata that a connection keeps. LanceDB's own limits are 6 GiB and
1 GiB, below which it also keeps what was replaced since."""


def connect(address: str, index_cache: int = INDEX_CACHE) -> Any:  # noqa: ANN401  it has no types
    """Tables in a folder, or on object storage by the variables `AWS_*`; always the newest."""
    bound()
    # uvloop forks to start the parser, which then runs another program and never Lance.
    warnings.filterwarnings("ignore", message="lancedb fork support", category=RuntimeWarning)
    import lancedb

    session = lancedb.Session(index_cache, METADATA_CACHE)
    return lancedb.connect(address, read_consistency_interval=timedelta(0), session=session)


def names_of(connection: Any) -> Iterator[str]:  # noqa: ANN401
    """The names of all tables."""
    token = None
    while True:
        page = connection.list_tables(page_token=token)
        yield from page.tables
        if not (token := page.page_token):
            return
