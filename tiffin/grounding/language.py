"""Which language a question is in, by its script and its commonest words, and how to say no in it.

A question is short and full of the words that tell languages apart, so a table suffices. It chooses
the words of a refusal and tells whether the models read the language. In doubt it says English.
"""

# Patterns hold characters of many scripts.
# ruff: noqa: RUF001

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

DEFAULT = "en"

_SCRIPTS: Mapping[str, re.Pattern[str]] = {
    "ja": re.compile(r"[぀-ヿ]"),
    "ko": re.compile(r"[가-힣]"),
    "zh": re.compile(r"[㐀-鿿]"),
    "ar": re.compile(r"[؀-ۿ]"),
    "he": re.compile(r"[֐-׿]"),
    "hi": re.compile(r"[ऀ-ॿ]"),
    "th": re.compile(r"[฀-๿]"),
    "el": re.compile(r"[Ͱ-Ͽ]"),
    "uk": re.compile(r"[іїєґІЇЄҐ]"),
    "ru": re.compile(r"[Ѐ-ӿ]"),
}

_WORDS: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": (
            "the of and is are was were do does did what which who whom whose when where why "
            "how many much to in on at for with from by can could may must should would will "
            "i my we you your it he she they this that there have has had be been not if long "
            "often any after before about an a"
        ),
        "de": (
            "der die das den dem des ein eine einen einem einer und oder ist sind war waren "
            "wird werden wie was wer wem wen wo wann warum welche welcher welches wieviel "
            "viele viel ich mein meine wir sie es man mit von zu zum zur für auf im am bei "
            "nach vor über nicht kein keine kann darf muss soll hat haben habe gibt"
        ),
        "fr": (
            "le la les l un une des du de d et ou est sont était qui que quoi quel quelle "
            "quels quelles quand où comment pourquoi combien je j mon ma mes nous vous il "
            "elle ils elles on à au aux en dans sur pour avec par ne pas peut peux puis doit "
            "dois faut a ont ai c ce cette y s qu t"
        ),
        "es": (
            "el la los las un una unos unas y o es son era fue está quién quiénes qué cuál "
            "cuáles cuándo dónde cómo cuánto cuánta cuántos cuántas por para con de del en al "
            "a mi mis nos se yo su sus no puedo puede debo debe hay tiene tengo que si"
        ),
        "it": (
            "il lo la i gli le un uno una e o è sono era chi che cosa cos quale quali quando "
            "dove dov come quanto quanta quanti quante perché di del della dei delle da dal "
            "in nel nella su sul per con al alla mi mio mia non posso può devo deve c ho ha "
            "si se"
        ),
        "pt": (
            "o a os as um uma uns umas e ou é são era foi quem que qual quais quando onde "
            "como quanto quanta quantos quantas por para com de do da dos das em no na nos "
            "nas ao à meu minha eu não posso pode devo deve há tem tenho se ficam fica"
        ),
        "nl": (
            "de het een en of is zijn was waren wie wat welke wanneer waar hoe hoeveel waarom "
            "ik mijn wij we je jij u uw hij zij ze het er van voor met op in aan bij naar te "
            "niet geen kan mag moet heeft hebben heb lang"
        ),
        "pl": (
            "kto co kiedy gdzie jak ile dlaczego czy jest są był była w z na do od dla i lub "
            "nie mogę można mój się oraz że jako przez po przy tylko wyłącznie tego"
        ),
        "sv": (
            "vem vad när var hur varför vilken vilket är var en ett och eller i på till från "
            "med för inte kan får jag min det den som många alla bara om att av vid är de"
        ),
        "tr": (
            "kim ne zaman nerede nasıl kaç neden hangi bir ve veya mi mı mu mü var yok için "
            "ile bu kadar ve yalnızca sadece önceki daha olarak gibi"
        ),
        "da": (
            "hvad hvem hvor hvordan hvornår hvorfor og i på er var ikke det den der et en til "
            "fra med for af kun alt ovenfor om kan skal som også har"
        ),
        "cs": (
            "co kdo kdy kde jak proč je jsou byl byla a na v ve z do od se že nebo ne není "
            "také jen pouze všechny předchozí"
        ),
        "fi": (
            "mikä mitä kuka missä milloin miksi miten on ovat oli ja ei tai vain se tämä että "
            "kuin myös kaikki älä ole"
        ),
        "hu": (
            "mi ki mikor hol hogyan miért a az egy és van volt nem is hogy csak ezt azt vagy "
            "minden meg be ne"
        ),
        "ro": (
            "ce cine când unde cum de la și este sunt era un o în din pe cu pentru nu sau doar "
            "toate care să"
        ),
        "id": (
            "apa siapa kapan di mana bagaimana mengapa yang dan adalah ini itu dari untuk dengan "
            "tidak pada ke semua hanya jangan atau akan"
        ),
        "vi": (
            "gì khi đâu nào tại sao là và của một các có không được trong cho với này đó mọi "
            "chỉ hãy đừng"
        ),
    }.items()
}
_WORD = re.compile(r"[^\W\d_]+")

