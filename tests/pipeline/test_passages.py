"""Documents become passages: nothing lost, nothing longer than the encoder reads."""

# Texts hold characters of many scripts.
# ruff: noqa: RUF001

import pytest

from models.catalog import load_catalog
from models.store import Store
from tiffin.config.settings import load_settings
from tiffin.core.values import Document
from tiffin.pipeline.passages import (
    MAX_PASSAGE_CHARS,
    MAX_PASSAGE_TOKENS,
    Passage,
    halved,
    split_documents,
)


def test_a_short_document_is_one_passage_without_its_white_space() -> None:
    (passage,) = split_documents([Document(text="  A short text.\n")])
    assert (passage.start, passage.end, passage.text) == (2, 15, "A short text.")


def test_a_long_document_loses_nothing_but_white_space() -> None:
    text = "\n\n".join(f"Paragraph {n}. " + "Some words follow here. " * 25 for n in range(20))
    passages = split_documents([Document(text="intro"), Document(text=text)])[1:]
    assert all(len(passage.text) <= MAX_PASSAGE_CHARS for passage in passages)
    assert all(passage.text == text[passage.start : passage.end] for passage in passages)
    assert "".join("".join(p.text for p in passages).split()) == "".join(text.split())
    assert {passage.document for passage in passages} == {1}


def test_passages_end_at_sentences_where_they_can() -> None:
    text = "One sentence of about forty characters. " * 60
    passages = split_documents([Document(text=text)])
    assert all(passage.text.endswith(".") for passage in passages)


@pytest.mark.parametrize("text", ["x" * 5000, "漢字" * 2000, "a. " * 3000])
def test_text_without_good_breaks_is_still_split(text: str) -> None:
    passages = split_documents([Document(text=text)])
    assert max(len(passage.text) for passage in passages) <= MAX_PASSAGE_CHARS
    assert "".join("".join(p.text for p in passages).split()) == "".join(text.split())


def test_halves_hold_all_of_a_passage() -> None:
    text = "A sentence. " * 30
    (passage,) = split_documents([Document(text="intro"), Document(text=text)])[1:]
    halves = halved(passage)
    assert len(halves) == 2
    assert all(text[half.start : half.end] == half.text for half in halves)
    assert all(half.text.endswith(".") for half in halves)
    assert "".join("".join(half.text for half in halves).split()) == "".join(text.split())
    assert [half.text for half in halved(Passage(0, 0, 2, "xy"))] == ["x", "y"]


SPOKEN = {
    "en": "The bridge was opened to the public in 1931 and carries the road over the river. ",
    "de": "Die Brücke wurde 1931 eröffnet und trägt seither die Straße über den breiten Fluss. ",
    "fi": "Silta avattiin yleisölle vuonna 1931, ja se on siitä lähtien kantanut tietä joen yli. ",
    "pl": "Most otwarto w 1931 roku i od tego czasu niesie on drogę nad szeroką rzeką. ",
    "vi": "Cây cầu được mở cửa vào năm 1931 và từ đó mang con đường qua con sông rộng. ",
    "ru": "Мост был открыт в 1931 году и с тех пор несёт дорогу через широкую реку. ",
    "el": "Η γέφυρα άνοιξε το 1931 και έκτοτε φέρει τον δρόμο πάνω από τον ποταμό. ",
    "ar": "افتتح الجسر للجمهور عام 1931 ومنذ ذلك الحين يحمل الطريق فوق النهر. ",
    "hi": "पुल 1931 में जनता के लिए खोला गया था और तब से सड़क को ले जा रहा है। ",
    "ko": "이 다리는 1931년에 일반에 개방되었으며 그 이후로 강 위의 도로를 지탱하고 있다. ",
    "ja": "この橋は1931年に一般公開され、それ以来川の上の道路を支えている。",
    "zh": "这座桥于1931年向公众开放，从那时起一直承载着河上的道路。",
    "th": "สะพานนี้เปิดให้ประชาชนใช้ในปี 1931 และรองรับถนนข้ามแม่น้ำ ",
    "signs": "12.50 | 13.75 | 2026-11-29 | 4711-0815 | 99.9 % ∑ x² ≤ ½·π∞ 😀👍🏽🎉 ",
}


@pytest.mark.models
@pytest.mark.parametrize("language", SPOKEN)
def test_the_estimate_is_never_lower_than_what_the_tokenizer_counts(language: str) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    home, model = load_settings().home, load_catalog().get("all-minilm-l6-v2")
    tokenizer = tokenizers.Tokenizer.from_file(str(Store(home).path(model) / "tokenizer.json"))
    tokenizer.no_truncation()
    passages = split_documents([Document(text=SPOKEN[language] * 60)])
    counts = [len(tokenizer.encode(passage.text).ids) for passage in passages]
    assert max(counts) <= MAX_PASSAGE_TOKENS + 2
    assert language != "en" or len(passages[0].text) > 900


def test_white_space_gives_no_passage() -> None:
    assert split_documents([Document(text=" \n\t ")]) == []
