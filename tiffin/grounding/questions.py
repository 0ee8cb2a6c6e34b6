"""What kind of answer a question asks for, and whether a text has that kind in it."""

import re
from typing import Literal

from tiffin.grounding.quantities import dates, numbers, quantities
from tiffin.grounding.wording import fold, names, words

Asks = Literal["person", "time", "amount", "place", "yes-no", "other"]

_YES_NO = re.compile(
    r"(?:do|does|did|is|are|was|were|am|can|could|may|might|must|will|would|shall|should|has|have|had|"
    r"isn't|aren't|doesn't|don't|can't|ist|sind|kann|darf|muss|hat|haben|gibt es|est-ce|puis-je|"
    r"peut-on|puedo|puede|hay|posso|può|posso|pode)\b"
)
_TIME = re.compile(
    r"\b(?:when|what (?:year|date|day|month|time|century|decade)|"
    r"which (?:year|day|month|century|decade)|"
    r"how (?:long|often|soon|old|late|early)|since when|until when|wann|quand|cuándo|quando)\b"
)
_AMOUNT = re.compile(
    r"\b(?:how (?:many|much|far|high|tall|deep|wide|heavy|big|large|fast|hot|warm|loud|cold|thick)|"
    r"what (?:percent\w*|number|price|share|proportion|size|weight|temperature|distance|amount)|"
    r"what .{0,40}\b(?:cost|salary|price|premium|fee|fine|length|"
    r"width|height|weight|speed|population)\b|"
    r"wie ?viele?|wie (?:hoch|teuer|weit|schwer|groß)|combien|cuánt[oa]s?|quant[oaei]s?)\b"
)
_PERSON = re.compile(r"\b(?:who|whom|whose|wer|wem|wen|qui|quién|quem|chi)\b")
_PLACE = re.compile(r"\b(?:where|wo|où|dónde|dove|onde|which (?:city|country|state|town))\b")


def asks(question: str) -> Asks:
    """The kind of answer that the question asks for."""
    text = fold(question).strip()
    # The question may begin with a clause: "If I move, do I get my money back?"
    for part in (text, *re.split(r"[,:.]\s+", text)[1:]):
        if _YES_NO.match(part):
            return "yes-no"
    kinds: tuple[tuple[Asks, re.Pattern[str]], ...] = (
        ("amount", _AMOUNT),
        ("time", _TIME),
        ("person", _PERSON),
        ("place", _PLACE),
    )
    return next((kind for kind, pattern in kinds if pattern.search(text)), "other")


_FIRST = re.compile(r"\b(?:who|whom|whose|when|where|why|how|what|which)\b")
_CLAUSE = re.compile(rf"(?:when|where|how) (?!(?:{_YES_NO.pattern})|many|much|long|often|far)")
_LASTS = re.compile(
    r"how (?:long|old)|what age|"
    r"how (?:many|much) (?:time|years?|months?|weeks?|days?|hours?|minutes?)"
)
_WHY = re.compile(
    r"why|how come|what (?:is|was) the reason|(?:what|which) (?:reason|(?:has )?caus)"
)
_MEASURE = re.compile(
    r"(?:what|which) (?:volume|quantity|part|proportion)\b|"
    r"(?:what|which) (?:is|are|was|were) .{0,40}\b"
    r"(?:number|amount|percentage|share|rate|distance|size|area|depth|toll|costs?|dimensions?)"
    r" (?:of|between|in|that)\b"
)
_YEAR = re.compile(
    r"(?:what|which) (?:season|period|times|(?:is|was) the (?:\w+ )?(?:year|date|day)\b)"
)
_MANNER = re.compile(r"(?:what|which) (?:way|manner)\b")
_CALLED = re.compile(
    r"what (?:is|are|was|were) (?:the names? of|.* (?:called|named)\b)|"
    r"how (?:is|was|were|are) .* called"
)
_OPENS = rf"(?:what|which) (?:(?!(?:{_YES_NO.pattern})|in|of)\w+ )?"
_WHO = re.compile(
    rf"{_OPENS}(?:people|person|m[ae]n|wom[ae]n|child|son|daughter|brother|sister|president|leader|"
    r"general|adviser|advisor|player|writer|author|poet|artist|actor|designer|engineer|architect|"
    r"explorer|scientist|european|investor)s?\b"
)
_WHERE = re.compile(
    rf"{_OPENS}(?:places?|city|cities|country|countries|state|town|nation)\b|"
    r"what (?:is|was) .{0,60}\b(?:capital|city|town|country)\b"
)
_NOUN = re.compile(
    r"(?:what|which) (?!(?:is|are|was|were|did|do|does|can|could|will|would|has|have|had)\b)\w"
)
_PLAIN: dict[str, "Sought"] = {
    "who": "person", "whom": "person", "whose": "person", "when": "time", "where": "place",
    "how": "manner",
}  # fmt: skip

Sought = Literal[
    "yes-no",
    "reason",
    "amount",
    "duration",
    "time",
    "person",
    "place",
    "manner",
    "name",
    "thing",
    "what",
]
_SOUGHT: tuple[tuple[Sought, re.Pattern[str]], ...] = (
    ("reason", _WHY), ("duration", _LASTS), ("manner", _MANNER), ("name", _CALLED),
    ("time", _YEAR), ("amount", _MEASURE), ("amount", _AMOUNT), ("person", _WHO), ("place", _WHERE),
)  # fmt: skip
# Kinds that two wordings of one question may ask for: a name may be a person's or a place's.
_ALIKE = frozenset(
    map(
        frozenset,
        (
            ("thing", "what"), ("thing", "manner"), ("what", "manner"), ("name", "person"),
            ("name", "place"), ("name", "thing"), ("name", "what"),
        ),
    )
)  # fmt: skip