_REFUSALS: Mapping[str, str] = {
    "en": "The documents do not say.",
    "de": "Das steht nicht in den Dokumenten.",
    "fr": "Les documents ne le disent pas.",
    "es": "Los documentos no lo dicen.",
    "it": "I documenti non lo dicono.",
    "pt": "Os documentos não o dizem.",
    "nl": "Dat staat niet in de documenten.",
    "pl": "Dokumenty tego nie mówią.",
    "sv": "Det står inte i dokumenten.",
    "tr": "Belgelerde bu bilgi yok.",
    "ru": "В документах этого нет.",
    "uk": "У документах цього немає.",
    "el": "Τα έγγραφα δεν το αναφέρουν.",
    "zh": "文档中没有说明。",
    "ja": "文書には記載されていません。",
    "ko": "문서에 나와 있지 않습니다.",
    "ar": "لا تذكر المستندات ذلك.",
    "he": "המסמכים אינם מציינים זאת.",
    "hi": "दस्तावेज़ों में यह नहीं बताया गया है।",
    "th": "เอกสารไม่ได้ระบุไว้",
}


@dataclass(frozen=True)
class Readers:
    """The languages that the models of an answer read, as ISO 639-1 codes; empty means any.

    `llms` are those of all tiers together.
    """

    embedder: frozenset[str] = frozenset()
    reranker: frozenset[str] = frozenset()
    llms: frozenset[str] = frozenset()

    def only_embedder(self, *wanted: str) -> bool:
        """Whether meaning can be compared in these languages, but not by the reranker."""
        return reads(self.embedder, *wanted) and not reads(self.reranker, *wanted)


def reads(languages: frozenset[str], *wanted: str) -> bool:
    """Whether a model of these languages reads the wanted ones."""
    return not languages or languages.issuperset(wanted)


def language_of(text: str) -> str:
    """The language as an ISO 639-1 code; English unless the text shows another."""
    if foreign := len(_foreign(text)):
        for language, script in _SCRIPTS.items():
            if 2 * len(script.findall(text)) >= foreign and script.search(text):
                return language
    counts = function_words(_WORD.findall(text))
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] > counts[DEFAULT] else DEFAULT


def function_words(words: Sequence[str]) -> dict[str, int]:
    """How many of the words are among the commonest of each language of the Latin script."""
    found = [word.casefold() for word in words]
    return {name: sum(word in known for word in found) for name, known in _WORDS.items()}


def _foreign(text: str) -> str:
    """The letters that are not Latin. Japanese is told from Chinese by its kana."""
    letters = [char for char in text if char.isalpha() and ord(char) > 0x36F]  # noqa: PLR2004
    if any("぀" <= char <= "ヿ" for char in letters):
        letters = [char for char in letters if "぀" <= char <= "ヿ"]
    latin = sum(char.isalpha() for char in text) - len(letters)
    return "".join(letters) if len(letters) * 4 > latin else ""


def refusal(language: str) -> str:
    """The sentence that says that the documents do not answer."""
    return _REFUSALS.get(language, _REFUSALS[DEFAULT])
