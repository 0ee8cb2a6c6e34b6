"""The messages between services, one pair a method. The LLM's are in `models.values`."""

from collections.abc import Sequence
from math import prod
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray


class Array(msgspec.Struct, frozen=True):
    """A float32 array: `data` is row-major, little-endian, 4 * prod(shape) bytes."""

    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, array: NDArray[np.float32]) -> "Array":
        """Pack an array of any shape."""
        return cls(array.shape, np.ascontiguousarray(array, dtype="<f4").tobytes())

    def holds(self, shape: tuple[int, ...]) -> bool:
        """Whether it has that shape, and as much data."""
        return self.shape == shape and len(self.data) == 4 * prod(shape)

    def numpy(self) -> NDArray[np.float32]:
        """A read-only view of the data. Raises ValueError when size and shape disagree."""
        return np.frombuffer(self.data, dtype="<f4").reshape(self.shape)


class TokenCount(msgspec.Struct, frozen=True):
    """How many tokens a prompt is."""

    tokens: int


class EmbedRequest(msgspec.Struct, frozen=True):
    """Texts to embed, each as it is or as ids of the model's own tokens.

    What is longer than the model reads is truncated, or refused when `truncate` is false.
    """

    texts: list[str | list[int]]
    truncate: bool = True


class Embeddings(msgspec.Struct, frozen=True):
    """L2-normalised float32 rows in the order of the texts, and the tokens they cost.

    `cut` has the positions of the texts of which the model did not read the end.
    """

    vectors: Array
    tokens: int
    cut: list[int] = []


class CountRequest(msgspec.Struct, frozen=True):
    """Texts whose tokens are to be counted, which takes no forward pass."""

    texts: list[str]


class Counts(msgspec.Struct, frozen=True):
    """The tokens of each text when nothing is truncated, those that open and close it included."""

    tokens: list[int]


class RerankRequest(msgspec.Struct, frozen=True):
    """Passages to score against a query, or against one query each.

    What is longer than the model reads is truncated, or refused when `truncate` is false.
    """

    query: str | list[str]
    passages: list[str]
    truncate: bool = True


class RerankScores(msgspec.Struct, frozen=True):
    """One float32 logit a passage, in the order of the passages, and the tokens they cost.

    `cut` has the positions of the pairs of which the model did not read the end; `readings` are
    like the logits, and None of a model without them (`models.engines.reading`). `paired` says of
    two questions whether they are one, and is None with `readings`.
    """

    logits: Array
    tokens: int
    cut: list[int] = []
    readings: Array | None = None
    paired: Array | None = None


class TierState(msgspec.Struct, frozen=True, kw_only=True):
    """How a tier has done lately, as the entry service saw it.

    `ttft_ms` and `answer_s` are None until it has answered. `waiting` are requests in work there.
    """

    available: bool = True
    ttft_ms: float | None = None
    answer_s: float | None = None
    waiting: int = 0


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """US dollars of the current UTC day and month: by the caller's key and tenant, and by all.

    `at` is when that was, in seconds of the Unix epoch.
    """

    key_usd: float = 0.0
    key_month_usd: float = 0.0
    tenant_usd: float = 0.0
    tenant_month_usd: float = 0.0
    day_usd: float = 0.0
    at: float = 0.0


class RouteRequest(msgspec.Struct, frozen=True):
    """Which tier should answer: `model` is a tier's name or a policy's, such as `auto`.

    `vector` is the query's embedding, L2-normalised, where the caller has it. `needs` are the
    capabilities that the request asks for, `prompt_tokens` an estimate of what the tier will read,
    and `max_tokens` the longest answer, of which there are to be `answers`. `whole` says that they
    are not streamed; `allowed` are the tiers that the caller's key may use, None for all, and
    `budgets` what it may spend, as in `Grant`. The rest is what the entry service has seen, so that
    a decision depends on nothing but this message.
    """

    query: str
    model: str
    vector: Array | None = None
    needs: list[str] = []
    prompt_tokens: int = 0
    max_tokens: int = 256
    whole: bool = False
    tiers: dict[str, TierState] = {}
    spent: Spent = Spent()
    strong_share: float = 0.0
    answers: int = 1
    allowed: list[str] | None = None
    budgets: dict[str, float] = {}


