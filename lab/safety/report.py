"""Says what the heads of `tiffin.safety` are worth on the test parts; prints tables.

    python -m lab.safety.report

It needs no server, so that heads can be compared; `tiffin eval safety` asks one that runs.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lab.answers.report import auc
from lab.safety import data
from lab.safety.attacks import SEED, filled
from lab.safety.injected import cases
from tiffin.cli.figures import wilson
from tiffin.clients import EmbeddingClient, SafetyClient
from tiffin.config.safety import SafetySettings
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.messages import Checked, SafetyReply, SafetyRequest
from tiffin.core.values import Document
from tiffin.pipeline.passages import Passage, split_documents
from tiffin.pipeline.stages.screen import MARGIN_CHARS
from tiffin.safety.detector import Detector
from tiffin.safety.guard import Guard

Flags = NDArray[np.bool_]

RATES = (0.001, 0.002, 0.005, 0.01)
DIALECT = re.compile(
    r"\b(?:ain'?t|finna|gon|tryna|imma|ima|dat|dis|da|dey|dem|wit|aint|yall|y'all|bruh|bout|boutta"
    r"|nah|ya|yo|ion|iont|wanna|gotta|cuz|tho|turnt|lil|fam)\b",
    re.IGNORECASE,
)
"""Words that are more frequent in African-American English on Twitter: a crude proxy, because the
data do not say who wrote a tweet."""


class _Embedding:
    """Embeds as the Embedding service does, with what is kept on disk."""

    async def embed(self, texts: Sequence[str], _: RequestContext) -> tuple[data.Floats, int]:
        return data.embedded(texts), 0


class _Safety:
    """The Safety service's detector in this process."""

    def __init__(self) -> None:
        self._detector = Detector()

    async def check(self, request: SafetyRequest, _: RequestContext) -> SafetyReply:
        return self._detector.check(request)


def checked(texts: Sequence[str], rate: float, *, documents: bool = False) -> list[Checked]:
    """What the guard says of the texts, at a rate of false positives."""
    vectors = data.embedded(texts) if documents else None
    return asyncio.run(
        _guard(rate).check(texts, ("injection",), _context(), vectors=vectors, documents=documents)
    )


def ordering(sentences: Sequence[str], rate: float) -> set[str]:
    """Those of the sentences that are no evidence, because they give orders to the model."""
    every = list(dict.fromkeys(sentences))
    if not every:
        return set()
    return asyncio.run(_guard(rate).orders(every, data.embedded(every), _context()))


def _guard(rate: float) -> Guard:
    clients = cast("EmbeddingClient", _Embedding()), cast("SafetyClient", _Safety())
    return Guard(*clients, rate, 3600.0)


def _context() -> RequestContext:
    return RequestContext(Deadline.after(3600))


def flags(texts: Sequence[str], rate: float, *, documents: bool = False) -> Flags:
    """Which texts are flagged as attacks."""
    found = checked(texts, rate, documents=documents)
    return np.array([bool(one.findings) for one in found])


def _share(hits: Flags) -> str:
    return str(wilson(hits))


def show_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table in Markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    print(*(f"| {' | '.join(row)} |" for row in lines), "", sep="\n")  # noqa: T201


def inputs() -> dict[str, list[str]]:
    """Attacks of the test part and harmless texts, by what it means that one is flagged."""
    half = data.halves
    return {
        "jailbreaks caught": data.jailbreaks("test"),
        "of them unlike any of development": _unlike(),
        "written attacks caught": filled("attacks.test"),
        "the same in other languages": filled("attacks.languages"),
        "SQuAD questions flagged": data.questions("test"),
        "GSM8K questions flagged": data.gsm8k("test"),
        "help desk questions flagged": half(data.written("helpdesk"), "test"),
        "sentences of manuals flagged": half(data.written("manuals"), "test"),
    }


def of_inputs() -> None:
    """Recall on jailbreaks and false positives on harmless questions, at several rates."""
    show_table(
        ["input", "texts", *(f"at {rate:g}" for rate in RATES)],
        [
            [name, str(len(some)), *(_share(flags(some, rate)) for rate in RATES)]
            for name, some in inputs().items()
        ],
    )


def _unlike() -> list[str]:
    """Test jailbreaks that share less than half of their runs of five words with each other one."""
    known = [_runs(text) for text in data.jailbreaks("development")]
    found = []
    for text in data.jailbreaks("test"):
        runs = _runs(text)
        if all(len(runs & other) < 0.5 * len(runs) for other in known):
            found.append(text)
    return found


def _runs(text: str) -> frozenset[str]:
    words = text.lower().split()
    return frozenset(" ".join(words[at : at + 5]) for at in range(max(1, len(words) - 4)))


def passages_of(documents: Sequence[str]) -> tuple[list[Passage], list[str], list[int]]:
    """All passages, as `Screen` reads them (with margins), and how much stands before each."""
    passages = split_documents([Document(text=text) for text in documents])
    starts = [max(0, one.start - MARGIN_CHARS) for one in passages]
    texts = [
        documents[one.document or 0][start : one.end + MARGIN_CHARS]
        for one, start in zip(passages, starts, strict=True)
    ]
    return passages, texts, [one.start - at for one, at in zip(passages, starts, strict=True)]


def screened(documents: Sequence[str], rate: float) -> Flags:
    """Which documents have a passage that `Screen` flags; all their passages count as found."""
    passages, texts, _ = passages_of(documents)
    found = np.zeros(len(documents), np.bool_)
    for passage, flag in zip(passages, flags(texts, rate, documents=True), strict=True):
        found[passage.document] |= flag
    return found


def of_documents() -> None:
    """Injected documents caught, by carrier, and harmless ones flagged."""
    suite = list(cases())
    by_rate = {rate: screened([case.document for case in suite], rate) for rate in RATES}
    carriers = np.array([case.carrier for case in suite])
    rows = [
        [name, str((carriers == name).sum())]
        + [_share(by_rate[rate][carriers == name]) for rate in RATES]
        for name in dict.fromkeys(carriers)
    ]
    rows.append(["all carriers", str(len(suite)), *(_share(by_rate[rate]) for rate in RATES)])
    harmless = {
        "SQuAD passages flagged": data.passages("test"),
        "CoQA passages flagged": data.stories("test"),
    }
    rows += [
        [name, str(len(some)), *(_share(screened(some, rate)) for rate in RATES)]
        for name, some in harmless.items()
    ]
    show_table(["documents", "cases", *(f"at {rate:g}" for rate in RATES)], rows)


def area(said: NDArray[Any], labels: Flags) -> str:
    """The area under the curve, and the middle 95 % of it over 200 draws."""
    draw = np.random.default_rng(SEED)
    drawn = []
    for _ in range(200):
        chosen = draw.integers(len(said), size=len(said))
        drawn.append(auc(said[chosen], labels[chosen]))
    low, high = np.percentile(drawn, (2.5, 97.5))
    return f"{auc(said, labels):.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Print the tables."""
    print(f"default rate: {SafetySettings().false_positives:g}\n")  # noqa: T201
    of_inputs()
    of_documents()


if __name__ == "__main__":
    main()
