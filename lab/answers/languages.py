"""How often the embedder finds the sentence that answers where the reranker cannot read.

    python -m lab.answers.languages [MODEL]...

Asks the questions of languages.jsonl, over texts in their own language ("same") and over English
ones ("across"), as `tiffin.pipeline.stages.evidence` does, and once by shared words alone.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lab.answers.data import Case, languages
from lab.answers.report import share
from models.catalog import load_catalog
from models.engines.encoders import embedder
from models.store import Store
from tiffin.grounding.evidence import Passage, Said, candidates, evidence
from tiffin.grounding.language import language_of
from tiffin.pipeline.lexical import overlap

MODELS = ("multilingual-e5-small", "all-minilm-l6-v2")
Cosines = Callable[[str, Sequence[str]], list[float]]


def rank(case: Case, cosines: Cosines) -> int:
    """The place of the sentence that answers among the three that are kept, from 0; 3 if none."""
    scored = zip(case.passages, cosines(case.question, case.passages), strict=True)
    passages = [Passage(index, text, score) for index, (text, score) in enumerate(scored)]
    language = language_of(max(passages, key=lambda item: item.logit).text)
    found = candidates(case.question, passages, language=language)
    said = Said([0.0] * len(found), cosines=cosines(case.question, [item.text for item in found]))
    kept = [item.sentence for item in evidence(case.question, found, said)]
    return next((place for place, text in enumerate(kept) if text in case.supporting), 3)


def by_model(name: str) -> Cosines:
    """What that embedder says."""
    store = Store(Path("~/.cache/tiffin"))
    engine: Any = embedder(store.pull(load_catalog().get(name)), device="cpu", threads=2)

    def cosines(question: str, texts: Sequence[str]) -> list[float]:
        rows = engine.run(engine.tokenize([question, *texts]))
        return (rows[1:] @ rows[0]).tolist()  # type: ignore[no-any-return]

    return cosines


def lines(name: str, cosines: Cosines) -> Iterator[str]:
    """A line for each kind of question and number of sentences; intervals are over languages."""
    for kind in ("across", "same"):
        cases = [case for case in languages() if case.kind == kind]
        places = np.array([rank(case, cosines) for case in cases])
        for count in (1, 2, 3):
            hits = (places < count).tolist()
            yield share(f"{name}, {kind}: best {count}", hits, [case.group for case in cases])


def main() -> None:
    """Compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS)
    for name in parser.parse_args().models:
        print(*lines(name, by_model(name)), sep="\n", flush=True)  # noqa: T201
    words: Cosines = lambda question, texts: overlap(question, texts).tolist()  # noqa: E731
    print(*lines("shared words", words), sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()
