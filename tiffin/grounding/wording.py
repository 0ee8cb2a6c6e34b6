"""What can be compared between two texts: words, names and negations.

Words are compared by their first letters, which stands in for a stemmer in every language that
inflects at the end; scripts without spaces are compared by pairs of characters.
"""

# Tables of words are read as lines of text, and hold characters of many scripts.
# ruff: noqa: RUF001, SIM905

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

STEM_CHARS = 5

_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_DENSE = re.compile(r"[぀-ヿ㐀-鿿豈-﫿฀-๿຀-໿က-႟ក-៿]+")
_NAME = re.compile(r"[^\W\d_]?[A-ZÀ-ÖØ-Þ][^\W_]*(?:[-'’][^\W_]+)*")
_OPENS = re.compile(r"(?:^|[.!?:;\n\"“”»«(]\s*)$")

STOP_WORDS = frozenset(
    # English
    "a an the of in on at by to for from with without into onto over under about above below "
    "after before between during through and or but nor so if then than as that this these "
    "those there here it its he she they them their his her him i me my we us our you your "
    "who whom whose which what when where why how is are was were be been being am do does "
    "did done doing have has had having can could may might must shall should will would not "
    "no yes all any both each few more most other some such only own same too very just also "
    "up down out off again further once s t d ll re ve m many much long often one ones get "
    "gets got "
    # the commonest of German, French, Spanish, Italian, Portuguese and Dutch
    "der die das den dem des ein eine einen einem einer und oder ist sind war wie was wer wo "
    "wann von zu mit für auf im am es er sie ich wir le la les un une des du de et ou est "
    "sont qui que quoi où quand comment il elle je nous vous el los las una y o es son quién "
    "qué dónde cuándo cómo en por para con lo gli il di e è sono chi che dove quando come per "
    "nel della o os as um uma do da em no na het een van en is zijn wie wat waar".split()
)

_NEGATION = re.compile(
    r"\b(?:not(?! only)|no(?! (?:more|less|later|fewer|earlier) than)|"
    r"never|none|nobody|nothing|neither|nor|without|cannot|\w+n['’]t|except|exclud\w+|"
    r"forbid\w*|prohibit\w*|unable|refus\w+|lacks?|fail(?:s|ed)? to|"
    r"nicht|kein\w*|nie|niemals|ohne|weder|ne|pas|jamais|aucun\w*|sans|nunca|ningun\w*|sin|non|mai|senza|"
    r"não|sem|niet|geen|nooit|zonder)\b|(?:不|没|無|无|未|ない|ません|ず|لا|لم|ليس|नहीं)",
    re.IGNORECASE,
)


def fold(text: str) -> str:
    """The text in lower case, without differences of width and ligatures."""
    return unicodedata.normalize("NFKC", text).casefold()


def words(text: str) -> frozenset[str]:
    """The stems of the text's content words; pairs of characters for scripts without spaces."""
    return frozenset(_stems(text))


def _stems(text: str) -> Iterator[str]:
    folded = fold(text)
    for run in _DENSE.findall(folded):
        yield from (run[i : i + 2] for i in range(max(1, len(run) - 1)))
    for token in _TOKEN.findall(_DENSE.sub(" ", folded)):
        word = re.sub(r"['’]s?$", "", token)
        if word not in STOP_WORDS:
            yield stem(word)


def stem(word: str) -> str:
    """The first letters, which two forms of a word share. Numbers are kept whole."""
    if word[:1].isdigit():
        return word
    plain = word[:-1] if len(word) > 3 and word.endswith("s") else word  # noqa: PLR2004
    return plain[:STEM_CHARS]


def occurrence(stem: str) -> re.Pattern[str]:
    """Finds the words of a stem in a folded text, much faster than splitting the text does."""
    if _DENSE.match(stem):
        return re.compile(re.escape(stem))
    rest = "" if len(stem) == STEM_CHARS and not stem[:1].isdigit() else r"s?(?![^\W_])"
    return re.compile(rf"(?<![^\W_]){re.escape(stem)}{rest}")


def rarity(texts: Sequence[Collection[str]]) -> dict[str, float]:
    """The weight of every word: its inverse document frequency (Sparck Jones 1972)."""
    counts = Counter(word for text in texts for word in text)
    return {word: math.log(1 + len(texts) / count) for word, count in counts.items()}


def names(text: str) -> frozenset[str]:
    """Words with a capital letter that do not open a sentence, folded."""
    found = (
        match.group()
        for match in _NAME.finditer(text)
        if not _OPENS.search(text, max(0, match.start() - 4), match.start())
        or sum(map(str.isupper, match.group())) > 1
    )
    return frozenset(
        word for name in found if (word := _bare(name)) not in STOP_WORDS and len(word) > 1
    )


def _bare(name: str) -> str:
    return re.sub(r"['’]s?$", "", fold(name))


def negations(text: str) -> int:
    """How many words of the text negate."""
    return len(_NEGATION.findall(fold(text)))
