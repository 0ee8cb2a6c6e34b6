"""What a model writes reaches the client sentence by sentence, each once it is supported."""

import pytest

from tiffin.config.requests import RagSettings
from tiffin.core.context import RequestContext
from tiffin.core.deadline import Deadline
from tiffin.core.values import Document, Grounding, RagRequest
from tiffin.grounding.evidence import Passage as Scored
from tiffin.grounding.evidence import Said, candidates, evidence
from tiffin.pipeline.budget import Budget
from tiffin.pipeline.gate import SentenceGate
from tiffin.pipeline.passages import split_documents
from tiffin.pipeline.question import Candidate, Question
from tiffin.telemetry.timeline import Timeline

TEXT = "The boots carry a two-year warranty. The warranty does not cover damage from water."


def question(query: str, grounding: Grounding = "strict") -> Question:
    document = Document(text=TEXT)
    (passage,) = split_documents([document])
    deadline = Deadline.after(5)
    asked = Question(
        request=RagRequest(query=query, documents=[TEXT]),
        top_k=3,
        top_n=2,
        max_tokens=60,
        grounding=grounding,
        false_refusals=0.05,
        prefer="write",
        context=RequestContext(deadline),
        documents=[document],
        passages=[passage],
        budget=Budget.of(deadline, {"generate": 1.0}, RagSettings().top_k),
        timeline=Timeline(),
        candidates=[Candidate(passage, document, 0.9)],
    )
    found = candidates(query, [Scored(0, TEXT, 5.0)])
    asked.evidence = evidence(query, found, Said([5.0 - rank for rank in range(len(found))]))
    return asked


def written(asked: Question, *pieces: str) -> list[str]:
    """What leaves the gate after each piece, and at the end."""
    gate = SentenceGate(asked)
    return [*(gate.release(piece) for piece in pieces), gate.finish()]


def test_a_supported_sentence_leaves_when_the_next_one_begins() -> None:
    asked = question("How long is the warranty?")
    left = written(
        asked, "The boots carry a 2 year", " warranty. The", " warranty does not cover water."
    )
    assert left[0] == ""
    assert left[1] == "The boots carry a 2 year warranty."
    assert asked.draft.text == "".join(left)
    assert (asked.replaced, asked.removed, asked.degraded) == (0, 0, [])


def test_a_sentence_that_says_the_opposite_is_replaced_by_the_quote() -> None:
    asked = question("Does the warranty cover water damage?")
    written(asked, "Yes, the warranty covers damage from water.")
    assert "does not cover damage from water" in asked.draft.text
    assert "Yes" not in asked.draft.text
    assert (asked.replaced, asked.degraded) == (1, ["unsupported"])


def test_a_number_without_a_source_never_leaves() -> None:
    asked = question("How long is the warranty?")
    written(asked, "The boots carry a 5 year warranty. It costs 30 euros. It ends in 2031.")
    assert not {"5", "30", "2031"} & set(asked.draft.text.split())
    assert (asked.replaced, asked.removed) == (1, 2)
    assert asked.draft.text == asked.draft.text.strip()


def test_an_answer_that_begins_with_a_copy_of_another_sentence_is_the_quotes_alone() -> None:
    copied = "The warranty does not cover damage from water. "
    asked = question("How long is the warranty?")
    asked.probability = 0.9
    left = written(asked, copied, "The boots carry a two-year warranty. ", copied)
    assert asked.draft.text == TEXT == "".join(left), "both quotes, and nothing twice"
    assert (asked.replaced, asked.removed, asked.degraded) == (1, 0, [])


def test_a_copy_of_the_best_sentence_leaves_as_it_is() -> None:
    asked = question("How long is the warranty?")
    asked.probability = 0.9
    written(asked, "The boots carry a two-year warranty.")
    assert (asked.draft.text, asked.replaced) == ("The boots carry a two-year warranty.", 0)


def test_marked_sentences_leave_and_the_answer_says_so() -> None:
    asked = question("How long is the warranty?", "mark")
    written(asked, "The boots carry a 5 year warranty.")
    assert asked.draft.text == "The boots carry a 5 year warranty."
    assert asked.degraded == ["unsupported"]


@pytest.mark.parametrize("said", ["The text does not say.", '"The documents do not mention it."'])
def test_a_model_that_declines_says_nothing_else(said: str) -> None:
    asked = question("How long is the warranty?")
    assert written(asked, said, " The boots carry a two-year warranty. It", " ends.")[0] == ""
    assert (asked.declined, asked.answered, asked.is_refused) == (True, False, True)
    asked = question("How long is the warranty?")
    assert written(asked, said) == ["", ""]
    assert asked.declined
    asked = question("What does the text not mention?")
    written(asked, "The warranty does not cover damage from water.")
    assert not asked.declined


@pytest.mark.parametrize("grounding", ["off", "strict"])
def test_without_evidence_text_leaves_as_it_comes(grounding: Grounding) -> None:
    asked = question("How long?", grounding)
    if grounding == "strict":
        asked.evidence = []
    assert written(asked, "Five ", "years.") == ["Five ", "years.", ""]
