"""Numbers, units and dates in a text, whether in digits or in English words.

"A two-year warranty" and "2 years" are the same quantity.
"""

# Tables of words are read as lines of text.
# ruff: noqa: SIM905

import re
import unicodedata
from collections.abc import Iterator

from tiffin.grounding.wording import fold

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
).split()
_TENS = dict(
    zip(
        "twenty thirty forty fifty sixty seventy eighty ninety".split(),
        range(20, 100, 10),
        strict=True,
    )
)
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "dozen": 12}
_ORDINALS = {
    "first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7,
    "eighth": 8, "ninth": 9, "tenth": 10, "eleventh": 11, "twelfth": 12, "once": 1, "twice": 2,
    "half": 0.5,
}  # fmt: skip
_WORD_VALUES: dict[str, float] = (
    {word: value for value, word in enumerate(_UNITS)} | _TENS | _ORDINALS
)
_DOUBTFUL = {"one", "first", "second", "once", "half"}
_MONTHS = (
    "january february march april may june july august september october november december"
).split()

_NUMBER = re.compile(r"\d+(?:[.,' \u00a0\u202f]\d{3})+(?!\d)(?:[.,]\d+)?|\d+(?:[.,]\d+)?")
_WORDS_OR_NUMBERS = re.compile(rf"(?P<number>{_NUMBER.pattern})|(?P<word>[^\W\d_]+)")

_UNIT_NAMES = {
    name: unit
    for unit, names in {
        "year": "years yr yrs annum jahr jahre",
        "month": "months monat monate",
        "week": "weeks woche wochen",
        "day": "days tag tage",
        "hour": "hours hr hrs h stunde stunden",
        "minute": "minutes min mins",
        "second": "seconds sec secs",
        "metre": "metres meter meters m",
        "kilometre": "kilometres kilometer kilometers km",
        "mile": "miles mi",
        "foot": "feet ft",
        "inch": "inches",
        "centimetre": "centimetres centimeter centimeters cm",
        "millimetre": "millimetres millimeter millimeters mm",
        "crown": "crowns",
        "cent": "cents",
        "kilogram": "kilograms kg kilo kilos",
        "gram": "grams g",
        "tonne": "tonnes ton tons t",
        "litre": "litres liter liters l",
        "percent": "% pct",
        "euro": "euros eur €",
        "dollar": "dollars usd $",
        "pound": "pounds gbp £",
        "degree": "degrees °",
        "gb": "gigabyte gigabytes",
        "wh": "watt-hours",
        "kilowatt": "kilowatts kw",
        "db": "decibel decibels",
        "bar": "bars",
    }.items()
    for name in (unit, *names.split())
}
_UNIT_AFTER = re.compile(r"[\s-]{0,2}(%|€|\$|£|°|[^\W\d_]+)")
_UNIT_BEFORE = re.compile(r"(€|\$|£)\s?$")


def numbers(text: str) -> frozenset[float]:
    """Every number, in digits or in English words: "1,450", "two-year", "twenty-five thousand"."""
    return frozenset(value for value, _ in quantities(text))


def quantities(text: str) -> frozenset[tuple[float, str | None]]:
    """Numbers, each with its unit if the table knows that."""
    plain = unicodedata.normalize("NFKC", text)
    return frozenset((value, _unit(plain, start, end)) for start, end, value in _values(plain))


def _unit(text: str, start: int, end: int) -> str | None:
    before = _UNIT_BEFORE.search(text, max(0, start - 2), start)
    match = before or _UNIT_AFTER.match(text, end)
    return _UNIT_NAMES.get(match.group(1).casefold()) if match else None


def _values(text: str) -> Iterator[tuple[int, int, float]]:
    """Start, end and value of every number; words that make one number are read together."""
    run: list[re.Match[str]] = []
    for match in _WORDS_OR_NUMBERS.finditer(text):
        if run and not _continues(run, match, text):
            yield from _read(run)
            run = []
        if run or _begins(match, text):
            run.append(match)
    yield from _read(run)


def _begins(match: re.Match[str], text: str) -> bool:
    """Whether it is a number. "One", "second" and the like are one only before a unit."""
    word = match["word"] and match["word"].casefold()
    if word not in _DOUBTFUL:
        return match["number"] is not None or word in _WORD_VALUES
    unit = _UNIT_AFTER.match(text, match.end())
    return unit is not None and unit.group(1).casefold() in _UNIT_NAMES


def _continues(run: list[re.Match[str]], match: re.Match[str], text: str) -> bool:
    """Whether the word belongs to the number that the run spells: "two hundred and five"."""
    if not match["word"] or not re.fullmatch(r"\s?-?\s?", text[run[-1].end() : match.start()]):
        return False
    word, last = match["word"].casefold(), run[-1].group().casefold()
    if word in _SCALES:
        return last != "and" and last not in _ORDINALS
    if word == "and":
        return last in _SCALES and _WORDS_OR_NUMBERS.match(text, match.end() + 1) is not None
    below_last = last in _SCALES or last == "and" or (last in _TENS and word in _UNITS[1:10])
    return below_last and word in _WORD_VALUES and not run[0]["number"]


def _read(run: list[re.Match[str]]) -> Iterator[tuple[int, int, float]]:
    """The value of a run: its scales multiply what stands before them."""
    while run and run[-1].group().casefold() == "and":
        run = run[:-1]
    if not run:
        return
    total = current = 0.0
    for match in run:
        word = match.group().casefold()
        if match["number"]:
            current = _digits(word)
        elif (scale := _SCALES.get(word)) is None:
            current += _WORD_VALUES.get(word, 0.0)
        elif scale >= _SCALES["thousand"]:
            total, current = total + current * scale, 0.0
        else:
            current *= scale
    yield run[0].start(), run[-1].end(), total + current


def _digits(raw: str) -> float:
    """The value: a last separator before other than three digits is a decimal one."""
    plain = re.sub(r"[ '\u00a0\u202f]", "", raw)
    head, separator, tail = _last_separator(plain)
    grouped = len(tail) == 3 and head.lstrip("0") != ""  # noqa: PLR2004
    if not separator or grouped:
        return float(re.sub(r"[.,]", "", plain))
    return float(re.sub(r"[.,]", "", head) + "." + tail)


def _last_separator(text: str) -> tuple[str, str, str]:
    at = max(text.rfind("."), text.rfind(","))
    return (text, "", "") if at < 0 else (text[:at], text[at], text[at + 1 :])


def dates(text: str) -> frozenset[str]:
    """Names of months next to a number."""
    folded = fold(text)
    return frozenset(
        month for month in _MONTHS if re.search(rf"\d\W{{0,2}}\s?{month}|{month}\s+\d", folded)
    )


_RATE = re.compile(
    r"\b(?:per|each|every) ([^\W\d_]+)|\b(?:(hour|dai|week|month|year)ly|(annual)(?:ly)?)\b"
)
_EACH = {"dai": "day", "annual": "year"}


def rates(text: str) -> frozenset[str]:
    """What something is counted by: "day" of "per day", "each day" and "daily"."""
    found = (
        match.group(1) or match.group(2) or match.group(3) for match in _RATE.finditer(fold(text))
    )
    return frozenset(_EACH.get(word, _UNIT_NAMES.get(word, word)) for word in found)
