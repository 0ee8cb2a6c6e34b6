"""Each sentence of an answer points to the passage that says it, or to none."""

from tiffin.core.values import Source
from tiffin.pipeline.citing import Citer

TOWER = "The Eiffel Tower is 330 metres tall. It was finished in 1889."
RIVER = "The Danube flows through ten countries. It rises in the Black Forest."


def source(index: int, text: str) -> Source:
    return Source(
        index=index,
        document=index - 1,
        document_id=None,
        title=None,
        text=text,
        start=0,
        end=len(text),
        score=0.9,
        similarity=0.5,
    )


SOURCES = [source(1, TOWER), source(2, RIVER)]


def test_each_sentence_points_to_its_own_passage_and_quote() -> None:
    answer = "The tower is 330 metres tall. The Danube rises in the Black Forest."
    first, second = Citer(SOURCES).cite(answer)
    assert answer[first.start : first.end] == "The tower is 330 metres tall."
    assert (first.source, first.quote) == (1, "The Eiffel Tower is 330 metres tall.")
    assert (second.source, second.quote) == (2, "It rises in the Black Forest.")


def test_a_sentence_that_no_passage_says_gets_no_citation() -> None:
    assert Citer(SOURCES).cite("Bananas are rich in potassium and vitamins.") == []


def test_common_words_alone_support_nothing() -> None:
    assert Citer(SOURCES).cite("It is in the city and it was good.") == []


def test_offsets_hold_in_other_scripts() -> None:
    text = "富士山は日本で一番高い山です。"
    (citation,) = Citer([source(1, text)]).cite(f"ええ。{text}")
    assert citation.quote == text


def test_offsets_come_in_code_points_and_in_javascripts_units() -> None:
    answer = "\U0001f600 Yes! The tower is 330 metres tall."
    (citation,) = Citer(SOURCES).cite(answer)
    assert answer[citation.start : citation.end] == "The tower is 330 metres tall."
    in_units = answer.encode("utf-16-le")[2 * citation.start_utf16 : 2 * citation.end_utf16]
    assert in_units.decode("utf-16-le") == "The tower is 330 metres tall."


def test_an_empty_answer_or_no_sources_cite_nothing() -> None:
    assert Citer(SOURCES).cite("") == []
    assert Citer([]).cite("The tower is tall.") == []


def test_the_citations_of_a_sentence_that_leaves_are_those_of_the_whole_answer() -> None:
    answer = "The tower is 330 metres tall. The Danube rises in the Black Forest."
    citer = Citer(SOURCES)
    second = answer.index(" The Danube")
    assert [*citer.cite(answer[:second]), *citer.cite(answer, second)] == citer.cite(answer)
