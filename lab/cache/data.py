"""Pairs of questions: those that one answer fits, and traps, which look alike and ask for another.

Without evidence: the pairs of `fow-cache` (CC BY 4.0), read out of the wheel as the zip file it is.
With evidence: SQuAD's questions (`lab.answers.data`), with the paraphrases next to this
file, and near-collisions that `traps` derives by rule.
"""

import hashlib
import json
import random
import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, product
from pathlib import Path

from lab.answers.data import SEED, Part, Question, fetched, part_of, squad
from tiffin.cli.answer_figures import holds
from tiffin.grounding.wording import names, words

PACKAGE = "fow-cache==0.1.0"
WHEEL = "fow_cache-0.1.0-py3-none-any.whl"
WHEEL_SHA256 = "9857fda26ab05141bc982c85a34f5e7ae52b81514979a8a8fc64d8d6f1646de1"
PARAPHRASES = Path(__file__).with_name("paraphrases.jsonl")
OTHER_WORDS = Path(__file__).with_name("other_words.jsonl")
NEAR_MISSES = Path(__file__).with_name("near_misses.jsonl")
JUDGED = Path(__file__).with_name("judged.jsonl")
"""What two judges say of the pairs that no guard tells apart: does the kept answer fit?"""
FOR_TRAINING = Path(__file__).with_name("for_training.jsonl")
"""More paraphrases and near misses of the development part, which nothing is measured on."""

IN_OTHER_WORDS = {"reworded", "near miss"}
DOCUMENTS = 3
"""Passages that a question of SQuAD is asked over: its own and others of its article."""

ANTONYMS = (
    "first last|most least|before after|oldest newest|oldest youngest|largest smallest|"
    "biggest smallest|highest lowest|began ended|begin end|start end|increase decrease|won lost|"
    "win lose|north south|northern southern|east west|eastern western|early late|maximum minimum|"
    "more fewer|above below|inside outside|major minor|son father|brother sister|king queen|"
    "include exclude|allowed forbidden|longest shortest|best worst|arrived left|public private|"
    "old new|support oppose|for against|gained lost|rise fall|beginning end|high low|hot cold|"
    "coldest hottest|strong weak|positive negative|internal external|men women|born buried"
)
SCOPES = (
    "in Germany", "for children", "in the 18th century", "on Sundays", "outside of the city",
    "for members", "during the war", "according to its critics", "in the north", "for foreigners",
)  # fmt: skip
ASKED = {
    "When": ("Where", "Why", "How"), "Where": ("When", "Why"), "Who": ("When", "Where"),
    "How many": ("Which", "Whose"), "What year": ("What city",), "In what year": ("In what city",),
    "Why": ("When", "Where"), "How": ("Why", "When"),
}  # fmt: skip
_AUXILIARY = re.compile(
    r"\b(did|does|do|is|are|was|were|can|could|will|would|has|have|had)\b( \w+)?", re.IGNORECASE
)
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][\w'’-]+(?: [A-Z][\w'’-]+)*")  # noqa: RUF001


@dataclass(frozen=True)
class Pair:
    """`asked` was asked before, `again` is asked now; `fits` says whether one answer fits both."""

    kind: str
    group: str
    asked: str
    again: str
    fits: bool
    passages: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    """To `asked`."""


def judged(pair: Pair) -> Pair:
    """The pair by what both judges say of it; as it was made if they differ or did not read it."""
    votes = _votes().get(id_of(pair), [pair.fits])
    if len(set(votes)) > 1 or votes[0] == pair.fits:
        return pair
    return replace(pair, kind="the same" if votes[0] else "another", fits=votes[0])


def id_of(pair: Pair) -> str:
    """A name for both questions, in that order."""
    return hashlib.sha256(f"{pair.asked}\0{pair.again}".encode()).hexdigest()[:16]


@cache
def _votes() -> dict[str, list[bool]]:
    rows = map(json.loads, JUDGED.open(encoding="utf-8"))
    return {row["id"]: row["fits"] for row in rows}


def public(part: Part) -> list[Pair]:
    """Half of the 300 + 300 pairs of fow-cache, by the hash of a pair's name."""
    with zipfile.ZipFile(fetched(PACKAGE, WHEEL, WHEEL_SHA256)) as archive:
        lines = archive.read("fow_cache/data/pairs.jsonl").decode().splitlines()
    rows = map(json.loads, lines)
    return [
        Pair(row["category"], row["id"], row["a"], row["b"], row["same_answer"])
        for row in rows
        if part_of(row["id"]) == part
    ]


def paraphrases(part: Part) -> Iterator[Pair]:
    """SQuAD's questions in other words, each over the passages of the original."""
    others = {row["id"]: row for row in map(json.loads, PARAPHRASES.open(encoding="utf-8"))}
    for item, passages in _with_passages(part):
        if row := others.get(item.id):
            kind = "later paraphrase" if row.get("set") else "paraphrase"
            yield _pair(kind, item, row["paraphrase"], passages, fits=True)


def wordings(part: Part) -> Iterator[Pair]:
    """All wordings of each question next to each other, and each next to all near misses of it.

    For training: those of `FOR_TRAINING` are among them.
    """
    said, missed = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for path in (PARAPHRASES, NEAR_MISSES, FOR_TRAINING):
        for row in map(json.loads, path.open(encoding="utf-8")):
            said[row["id"]] += [row["paraphrase"]] if "paraphrase" in row else []
            missed[row["id"]] += [row["trap"]] if "trap" in row else []
    for item in squad():
        if part_of(item.article) == part:
            ways = [item.text, *said[item.id]]
            for one, other in combinations(ways, 2):
                yield Pair("paraphrase", item.article, one, other, fits=True)
            for one, trap in product(ways, missed[item.id]):
                yield Pair("near miss", item.article, one, trap, fits=False)