Level = Literal["simple", "moderate", "complex"]


class Complexity(msgspec.Struct, frozen=True):
    """How hard a query is.

    `score` is from 0 to 1, `p_cheap` the calibrated probability that the cheapest tier's answer
    suffices. `by` names what judged: a rule, or the model and what it saw.
    """

    level: Level
    score: float
    p_cheap: float
    by: str


class Alternative(msgspec.Struct, frozen=True):
    """A tier as the policy saw it; `refused` says why it could not be chosen."""

    tier: str
    p_suffices: float
    usd: float
    ttft_ms: float | None
    refused: str | None = None


class RouteDecision(msgspec.Struct, frozen=True):
    """The tier to ask, why, and which to ask next (in order) when it cannot answer.

    The rest is the record of the decision: it is shown on `x-tiffin-debug: 1` and kept for
    `tiffin router replay`. `escalate_below` asks for the cascade, `max_usd` is what all attempts
    together may cost. `degraded` says that the Router did not answer, and the entry service decided
    without the complexity model.
    """

    tier: str
    reason: str
    fallbacks: list[str]
    policy: str = ""
    complexity: Complexity | None = None
    features: dict[str, float] = {}
    alternatives: list[Alternative] = []
    escalate_below: float | None = None
    degraded: bool = False
    max_usd: float | None = None


class SafetyRequest(msgspec.Struct, frozen=True):
    """Texts to check, and for what: injection, toxicity, personal_data, secrets.

    `vectors` (rows, dimensions) are embeddings, L2-normalised, of the texts, of parts of them or of
    what they hide; `owners` tells for each row which text it is of. A check that reads embeddings
    judges a text without any as harmless. `false_positives` is the share of harmless texts that may
    be flagged. In a `document`, which nobody wrote to the model, any sentence that gives it orders
    is an attack; `sentence` is one of these, or one that may be quoted, with its vector.
    """

    texts: list[str]
    checks: list[str]
    false_positives: float
    vectors: Array | None = None
    owners: list[int] = []
    kind: Literal["text", "document", "sentence"] = "text"


class Finding(msgspec.Struct, frozen=True):
    """What was found in a text: the check, the kind of thing, its probability, and its span.

    The span is in code points; a judgement on the text as a whole spans all of it.
    """

    check: str
    kind: str
    score: float
    start: int
    end: int


class Checked(msgspec.Struct, frozen=True):
    """What the checks say of one text. `scores` has the highest probability of each kind.

    `unsure` are sentences of a document that may give orders to the model: the check is to be
    asked about them again, with their vectors. `orders` are those of them that probably do: they
    are no evidence, even in a document that is not flagged.
    """

    findings: list[Finding]
    scores: dict[str, float]
    unsure: list[str] = []
    orders: list[str] = []

    @classmethod
    def merged(cls, found: Sequence[list["Checked"]]) -> list["Checked"]:
        """What several calls about the same texts say of each, who ran other checks."""
        first, *others = found
        for other in others:
            first = [one.joined(more) for one, more in zip(first, other, strict=True)]
        return first

    def joined(self, other: "Checked") -> "Checked":
        """What both say, who ran other checks on the same text."""
        return Checked(
            [*self.findings, *other.findings],
            self.scores | other.scores,
            [*self.unsure, *other.unsure],
            [*self.orders, *other.orders],
        )


class SafetyReply(msgspec.Struct, frozen=True):
    """One result a text, in the order of the texts."""

    results: list[Checked]


class ServiceHealth(msgspec.Struct, frozen=True):
    """A service's own word on whether it can take work, and which service of which Tiffin it is.

    The transport fills in the last three.
    """

    ready: bool
    detail: str = ""
    service: str = ""
    version: str = ""
    protocol: int = 0
