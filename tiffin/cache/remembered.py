"""Questions that a model answered, kept with their evidence for the same question in other words.

Written and read by `tiffin.pipeline.stages.recall`. One entry of the store holds those of a scope:
all that may change the answer is the same, but for the wording of the question.
"""

from collections.abc import Sequence

import msgspec

from tiffin.core.messages import Array

VERSION = 2
MOST = 64
"""Questions of one scope; the oldest goes first."""


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """A question with its evidence, best first, its answer, and the sentences that support that.

    `logit` and `reading` are what the reranker said of the best sentence; `reading` is None of one
    without readings.

    `vector` is the question's embedding, L2-normalised. `text` is the answer's text, `answer`
    all of it as JSON. `created` is in seconds of the Unix epoch; `usd` and `seconds` are what it
    cost. `corpora` are the ids of those that were asked.
    """

    id: str
    question: str
    vector: Array
    evidence: tuple[str, ...]
    logit: float
    reading: float | None
    support: tuple[str, ...]
    text: str
    answer: bytes
    tier: str
    created: float
    usd: float
    seconds: float
    corpora: list[str] = []


class _Scope(msgspec.Struct, frozen=True):
    version: int
    questions: list[Remembered]


_decoder = msgspec.msgpack.Decoder(_Scope)


def decode(stored: bytes | None) -> list[Remembered]:
    """The questions of a scope; none if there are none, or they cannot be read."""
    if stored is None:
        return []
    try:
        scope = _decoder.decode(stored)
    except msgspec.MsgspecError:
        return []
    return scope.questions if scope.version == VERSION else []


def encode(questions: Sequence[Remembered]) -> bytes:
    """The questions of a scope as they are stored, the newest `MOST` of them."""
    return msgspec.msgpack.encode(_Scope(VERSION, list(questions[-MOST:])))