def near_repeats(part: Part, limit: int) -> Iterator[Pair]:
    """The same questions as people type them a second time."""
    for number, (item, passages) in enumerate(_with_passages(part)):
        if number < limit:
            plain = item.text.rstrip("?. ")
            again = (
                plain.lower(),
                f"{item.text} Please tell me.",
                f"Hi, {plain[:1].lower()}{plain[1:]}??",
                f"I would like to know: {item.text}",
            )[number % 4]
            yield _pair("near repeat", item, again, passages, fits=True)


def traps(part: Part, limit: int, skip: int = 0) -> Iterator[Pair]:
    """Near-collisions of the part's questions: `limit` of each kind, after the first `skip`.

    Derived by rule, and of SQuAD itself: two questions of one article, or on one passage. Of the
    hardest kinds, which are in other words, twice as many.
    """
    seen: Counter[str] = Counter()
    for pair in _all_traps(part):
        seen[pair.kind] += 1
        most = 2 * limit if pair.kind in IN_OTHER_WORDS else limit
        if skip < seen[pair.kind] <= skip + most:
            yield pair


def _all_traps(part: Part) -> Iterator[Pair]:
    rows = list(map(json.loads, OTHER_WORDS.open(encoding="utf-8")))
    other = {(row["id"], row["kind"]): row["trap"] for row in rows}
    for row in map(json.loads, NEAR_MISSES.open(encoding="utf-8")):
        other[row["id"], "near miss"] = row["trap"]
    for item, passages in _with_passages(part):
        for kind in ("other word", "reworded", "near miss"):
            if again := other.get((item.id, kind)):
                yield _pair(kind, item, again, passages, fits=False)
        draw = random.Random(f"{SEED} trap {item.id}")  # noqa: S311
        for kind, again in _derived(item, draw, part):
            yield _pair(kind, item, again, passages, fits=False)
    yield from _natural(part)


def _derived(item: Question, draw: random.Random, part: Part) -> Iterator[tuple[str, str]]:
    text = item.text
    if found := re.search(r"\d+", text):
        other = str(int(found.group()) + draw.randint(1, 9))
        yield "number", text[: found.start()] + other + text[found.end() :]
    if found := _NAME.search(text):
        known = _names_of(part, item.article) - {found.group()}
        fresh = sorted(name for name in known if not words(name) & words(text))
        if fresh:
            yield "name", text[: found.start()] + draw.choice(fresh) + text[found.end() :]
    if found := _AUXILIARY.search(text):
        yield "negation", f"{text[: found.end()]} not{text[found.end() :]}"
    for opening, others in ASKED.items():
        if text.startswith(f"{opening} "):
            yield "asked for", draw.choice(others) + text.removeprefix(opening)
            break
    if swapped := _antonym(text):
        yield "opposite", swapped
    yield "scope", f"{text.rstrip('?. ')} {draw.choice(SCOPES)}?"


def _antonym(text: str) -> str | None:
    for one, other in (pair.split() for pair in ANTONYMS.split("|")):
        for word, instead in ((one, other), (other, one)):
            pattern = re.compile(rf"\b{word}\b")
            if pattern.search(text):
                return pattern.sub(instead, text, count=1)
    return None


def _natural(part: Part) -> Iterator[Pair]:
    """Two questions with different answers: all on one passage, and of one article the nearest.

    The nearest shares most words.
    """
    rows = list(_with_passages(part))
    for at, (item, passages) in enumerate(rows):
        elsewhere = []
        for other, _ in rows[at + 1 :]:
            if other.article != item.article or _share_answer(item, other):
                continue
            if other.passage == item.passage:
                yield _pair("same passage", item, other.text, passages, fits=False)
            else:
                elsewhere.append(other)
        if elsewhere:
            asked = words(item.text)
            nearest = max(elsewhere, key=lambda other: len(asked & words(other.text)))
            both = dict.fromkeys((item.passage, nearest.passage, *passages))
            chosen = tuple(both)[:DOCUMENTS]
            yield _pair("same article", item, nearest.text, chosen, fits=False)


def _share_answer(one: Question, other: Question) -> bool:
    return any(holds(a, [b]) or holds(b, [a]) for a in one.answers for b in other.answers)


def _pair(kind: str, item: Question, again: str, passages: tuple[str, ...], *, fits: bool) -> Pair:
    return Pair(kind, item.article, item.text, again, fits, passages, item.answers)


def _with_passages(part: Part) -> Iterator[tuple[Question, tuple[str, ...]]]:
    """The part's questions, each with its passage among others of its article."""
    rows = [item for item in squad() if part_of(item.article) == part]
    for item in rows:
        draw = random.Random(f"{SEED} {item.id}")  # noqa: S311  a sample, not a secret
        near = [p for p in _passages(rows, item.article) if p != item.passage]
        chosen = [item.passage, *draw.sample(near, min(len(near), DOCUMENTS - 1))]
        yield item, tuple(draw.sample(chosen, len(chosen)))


def _passages(rows: Sequence[Question], article: str) -> list[str]:
    return list(dict.fromkeys(row.passage for row in rows if row.article == article))


def _names_of(part: Part, article: str) -> set[str]:
    rows = [item for item in squad() if part_of(item.article) == part and item.article == article]
    return {found for row in rows for found in _NAME.findall(row.text) if names(f"of {found}")}
