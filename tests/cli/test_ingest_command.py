"""`tiffin ingest` refuses what would wait without end. tests/e2e/test_corpora.py ingests."""

from collections.abc import Iterator
from typing import Any

import click
import pytest

from tiffin.cli import corpus_client
from tiffin.cli.corpus_client import CorpusClient
from tiffin.cli.server import Server


class Changed(Server):
    """A server whose embedding model was changed after it got the corpus `help`."""

    reembedding: dict[str, Any] | None = None

    def call(self, method: str, path: str, **sent: Any) -> Any:
        assert (method, path, sent) == ("GET", "/v1/vector_stores/vs_1/health", {})
        of = {"embedder": "old", "server_embedder": "new"}
        return {**of, "reembedding": self.reembedding}

    def pages(self, path: str, **asked: Any) -> Iterator[dict[str, Any]]:
        del path, asked
        yield {"id": "vs_1", "name": "help"}


def test_a_corpus_of_another_embedder_is_refused_with_the_command_that_helps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(corpus_client, "Server", Changed)
    said = (
        r"^--corpus: help has the vectors of old, and this server embeds by new; "
        r"run tiffin corpus reembed help$"
    )
    with pytest.raises(click.ClickException, match=said), CorpusClient("http://x", None, "help"):
        pass
    monkeypatch.setattr(Changed, "reembedding", {"embedder": "new", "chunks": 1})
    with CorpusClient("http://x", None, "help"):  # its files wait, and not without end
        pass
