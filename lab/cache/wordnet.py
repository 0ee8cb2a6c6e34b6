"""Makes what is taken from WordNet 3.0: `tiffin/grounding/synonyms.txt`, and traps.

    python -m lab.cache.wordnet FOLDER     # of WordNet's files, /usr/share/wordnet on Debian

A trap is a question of SQuAD with one word replaced by its opposite or its sister: another kind of
the same thing ("puppy" for "kitten", "sold" for "bought").
"""

import argparse
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lab.answers.data import SEED, squad
from lab.cache.data import OTHER_WORDS, PARAPHRASES
from tiffin.grounding.synonyms import TABLE
from tiffin.grounding.wording import STOP_WORDS, stem

PARTS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
TAGS = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}
SENSES = 4
"""Of a word, only its commonest senses: others are not what a question means by it."""

KNOWN = 5
"""How often a word is found in WordNet's own texts, to be put into a trap."""

LICENCE = """\
# Words that mean the same, opposites and irregular forms: taken from WordNet 3.0 by
# `lab.cache.wordnet`; `tiffin.grounding.synonyms` reads them. WordNet 3.0 Copyright 2006 by
# Princeton University. All rights reserved. Permission to use, copy, modify and distribute this
# software and database and its documentation for any purpose and without fee or royalty is hereby
# granted, provided that you agree to comply with the copyright notice and statements, including the
# disclaimer, and that the same appear on all copies. THIS SOFTWARE AND DATABASE IS PROVIDED "AS IS"
# AND PRINCETON UNIVERSITY MAKES NO REPRESENTATIONS OR WARRANTIES, EXPRESS OR IMPLIED. The name of
# Princeton University or Princeton may not be used in advertising or publicity pertaining to
# distribution of the software and/or database. Title to copyright in this software, database and
# any associated documentation shall at all times remain with Princeton University.
"""
_ENDS = (("ing", ""), ("ed", ""), ("s", ""), ("", ""))


@dataclass(frozen=True)
class Synset:
    """Words of one meaning. `pointers` are (symbol, part of speech, offset, source, target)."""

    words: tuple[str, ...]
    pointers: tuple[tuple[str, str, str, int, int], ...]


@dataclass(frozen=True)
class WordNet:
    """The files of a folder. Keys are the part of speech and an offset, or a word."""

    folder: Path

    @cached_property
    def synsets(self) -> dict[tuple[str, str], Synset]:
        """Every meaning."""
        return {
            (tag, fields[0]): _synset(fields)
            for name, tag in PARTS.items()
            for fields in self._lines(f"data.{name}")
        }

    @cached_property
    def senses(self) -> dict[tuple[str, str], list[str]]:
        """The meanings of a word, the commonest first."""
        return {
            (tag, fields[0]): fields[6 + int(fields[3]) :]
            for name, tag in PARTS.items()
            for fields in self._lines(f"index.{name}")
        }

    @cached_property
    def counts(self) -> Counter[str]:
        """How often a word was found in WordNet's own texts."""
        counts: Counter[str] = Counter()
        for key, _, count in self._lines("cntlist.rev"):
            counts[key.split("%")[0]] += int(count)
        return counts

    @cached_property
    def irregular(self) -> dict[str, str]:
        """Irregular forms, such as "drew", with the words that they are of."""
        rows = (fields for name in PARTS for fields in self._lines(f"{name}.exc"))
        return {form: word for form, word, *_ in rows if form.isalpha() and self.common(word)}

    def common(self, word: str) -> bool:
        """Whether it is a single word that occurs in texts."""
        return word.isalpha() and self.counts[word] > 0

    def sense(self, tag: str, word: str, offset: str) -> int:
        """How many commoner meanings the word has; large if it is not one of its meanings."""
        known = self.senses.get((tag, word), [])
        return known.index(offset) if offset in known else len(known) + SENSES

    def _lines(self, name: str) -> Iterator[list[str]]:
        for line in (self.folder / name).read_text(encoding="utf-8").splitlines():
            if not line.startswith("  "):
                yield line.split(" | ")[0].split()


def _synset(fields: list[str]) -> Synset:
    count = int(fields[3], 16)
    words = tuple(fields[4 + 2 * at].partition("(")[0].lower() for at in range(count))
    at = 5 + 2 * count
    rows = [fields[at + 4 * i : at + 4 * i + 4] for i in range(int(fields[at - 1]))]
    pointers = ((row[0], row[2], row[1], *bytes.fromhex(row[3])) for row in rows)
    return Synset(words, tuple(pointers))


