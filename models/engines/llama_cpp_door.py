"""The routes of llama.cpp's own HTTP listener that `models.engines.llama_cpp` calls for tokens."""

import http.client
import json
import secrets
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.engines.tools import turns
from models.errors import EngineFailed
from models.values import ChatMessage


class PrivateDoor:
    """llama.cpp's HTTP listener, which cannot be switched off, and the routes of it that we use.

    It binds a unix socket in a folder that only this user may enter, instead of an open port on
    loopback, and answers only to a random key. It counts tokens, for which xllamacpp has no call,
    in about 1 ms, even if every slot is busy.
    """

    def __init__(self) -> None:
        self._key = secrets.token_urlsafe()
        self._folder = tempfile.TemporaryDirectory(prefix="llama-")

    def guard(self, params: Any) -> None:  # noqa: ANN401 (a C++ struct without a Python type)
        """Set the address, the key and the closed endpoints in llama.cpp's parameters."""
        params.hostnames = [str(self._socket)]
        params.api_keys = [self._key]
        params.n_threads_http = 2
        params.ui = params.endpoint_slots = params.endpoint_props = params.endpoint_metrics = False

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Ask llama.cpp for the length of the prompt under the chat template."""
        body = {"messages": turns(messages)}
        return int(self._ask("/v1/chat/completions/input_tokens", body)["input_tokens"])

    def render(self, messages: Sequence[ChatMessage]) -> str:
        """Ask llama.cpp for the prompt under the chat template."""
        prompt: str = self._ask("/apply-template", {"messages": turns(messages)})["prompt"]
        return prompt

    def tokenize(self, text: str, *, whole: bool = True) -> list[int]:
        """Ask llama.cpp for the tokens of a raw prompt, or of a part from the middle of one."""
        body = {"content": text, "add_special": whole, "parse_special": True}
        tokens: list[int] = self._ask("/tokenize", body)["tokens"]
        return tokens

    def end_token(self) -> int | None:
        """The token that the chat template puts after a turn, if any.

        llguidance accepts only one of several tokens that end an answer, and not always this one.
        """
        answer = ChatMessage("assistant", "answer")
        prompt = self.render([ChatMessage("user", "question"), answer])
        behind = prompt.rpartition(answer.content)[2].lstrip()
        return self.tokenize(behind, whole=False)[0] if behind else None

    def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        connection = _UnixConnection(self._socket)
        headers = {"Authorization": f"Bearer {self._key}", "Connection": "close"}
        try:
            connection.request("POST", path, json.dumps(body), headers)
            answer: dict[str, Any] = json.load(connection.getresponse())
        except (OSError, http.client.HTTPException) as error:
            raise EngineFailed("llama.cpp does not answer") from error
        finally:
            connection.close()
        if "error" in answer:
            raise EngineFailed(f"llama.cpp cannot read the prompt: {answer['error']['message']}")
        return answer

    def close(self) -> None:
        """Remove the folder. Idempotent."""
        self._folder.cleanup()

    @property
    def _socket(self) -> Path:
        return Path(self._folder.name) / "llama.sock"


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))
