"""Finds the sentences that answer: which ones to score, and which of those to keep.

The reranker scores passages first. `candidates` picks the sentences of the best ones that are
worth a second, bounded call; `evidence` orders them by what that call said.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tiffin.core.sentences import Sentence, leans, split_sentences
from tiffin.grounding.wording import fold, words

FROM_PASSAGES = 3
MAX_PAIRS = 24
"""Sentences in one call to the reranker: about 0.3 s on two quiet cores."""

LEADING = 8
"""Sentences that the embedder sees too. What the reranker puts further down is hardly ever among
the best three, and to embed it takes as long as to embed the passages."""

COSINE = 10.0
"""What a cosine of 1 is worth in logits. The reranker looks for the question's own words, and the
embedder finds other words for the same thing ("budgie" and "birds"); together they beat either."""

SCALES: Mapping[str, tuple[float, float]] = {"multilingual-e5-small": (5.0, -3.73)}
"""Slope and shift that put another embedder's cosines on the scale of the default's, which `COSINE`
and the head are made for. Those of E5 lie between .7 and .9. Fitted to the mean and the spread of
960 sentences of the development part."""

SAME = 0.9
"""Two sentences that share at least this part of their words say the same."""

NEW_WORD = 2.0
"""Bonus in logits for a second sentence that holds all the words of the question that the first one
lacks."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage with the reranker's logit for it. `index` is the caller's own number."""

    index: int
    text: str
    logit: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence of a passage, and the one before it if there is one."""

    passage: Passage
    sentence: Sentence
    before: Sentence | None = None

    @property
    def text(self) -> str:
        """The text that the reranker scores with the question."""
        return self.sentence.text

    @property
    def window(self) -> str:
        """What the embedder compares with the question: the sentence after its neighbour."""
        start = self.before.start if self.before else self.sentence.start
        return self.passage.text[start : self.sentence.end]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A scored sentence.

    `start` and `end` are code points of the passage. They include the sentence before it if that is
    needed to understand it. `reading` is None of a reranker without readings.
    """

    candidate: Candidate
    logit: float
    start: int
    end: int
    reading: float | None = None

    @property
    def passage(self) -> Passage:
        """The passage that it stands in."""
        return self.candidate.passage

    @property
    def sentence(self) -> str:
        """The sentence alone."""
        return self.candidate.text

    @property
    def text(self) -> str:
        """A verbatim span of the passage: the sentence with what it leans on."""
        return self.passage.text[self.start : self.end]


def candidates(
    question: str,
    passages: Sequence[Passage],
    *,
    limit: int = MAX_PAIRS,
    from_passages: int = FROM_PASSAGES,
    language: str = "en",
) -> list[Candidate]:
    """At most `limit` sentences to score with the question, first those that share its words.

    Equal and near-equal passages and sentences count once.
    """
    asked = words(question)
    found: list[Candidate] = []
    for rank, passage in enumerate(distinct(passages)):
        if rank >= from_passages and len(found) >= limit // 2:
            break
        found += _unseen(_of_passage(passage, language), found)
    if len(found) <= limit:
        return found
    shared = {id(item): len(asked & words(item.text)) for item in found}
    ranks = {item.passage.index: rank for rank, item in enumerate(found)}
    found.sort(key=lambda item: (-shared[id(item)], ranks[item.passage.index]))
    return found[:limit]


def without(
    unwanted: Mapping[int, Sequence[tuple[int, int]]], found: Sequence[Candidate]
) -> list[Candidate]:
    """The candidates that share no character with such a span of their passage, by its `index`.

    None leans on a sentence that does.
    """

    def is_unwanted(sentence: Sentence, passage: Passage) -> bool:
        spans = unwanted.get(passage.index, ())
        return any(start < sentence.end and sentence.start < end for start, end in spans)

    return [
        replace(one, before=None) if one.before and is_unwanted(one.before, one.passage) else one
        for one in found
        if not is_unwanted(one.sentence, one.passage)
    ]


