"""All checks of texts. The Safety service holds one; it needs numpy and no model.

text ─> patterns ───────────────────────> personal data, secrets
vectors of it ─> trained heads ─────────> injection, toxicity
sentences of a document ─> words ─> unsure ones ─> asked again with their vectors
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tiffin.core.errors import InvalidRequest
from tiffin.core.messages import Checked, Finding, SafetyReply, SafetyRequest
from tiffin.safety import patterns
from tiffin.safety.heads import COMMANDS, INSTRUCTIONS, ORDERS, VECTOR_HEADS, Head
from tiffin.safety.instructions import KINDS as WORDS
from tiffin.safety.instructions import TEMPLATE, matrix, sentences

UNSURE_RATE = 0.2
"""Share of harmless passages with a sentence that is asked about again."""

COMMANDS_RATE = 0.05
"""Share of harmless passages of which a sentence is judged to give orders to the model. To leave it
out costs less than to flag a passage, so that the share may be higher."""

MAX_UNSURE = 8
"""Such sentences of one text, the most suspicious first."""

KINDS = {"injection": ("injection",), "toxicity": ("hate", "offensive")}
"""The heads of a check that reads embeddings. What they find is called by the head's name."""

PATTERNS = {"personal_data": patterns.personal_data, "secrets": patterns.secrets}

Floats = NDArray[np.float32]


class Detector:
    """Holds the shipped heads. Safe for any number of callers."""

    def __init__(self) -> None:
        names = (*VECTOR_HEADS, INSTRUCTIONS, ORDERS, COMMANDS)
        self._heads = {name: Head.shipped(name) for name in names}

    def check(self, request: SafetyRequest) -> SafetyReply:
        """Check every text. Raises InvalidRequest for vectors that do not go with the texts."""
        said = self._said(request)
        return SafetyReply(
            [self._one(text, said[index], request) for index, text in enumerate(request.texts)]
        )

    def _said(self, request: SafetyRequest) -> list[dict[str, float]]:
        """For each text, the highest probability of its vectors by each head that was asked for."""
        said: list[dict[str, float]] = [{} for _ in request.texts]
        if request.vectors is None:
            return said
        rows, owners = _numbers(request, len(self._heads["injection"].weights))
        if request.kind == "sentence":
            return self._sentences(rows, [request.texts[owner] for owner in owners])
        for name in (kind for check in request.checks for kind in KINDS.get(check, ())):
            for owner, p in zip(owners, self._heads[name].probabilities(rows), strict=True):
                said[owner][name] = max(said[owner].get(name, 0.0), float(p))
        return said

    def _sentences(self, rows: Floats, texts: Sequence[str]) -> list[dict[str, float]]:
        """What the two heads for sentences say."""
        words = self._heads[INSTRUCTIONS].logits(matrix(texts))
        orders = self._heads[ORDERS].probabilities(with_words(rows, words))
        commands = self._heads[COMMANDS].probabilities(with_kinds(rows, texts))
        return [
            {ORDERS: float(order), COMMANDS: 1.0 if TEMPLATE.search(text) else float(command)}
            for order, command, text in zip(orders, commands, texts, strict=True)
        ]

    def _one(self, text: str, said: dict[str, float], request: SafetyRequest) -> Checked:
        rate = request.false_positives
        findings: list[Finding] = []
        for check in request.checks:
            for name in (*KINDS.get(check, ()), *((ORDERS,) if check == "injection" else ())):
                p = said.get(name, 0.0)
                if p > self._heads[name].threshold(rate):
                    findings.append(Finding(check, name, p, 0, len(text)))
            if find := PATTERNS.get(check):
                found = find(text)
                said[check] = float(bool(found))
                findings += [Finding(check, one.kind, 1.0, one.start, one.end) for one in found]
        unsure: list[str] = []
        if request.kind == "document" and "injection" in request.checks:
            unsure = self._unsure(text)
        least = self._heads[COMMANDS].threshold(max(rate, COMMANDS_RATE))
        given = said.get(COMMANDS, 0.0) > least
        return Checked(findings, said, unsure, [text] if given else [])

    def _unsure(self, text: str) -> list[str]:
        """The sentences whose words may give orders to the model."""
        head = self._heads[INSTRUCTIONS]
        least = head.threshold(UNSURE_RATE)
        found = list(dict.fromkeys(sentences(text)))
        if not found:
            return []
        p = head.probabilities(matrix(found))
        order = np.argsort(-p, kind="stable")[:MAX_UNSURE]
        return [found[at] for at in order if p[at] > least]


def _numbers(request: SafetyRequest, width: int) -> tuple[Floats, Sequence[int]]:
    """The vectors, one row an owner."""
    assert request.vectors is not None  # noqa: S101  asked before
    try:
        rows = request.vectors.numpy()
    except ValueError as error:
        raise InvalidRequest(f"vectors: {error}", param="vectors") from None
    owners, texts = request.owners, len(request.texts)
    if rows.ndim != 2 or len(rows) != len(owners) or not all(0 <= o < texts for o in owners):  # noqa: PLR2004
        message = f"owners: must name one of {texts} texts for each row of the vectors"
        raise InvalidRequest(message, param="owners")
    if rows.shape[1] != width:
        message = f"vectors: the heads read {width} values, not {rows.shape[1]}"
        raise InvalidRequest(message, param="vectors")
    return rows, owners


def with_words(rows: Floats, logits: Floats) -> Floats:
    """What the head `orders` reads: the vectors (rows, dimensions), and a tenth of the logits."""
    return np.hstack([rows, logits[:, None] / 10]).astype(np.float32)


def with_kinds(rows: Floats, texts: Sequence[str]) -> Floats:
    """What the head `commands` reads: the vectors (rows, dimensions), and which kinds of words."""
    return np.hstack([rows, 0.3 * matrix(texts)[:, :WORDS]]).astype(np.float32)


def flagged(checked: Checked) -> Iterator[str]:
    """The checks that found something, each once."""
    return iter(dict.fromkeys(finding.check for finding in checked.findings))
