"""A running Tiffin, as the commands that ask one reach it: `--url`, `--key`, and its errors.

Used by `tiffin bench`, `cache`, `corpus`, `eval`, `ingest` and `safety`.
"""

from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar

import click
import httpx2

TIMEOUT_S = 120.0
PAGE = 100

Command = TypeVar("Command", bound=Callable[..., Any])


def server_options(command: Command) -> Command:
    """Give a command `--url` and `--key`; their variables are those that a client would set."""
    key = click.option(
        "--key",
        envvar="TIFFIN_API_KEY",
        show_envvar=True,
        help="An API key, if the server asks for one.",
    )
    url = click.option(
        "--url",
        default="http://localhost:3000",
        envvar="TIFFIN_URL",
        show_default=True,
        show_envvar=True,
        help="The server.",
    )
    return url(key(command))


def headers_of(key: str | None) -> dict[str, str]:
    """What a request with this key says of itself."""
    return {"authorization": f"Bearer {key}"} if key else {}


class Server:
    """A connection to a server. Its failures are ClickExceptions of one line."""

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url.rstrip("/")
        try:
            self._http = httpx2.Client(
                base_url=self.url, headers=headers_of(key), timeout=TIMEOUT_S
            )
        except httpx2.InvalidURL as error:
            raise click.ClickException(unreachable(self.url, error)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def call(self, method: str, path: str, **sent: Any) -> Any:  # noqa: ANN401  JSON
        """The JSON that the server answers. `sent` is what httpx2's `request` takes."""
        try:
            answer = self._http.request(method, path, **sent)
        except httpx2.TransportError as error:
            raise click.ClickException(unreachable(self.url, error)) from None
        if answer.is_success:
            return answer.json()
        try:
            why = answer.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            why = f"{self.url}{path} answered {answer.status_code}: is it a Tiffin?"
        raise click.ClickException(why)

    def pages(self, path: str, **query: str) -> Iterator[dict[str, Any]]:
        """What a list in OpenAI's shape has, page by page."""
        more: dict[str, Any] = {"limit": PAGE, **query}
        while True:
            page = self.call("GET", path, params=more)
            yield from page["data"]
            if not page["has_more"]:
                return
            more["after"] = page["last_id"]


def unreachable(url: str, error: Exception) -> str:
    """One line that says what to do about a server that gives no answer."""
    why = str(error) or type(error).__name__
    return f"--url: {url} does not answer ({why}); `tiffin serve` starts a server"