def table(wordnet: WordNet) -> Iterator[str]:
    """The lines of `synonyms.txt`: what means the same, what is opposite, irregular forms."""
    same: set[str] = set()
    opposite: set[str] = set()
    for (tag, offset), synset in wordnet.synsets.items():
        common = _common(wordnet, tag, offset, synset.words)
        if len({stem(word) for word in common}) > 1:
            same.add(" ".join(sorted(common)))
        for symbol, other_tag, other, source, target in synset.pointers:
            if symbol not in "!+" or not source:
                continue
            pair = (
                _common(wordnet, tag, offset, synset.words[source - 1 : source]),
                _common(wordnet, other_tag, other, _words(wordnet, other_tag, other, target)),
            )
            if all(pair) and stem(min(pair[0])) != stem(min(pair[1])):
                chosen = same if symbol == "+" else opposite
                chosen.add(" ".join(sorted(pair[0] | pair[1])))
    yield from (f"= {line}" for line in sorted(same))
    yield from (f"! {line}" for line in sorted(opposite))
    yield from (f"~ {form} {word}" for form, word in sorted(wordnet.irregular.items()))


def _words(wordnet: WordNet, tag: str, offset: str, number: int) -> tuple[str, ...]:
    synset = wordnet.synsets.get((tag.replace("s", "a"), offset))
    return synset.words[number - 1 : number] if synset else ()


def _common(wordnet: WordNet, tag: str, offset: str, words: tuple[str, ...]) -> set[str]:
    """Those of the words of which this is a common meaning."""
    tag = tag.replace("s", "a")
    return {
        word for word in words if wordnet.common(word) and wordnet.sense(tag, word, offset) < SENSES
    }


def traps(wordnet: WordNet) -> Iterator[dict[str, str]]:
    """SQuAD's questions and their paraphrases with one word replaced, if a word can be."""
    kinds = defaultdict(set)
    for (tag, offset), synset in wordnet.synsets.items():
        for symbol, _, above, _, _ in synset.pointers:
            if symbol == "@":
                kinds[tag, above].add(offset)
    reworded = map(json.loads, PARAPHRASES.open(encoding="utf-8"))
    texts = [("other word", item.id, item.text) for item in squad()]
    texts += [("reworded", row["id"], row["paraphrase"]) for row in reworded]
    for kind, name, text in texts:
        draw = random.Random(f"{SEED} {kind} {name}")  # noqa: S311
        found = list(re.finditer(r"(?<=[a-z,] )[a-z]{4,}\b", text))
        draw.shuffle(found)
        for match in found:
            if others := sorted(_others(wordnet, kinds, match.group(), text)):
                new = draw.choice(others)
                trap = text[: match.start()] + new + text[match.end() :]
                yield {"kind": kind, "id": name, "trap": trap, "was": match.group(), "is": new}
                break


def _others(
    wordnet: WordNet, kinds: Mapping[tuple[str, str], set[str]], form: str, text: str
) -> set[str]:
    """Opposites or sisters of a word in the form that it has in the text."""
    for ending, _ in _ENDS:
        word = form.removesuffix(ending)
        tag = {"ing": "v", "ed": "v"}.get(ending) or _commonest(wordnet, word)
        if not form.endswith(ending) or {form, word} & STOP_WORDS or not tag:
            continue
        offsets = wordnet.senses.get((tag, word), [])[:1]
        near = {other for offset in wordnet.senses.get((tag, word), [])
                for other in wordnet.synsets[tag, offset].words}  # fmt: skip
        found = set()
        for offset in offsets:
            for symbol, _, other, _, target in wordnet.synsets[tag, offset].pointers:
                if symbol == "!":
                    found |= set(_words(wordnet, tag, other, target))
                elif symbol == "@" and not found:
                    for sister in kinds[tag, other] - {offset}:
                        found |= _common(wordnet, tag, sister, wordnet.synsets[tag, sister].words)
        known = {w for w in found if w.isalpha() and wordnet.counts[w] >= KNOWN and w not in near}
        regular = {w for w in known if not ending or w[-1] not in "eysxzh"}
        if fresh := {w + ending for w in regular if w not in text.lower()}:
            return fresh
    return set()


def _commonest(wordnet: WordNet, word: str) -> str:
    """The part of speech in which the word has most meanings; none if it is no word."""
    sizes = {tag: len(wordnet.senses.get((tag, word), [])) for tag in "nva"}
    best = max(sizes, key=lambda tag: sizes[tag])
    return best if sizes[best] else ""


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    wordnet = WordNet(parser.parse_args().folder)
    TABLE.write_text(LICENCE + "\n".join(table(wordnet)) + "\n", encoding="utf-8")
    OTHER_WORDS.write_text("".join(json.dumps(row) + "\n" for row in traps(wordnet)))


if __name__ == "__main__":
    main()