def distinct(passages: Sequence[Passage]) -> list[Passage]:
    """The passages, most relevant first, without those that repeat an earlier one."""
    kept: list[tuple[Passage, frozenset[str]]] = []
    seen: set[str] = set()
    for passage in sorted(passages, key=lambda item: -item.logit):
        folded = " ".join(fold(passage.text).split())
        if folded in seen:
            continue
        seen.add(folded)
        own = words(passage.text)
        if not any(_alike(own, other) and _same_figures(passage, p) for p, other in kept):
            kept.append((passage, own))
    return [passage for passage, _ in kept]


def _same_figures(one: Passage, other: Passage) -> bool:
    return _digits(one.text) == _digits(other.text)


def _digits(text: str) -> frozenset[str]:
    return frozenset(word for word in words(text) if word[:1].isdigit())


def _of_passage(passage: Passage, language: str) -> Iterator[Candidate]:
    before = None
    for sentence in split_sentences(passage.text, language):
        yield Candidate(passage, sentence, before)
        before = sentence


def _unseen(new: Iterator[Candidate], known: Sequence[Candidate]) -> Iterator[Candidate]:
    seen = {_plain(item.text) for item in known}
    for item in new:
        if (plain := _plain(item.text)) not in seen:
            seen.add(plain)
            yield item


def _plain(text: str) -> str:
    return " ".join(fold(text).split()).strip(" .!?-*•")


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    both = len(one & other)
    return both > 0 and both >= SAME * max(len(one), len(other))


@dataclass(frozen=True, slots=True)
class Said:
    """What the models said of sentences, in their order.

    The reranker gives `logits` and, if it has them, `readings` (`models.engines.reading`), and the
    embedder `cosines` of the question and each `window`.
    """

    logits: Sequence[float]
    readings: Sequence[float] | None = None
    cosines: Sequence[float] | None = None

    def worths(self) -> list[float]:
        """One number a sentence: the higher, the rather it answers."""
        none = [0.0] * len(self.logits)
        rows = zip(self.logits, self.readings or none, self.cosines or none, strict=True)
        return [logit + reading + COSINE * cosine for logit, reading, cosine in rows]

    def of(self, kept: Sequence[int]) -> "Said":
        """The same of some of the sentences."""
        logits, readings = (
            column and [column[index] for index in kept] for column in (self.logits, self.readings)
        )
        return Said(logits or (), readings)


def leading(
    scored: Sequence[Candidate], said: Said, limit: int = LEADING
) -> tuple[list[Candidate], Said]:
    """The candidates that may be evidence, with what the reranker said, in the order of both."""
    worths = said.worths()
    kept = sorted(sorted(range(len(scored)), key=lambda index: -worths[index])[:limit])
    return [scored[index] for index in kept], said.of(kept)


def evidence(
    question: str, scored: Sequence[Candidate], said: Said, *, limit: int = 3
) -> list[Evidence]:
    """The best sentences, best first, each with the one before it if it cannot be read without.

    After the first, a sentence that holds words of the question which those before it lack is
    worth more: a question may need two passages.
    """
    asked = words(question)
    readings: Sequence[float | None] = said.readings or [None] * len(scored)
    rows = zip(scored, said.worths(), said.logits, readings, strict=True)
    left = sorted(rows, key=lambda item: -item[1])
    chosen: list[Evidence] = []
    missing = asked
    while left and len(chosen) < limit:
        bonus = NEW_WORD / len(asked) if chosen and asked else 0.0
        gains = [value + bonus * len(missing & words(item.text)) for item, value, *_ in left]
        item, _, logit, reading = left.pop(gains.index(max(gains)))
        chosen.append(_with_context(item, logit, reading))
        missing = missing - words(item.text)
    return chosen


def _with_context(item: Candidate, logit: float, reading: float | None) -> Evidence:
    start = item.sentence.start
    if item.before is not None and leans(item.text):
        start = item.before.start
    return Evidence(item, logit, start, item.sentence.end, reading)