def sought(question: str) -> Sought:
    """What the question asks for, by its first word that asks."""
    folded = re.sub(r"(?<=\w)['’]s\b", " is", fold(question))  # noqa: RUF001
    if asks(folded) == "yes-no":
        return "yes-no"
    starts = [folded[match.start() :] for match in _FIRST.finditer(folded)]
    # "When it ends, what begins?" asks what.
    rest = next((start for start in starts if not _CLAUSE.match(start)), *starts[:1] or [""])
    for name, pattern in _SOUGHT:
        if pattern.match(rest):
            return name
    first = re.match(r"\w*", rest)
    if first and (plain := _PLAIN.get(first.group())):
        return plain
    for name, pattern in (("time", _TIME), ("place", _PLACE)):
        if pattern.match(rest):
            return name
    return "thing" if _NOUN.match(rest) else "what"


def seek_alike(one: str, other: str) -> bool:
    """Whether two questions ask for what may be the same kind of thing."""
    kinds = frozenset((sought(one), sought(other)))
    return len(kinds) == 1 or kinds in _ALIKE


_MONEY = frozenset({"euro", "dollar", "pound", "crown", "cent"})
_DURATION = frozenset({"year", "month", "week", "day", "hour", "minute", "second"})
_LENGTH = frozenset({"metre", "kilometre", "mile", "foot", "inch", "centimetre", "millimetre"})
# What a question measures, by its words, and the units that an answer then has.
_MEASURES: tuple[tuple[re.Pattern[str], frozenset[str]], ...] = tuple(
    (re.compile(rf"\b(?:{pattern})\b"), units)
    for pattern, units in (
        ("costs?|prices?|pay|paid|fee|salary|rent|premium|deposit|spend|expensive|money", _MONEY),
        ("how (?:far|tall|high|deep|wide|thick)|distance|height|width|depth", _LENGTH),
        ("how heavy|weigh|weighs|weight", frozenset({"kilogram", "gram", "tonne", "pound"})),
        ("how (?:hot|warm|cold)|temperature", frozenset({"degree"})),
        ("how loud|noise", frozenset({"db"})),
        ("percent|percentage", frozenset({"percent"})),
        ("how long|how soon|how quickly", _DURATION | _LENGTH),
        ("how old|what age", frozenset({"year"})),
    )
)
_HOW_MANY = re.compile(r"\bhow many ((?:\w+\s?){1,2})")
_OFTEN = re.compile(
    r"\b(?:every|each|per|once|twice|daily|weekly|monthly|yearly|annually|always|never)\b"
)
COUNTED_WITHIN = 5
"""What a number counts is named within this many words after it."""

WEAK = 0.4
"""How well a number of another kind than the one asked for fits."""

UNNAMED = 0.7
"""How well "your family doctor" or "in the cellar" fits a question for a person or a place."""

_ROLE = re.compile(
    r"\b(?:he|she|we|you|they|whoever|anyone|everyone|nobody|each|either|some(?:one|body)|people|person|"
    r"staff|team|company|firm|board|police|court|bank|bakery|office|service|department|desk|"
    r"manager|head|chair\w*|leader|director|owner|landlord|tenant|member|neighbour|parent|child|"
    r"adult|guest|customer|client|reader|user|admin\w*|employe[er]|colleague|apprentice|student|pupil|"
    r"teacher|doctor|nurse|midwife|engineer|technician|fitter|driver|warden|clerk|assessor|gardener|"
    r"provider|supplier|insurer|lender|maker|manufacturer|author|editor|judge|lawyer|officer|"
    r"minister|king|queen|president|architect|carer|mentor|guide|party)s?\b"
)
_LOCATED = re.compile(
    r"\b(?:in|into|inside|at|on|onto|under|behind|beside|near|opposite|above|below|outside|between|"
    r"next to|out of|from|to) "
    r"(?:the|a|an|any|every|each|our|your|its|their|room|building|floor|gate|level|page|menu|[a-z-]+\.[a-z.]+)\b"
)


def fits(question: str, text: str) -> float:
    """How well the text holds the kind of thing that the question asks for.

    1 if it does, 0 if not, in between if the words do not tell.
    """
    kind = asks(question)
    if kind in {"person", "place"}:
        described = _ROLE if kind == "person" else _LOCATED
        named = bool(names(text) - names(question))
        return 1.0 if named else UNNAMED * bool(described.search(fold(text)))
    if kind in {"amount", "time"}:
        return _fits_number(fold(question), question, text)
    return 0.5


def _fits_number(folded: str, question: str, text: str) -> float:
    new = {(value, unit) for value, unit in quantities(text) if value not in numbers(question)}
    if re.search(r"\bhow often\b", folded):
        return float(_OFTEN.search(fold(text)) is not None)
    if not new:
        return WEAK * bool(dates(text) - dates(question))
    if counted := _HOW_MANY.search(folded):
        return _fits_count(counted.group(1), text)
    for pattern, units in _MEASURES:
        if pattern.search(folded):
            return 1.0 if any(unit in units for _, unit in new) else WEAK
    return 1.0


def _fits_count(counted: str, text: str) -> float:
    """1 if a number comes shortly before the thing to be counted, else WEAK."""
    sought = words(counted)
    tokens = text.split()
    for place, token in enumerate(tokens):
        if numbers(token) and sought & words(" ".join(tokens[place : place + COUNTED_WITHIN])):
            return 1.0
    return WEAK
