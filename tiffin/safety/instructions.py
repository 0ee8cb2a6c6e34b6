"""Whether a sentence gives orders to the model that reads it: what the `instructions` head reads.

Called by `tiffin.safety.detector` for every sentence of a passage, so it must be fast: the kinds of
words in a sentence and their pairs, no embedding. `lab/safety/train.py` learns the weights.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from tiffin.safety.views import readings

MAX_CHARS = 400
"""A longer sentence is read in pieces of this length, each of which begins halfway through the one
before."""

_KINDS = {
    # A word of the kind, as a pattern over folded text: English, German, French, Spanish, Italian,
    # Portuguese, Dutch, Polish, Russian, Chinese, Japanese.
    "overturn": r"\b(?:ignor\w*|disregard\w*|forget|overrid\w*|override|bypass\w*|neglect|overlook"
    r"|vergiss|vergesst|missachte\w*|oublie\w*|olvid\w*|dimentica\w*|esque[cç]a\w*|negeer|vergeet"
    r"|zignoruj\w*|zapomnij\w*|игнорир\w*|забуд\w*)|忽略|无视|忘记|無視|忘れ",
    "not": r"\b(?:do not|don't|must not|never|no longer|nicht|ne|pas|no|non|não|niet|nie|не)\b",
    "instead": r"\b(?:instead|rather|but|just|skip|stop)\b",
    "earlier": r"\b(?:previous\w*|prior|earlier|above|preceding|before|so far|all|every\w*|any"
    r"|vorherig\w*|bisherig\w*|alle\w*|précédent\w*|toutes|anterior\w*|todas|precedent\w*|tutte"
    r"|eerdere|poprzedni\w*|wszystk\w*|предыдущ\w*|все)\b|之前|所有|以前|すべて",
    "orders": r"\b(?:instruction\w*|rules?|guidelines?|prompts?|directi(?:on|ve)s?|restrictions?"
    r"|filters?|safety|persona|anweisung\w*|regeln?|vorgaben?|consignes?|règles|instruc\w*|reglas"
    r"|istruzion\w*|regole|instruçõ\w*|regras|instructies|regels|polece\w*|zasad\w*|инструкц\w*"
    r"|указани\w*|правил\w*)\b|指令|指示|规则|要求|ルール",
    "model": r"\b(?:assistants?|ai|a\.i\.|language models?|llms?|chatbots?|bots?|gpt\w*|chatgpt"
    r"|claude|gemini|models?|ki|assistent\w*|asistente|ia|ассистент\w*|ии)\b|助手|助理|アシスタント",
    "system": r"(?:\[system\]|<\|?\w*\|?>|<<sys>>|\[inst\]|###|\bsystem(?: prompt)?\b)",
    "mode": r"\b(?:you are now|act as|pretend|from now on|developer mode|jailbreak\w*|unrestricted"
    r"|dan|role|roleplay|switch to|your (?:new|real|true|only) \w+|now must|must now)\b",
    "say": r"\b(?:say|says|write|print|output|repl(?:y|ies)|respond|response|answers?|display"
    r"|repeat|tell|reveal|append|include|type|confirm|claim|antwort\w*|schreib\w*|gib|sage?|répond\w*"
    r"|écri\w*|affiche|respond\w*|escrib\w*|di|risp\w*|scriv\w*|antwoord|odpowied\w*|napisz"
    r"|ответь\w*|напиши|скажи)\b|回答|答え|说|写",
    "only": r"\b(?:only|nothing else|nothing but|exactly|always|every (?:question|answer|reply)"
    r"|each (?:answer|reply|response)|nur|ausschlie\w*|uniquement|seulement|solamente|únicamente"
    r"|apenas|somente|alleen|tylko|только)\b|只|だけ",
    "user": r"\b(?:the users?|the person|nutzer\w*|utilisateur|usuario|utente|usuário|gebruiker"
    r"|użytkownik\w*|пользовател\w*)\b|用户|ユーザー",
    "text": r"\b(?:this (?:text|document|page|sentence|line|message)|the (?:question|answer|context"
    r"|conversation|task|document))\b",
    "link": r"https?://|!\[",
    "override": r"\b(?:new (?:instructions?|tasks?|rules?|goals?)|system prompt|hidden|secret"
    r"|authori[sz]ed|developer|administrator|operator)\b",
}
TEMPLATE = re.compile(
    r"<</?sys>>|\[/?inst\]|<\|(?:im_start|im_end|system|user|assistant|eot_id|begin_of_text"
    r"|(?:start|end)_header_id)\|>|<(?:start|end)_of_turn>",
    re.IGNORECASE,
)
"""What chat templates write between turns. A document with it pretends to be one."""

_FINDERS = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in _KINDS.items()}
KINDS = len(_KINDS)
NAMES = (*_KINDS, *(f"{one}+{other}" for one, other in combinations(_KINDS, 2)))

_ENDS = re.compile(
    r"(?<=[.!?;])[\"')\]]*\s+|(?<=[。！？])"  # noqa: RUF001  full-width ends
    r"|\s*(?:\n|\||-->|<!--|\\n|\"\s*[:,]\s*\")\s*"
)
MARKUP = re.compile(r"[*_`\"{}\\]+|&\w+;|</?\w+[^>]*>")


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text and of its other readings, without markup."""
    for reading in (text, *readings(text)):
        for piece in _ENDS.split(reading):
            clean = " ".join(MARKUP.sub(" ", piece).split())
            while clean:
                yield clean[:MAX_CHARS]
                clean = clean[MAX_CHARS // 2 :] if len(clean) > MAX_CHARS else ""


def matrix(sentences: Sequence[str]) -> NDArray[np.float32]:
    """Which of NAMES each sentence holds, as 0 and 1: float32 (sentences, len(NAMES))."""
    rows = np.zeros((len(sentences), len(NAMES)), np.float32)
    for row, sentence in zip(rows, sentences, strict=True):
        row[_held(sentence)] = 1
    return rows


def _held(sentence: str) -> list[int]:
    """The positions in NAMES of the kinds of words in a sentence, and of their pairs."""
    held = [kind for kind, finder in _FINDERS.items() if finder.search(sentence)]
    names = [*held, *(f"{one}+{other}" for one, other in combinations(held, 2))]
    return [_POSITIONS[name] for name in names]


_POSITIONS = {name: position for position, name in enumerate(NAMES)}
