"""Words of which one question has one and the other its opposite.

Used by `tiffin.grounding.same`. WordNet's opposites (`tiffin.grounding.synonyms`) leave out most
pairs of everyday questions, such as "arrival" and "departure"; those are in the table here.
"""

# A table of words is read as lines of text.
# ruff: noqa: SIM905

from collections.abc import Set as AbstractSet

from tiffin.grounding import synonyms
from tiffin.grounding.wording import stem

_OPPOSITES = tuple(
    frozenset(map(stem, pair.split("/")))
    for pair in (
        "first/last most/least before/after oldest/newest oldest/youngest largest/smallest "
        "biggest/smallest highest/lowest best/worst longest/shortest earliest/latest "
        "begin/end start/end start/stop open/close opening/closing increase/decrease "
        "reduce/increase reduced/increased grow/shrink rise/fall win/lose won/lost gain/lose "
        "north/south northern/southern east/west "
        "eastern/western early/late maximum/minimum max/min more/fewer more/less above/below "
        "inside/outside indoor/outdoor include/exclude allow/forbid allowed/banned "
        "allowed/prohibited enable/disable on/off in/out up/down add/remove join/leave "
        "accept/refuse accept/reject approve/reject buy/sell send/receive deposit/withdraw "
        "import/export upload/download install/uninstall lock/unlock safe/unsafe "
        "safe/dangerous legal/illegal possible/impossible cheap/expensive cheapest/dearest "
        "hot/cold high/low old/new old/young male/female men/women boys/girls father/mother "
        "son/daughter son/father brother/sister king/queen husband/wife public/private "
        "internal/external positive/negative advantage/disadvantage benefit/drawback pro/con "
        "with/without support/oppose arrive/depart arrival/departure arrived/left born/died "
        "birth/death borrow/lend push/pull eat/avoid keep/cancel save/delete renew/cancel "
        "upgrade/downgrade landlord/tenant buyer/seller adult/child single/return "
        "domestic/international personal/business present/absent mute/unmute accept/decline "
        "weekday/weekend began/ended begun/ended started/ended starting/ending major/minor "
        "hottest/coldest warm/cold warmest/coldest rich/poor strong/weak heavy/light "
        "fast/slow fastest/slowest full/empty left/right upper/lower majority/minority "
        "teacher/student uncle/aunt nephew/niece true/false right/wrong pass/fail "
        "passed/failed friend/enemy victory/defeat succeed/fail gained/lost entered/left "
        "taller/shorter larger/smaller bigger/smaller higher/lower older/younger "
        "better/worse earlier/later longer/shorter greater/lesser summer/winter "
        "morning/evening day/night day/year"
    ).split()
)


def opposed(one: AbstractSet[str], other: AbstractSet[str]) -> bool:
    """Whether one set of folded words has a word that the other lacks but has the opposite of."""
    said, told = one - other, other - one
    if any(synonyms.opposite(word, new) for word in said for new in told):
        return True
    stems, others = (frozenset(map(stem, words)) for words in (one, other))
    return any(pair & stems - others and pair & others - stems for pair in _OPPOSITES)
