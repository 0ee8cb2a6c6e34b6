"""Keeps what people write text: no control token of the model can be written into a message.

Tokenizers read a control token wherever its name stands. A document that contains `<|im_end|>`
could therefore end the user's turn and open one of its own. The engines call this module in three
steps: `guard` every text before it meets the chat template; render the template; `ids` of what came
out. A guarded text has a seam inside each name of a control token. `ids` puts a real token (the
anchor) where a seam is, so that the tokenizer sees no name there, and takes it out of the result:
everything else is tokenized exactly as always, and a text without such names is not touched.
"""

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from models.errors import EngineFailed
from models.gguf import read_metadata
from models.values import Role

Guard = Callable[[Role, str], str]
"""Makes the text of a turn safe for the chat template."""

OF_MODELS = frozenset({"<think>", "</think>"})
"""What a model writes itself: in its own earlier turns these remain tokens, as it wrote them."""

_TURN = re.compile(r"<[|\uff5c].+[|\uff5c]>", re.DOTALL)
_CONTROL, _UNKNOWN, _USER_DEFINED = 3, 2, 4  # token types of GGUF


def unguarded(_: Role, text: str) -> str:
    """The text as it is, for a model without control tokens."""
    return text


class Markers:
    """The control tokens of one model, by name.

    `anchor` is one of them, with its id, that takes no white space from its neighbours. By default
    there are none, and every text stays as it is.
    """

    def __init__(self, names: Iterable[str] = (), anchor: tuple[str, int] = ("", -1)) -> None:
        found = set(names) if anchor[0] else set()
        self._all = _pattern(found)
        self._not_of_models = _pattern(found - OF_MODELS)
        self._anchor, self._anchor_id = anchor
        self._seam = secrets.token_hex(16)  # nobody can guess it

    def guard(self, role: Role, text: str) -> str:
        """The text with a seam in each name of a control token."""
        pattern = self._not_of_models if role == "assistant" else self._all
        found = 1
        while found:  # what is left of a name may be part of another
            text, found = pattern.subn(lambda name: name[0][0] + self._seam + name[0][1:], text)
        return text

    def guarded(self, text: str) -> bool:
        """Whether the text has a seam."""
        return self._seam in text

    def ids(self, rendered: str, tokenize: Callable[[str], list[int]]) -> list[int]:
        """The tokens of a rendered prompt. Names in it are control tokens, but not guarded ones.

        `tokenize` reads names as control tokens. Raises EngineFailed if it reads the anchor
        differently, rather than return tokens that nobody checked.
        """
        parts = rendered.split(self._seam)
        if len(parts) == 1:
            return tokenize(rendered)
        seams, seen = set(), 0
        for part in parts[:-1]:
            seen += part.count(self._anchor)
            seams.add(seen)
            seen += 1
        ids = tokenize(self._anchor.join(parts))
        anchors = [place for place, id_ in enumerate(ids) if id_ == self._anchor_id]
        surplus = len(anchors) - seen - parts[-1].count(self._anchor)
        if surplus not in (0, 1):  # 1: the tokenizer may begin every prompt with it
            raise EngineFailed("the tokenizer does not read its own control tokens")
        drop = {anchors[seam + surplus] for seam in seams}
        return [id_ for place, id_ in enumerate(ids) if place not in drop]


def markers_of_gguf(file: Path) -> Markers:
    """The control tokens of a GGUF file."""
    metadata: dict[str, Any] = read_metadata(file)
    tokens: list[str] = metadata.get("tokenizer.ggml.tokens", [])
    kinds: list[int] = metadata.get("tokenizer.ggml.token_type", [])
    template = str(metadata.get("tokenizer.chat_template", ""))
    names = {
        token
        for token, kind in zip(tokens, kinds, strict=False)
        if kind in (_CONTROL, _UNKNOWN)
        or (kind == _USER_DEFINED and _written_by(template, token))
        or (_TURN.fullmatch(token) and token in template)
    }
    first = [metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos")]
    ids = [id_ for id_ in first if id_ is not None and tokens[id_] in names]
    return Markers(names, (tokens[ids[0]], ids[0])) if ids else Markers()


def markers_of_tokenizer(tokenizer: Any) -> Markers:  # noqa: ANN401  vLLM has many kinds
    """The control tokens of a Hugging Face tokenizer; Mistral's own reads none in a text."""
    added: Mapping[int, Any] = getattr(tokenizer, "added_tokens_decoder", {})
    template = str(tokenizer.chat_template)
    names = {
        token.content
        for token in added.values()
        if token.special or _written_by(template, token.content)
    }
    anchors = [
        (token.content, id_)
        for id_, token in added.items()
        if token.special and not (token.lstrip or token.rstrip or token.single_word)
    ]
    first = [getattr(tokenizer, f"{name}_token", None) for name in ("bos", "eos")]
    anchors.sort(key=lambda anchor: anchor[0] not in first)
    return Markers(names, anchors[0]) if anchors else Markers()


def _written_by(template: str, token: str) -> bool:
    """Whether the chat template uses this token.

    Vocabularies also list white space and HTML tags, which do not steer the model.
    """
    return bool(token.strip()) and token in template


def _pattern(names: Iterable[str]) -> re.Pattern[str]:
    """Any of the names that can be broken, the longest first."""
    breakable = sorted((name for name in names if len(name) > 1), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, breakable)) or r"(?!)")
