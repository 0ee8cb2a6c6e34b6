"""What `tiffin ingest` asks of a server: OpenAI's routes for files and vector stores."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Self

import click

from tiffin.cli.local_files import LocalFile
from tiffin.cli.server import Server

DONE = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True)
class Known:
    """A file that the corpus has, with the label and digest that it was sent with."""

    file_id: str
    path: str
    digest: str
    status: str


@dataclass(frozen=True)
class Result:
    """How the ingestion of a file ended. `error` is None if it can be found."""

    file_id: str
    chunks: int
    error: str | None


class CorpusClient:
    """One corpus of one server. Raises ClickException, with the server's own words."""

    def __init__(self, url: str, key: str | None, corpus: str) -> None:
        self._server = Server(url, key)
        self._corpus = corpus
        self._base = ""

    def __enter__(self) -> Self:
        found = self._found()
        self._base = f"/v1/vector_stores/{found or self._created()}"
        if found is not None:
            self._check_embedder()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def known(self) -> list[Known]:
        """All files of the corpus."""
        return [
            Known(
                one["id"],
                one["attributes"].get("path", ""),
                one["attributes"].get("sha256", ""),
                one["status"],
            )
            for one in self._server.pages(f"{self._base}/files", order="asc")
        ]

    def has(self, known: Collection[Known], file: LocalFile) -> bool:
        """Whether the corpus has this file with these bytes, or will have."""
        return any(
            one.path == file.label
            and one.digest == file.digest
            and one.status in {"completed", "in_progress"}
            for one in known
        )

    def send(self, file: LocalFile) -> str:
        """Upload a file and queue it for ingestion; its id."""
        with file.path.open("rb") as data:
            sent = self._server.call(
                "POST",
                "/v1/files",
                files={"file": (file.path.name, data)},
                data={"purpose": "user_data"},
            )
        attributes = {"path": file.label, "sha256": file.digest}
        body = {"file_id": sent["id"], "attributes": attributes}
        self._server.call("POST", f"{self._base}/files", json=body)
        return str(sent["id"])

    def finished(self, files: Collection[str]) -> int:
        """How many of these files are ingested or have failed."""
        waiting = self._server.pages(f"{self._base}/files", order="asc", filter="in_progress")
        return len(files) - sum(one["id"] in files for one in waiting)

    def member(self, file: str) -> Result:
        """How the ingestion of a file ended."""
        shown = self._server.call("GET", f"{self._base}/files/{file}")
        error = shown["last_error"]
        return Result(file, shown["chunks"], error and error["message"])

    def remove(self, file: str) -> None:
        """Delete a file, and so its chunks."""
        self._server.call("DELETE", f"/v1/files/{file}")

    def search(self, query: str, ranking: dict[str, Any]) -> list[dict[str, Any]]:
        """The ten best chunks, best first."""
        body = {"query": query, "ranking_options": ranking}
        found: list[dict[str, Any]] = self._server.call("POST", f"{self._base}/search", json=body)[
            "data"
        ]
        return found

    def drop(self) -> None:
        """Delete the corpus and its files."""
        for one in self.known():
            self.remove(one.file_id)
        self._server.call("DELETE", self._base)

    def forget_missing(self, files: Sequence[LocalFile], folders: Collection[str]) -> None:
        """Delete what was sent from these folders and is not there any more."""
        labels = {file.label for file in files}
        for one in self.known():
            if one.path and one.path not in labels and one.path.partition("/")[0] in folders:
                self.remove(one.file_id)

    def _found(self) -> str | None:
        stores = self._server.pages("/v1/vector_stores", order="asc")
        named = [one for one in stores if one["name"] == self._corpus]
        if len(named) > 1:
            ids = ", ".join(one["id"] for one in named)
            raise click.ClickException(f"--corpus: {len(named)} are named {self._corpus!r}: {ids}")
        return str(named[0]["id"]) if named else None

    def _check_embedder(self) -> None:
        """Files of a corpus with another model's vectors would wait until someone asks for it."""
        health = self._server.call("GET", f"{self._base}/health")
        its, ours = health["embedder"], health["server_embedder"]
        if its != ours and health["reembedding"] is None:
            message = f"has the vectors of {its}, and this server embeds by {ours}"
            remedy = f"run tiffin corpus reembed {self._corpus}"
            raise click.ClickException(f"--corpus: {self._corpus} {message}; {remedy}")

    def _created(self) -> str:
        return str(
            self._server.call("POST", "/v1/vector_stores", json={"name": self._corpus})["id"]
        )
