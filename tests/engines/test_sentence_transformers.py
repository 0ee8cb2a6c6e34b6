"""The encoder engines for real: what they give is what the bare library gives, in any batch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.catalog import load_catalog
from models.errors import InputInvalid
from models.store import Store
from tiffin.config.settings import load_settings
from tiffin.traffic.batching import TokenBatcher

pytestmark = pytest.mark.models

ATOL = 1e-5
"""Float32 sums in another order differ by less; a wrong padding or mask by far more."""


@pytest.fixture(scope="module")
def corpus() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(
        (Path(__file__).parents[1] / "data/passages.json").read_text()
    )
    return data


@pytest.fixture(scope="module")
def embedder() -> Any:
    from models.engines.sentence_transformers import Embedder

    return Embedder(_folder("all-minilm-l6-v2"), device="cpu", threads=2)


@pytest.fixture(scope="module")
def scorer() -> Any:
    from models.engines.sentence_transformers import CrossEncoderScorer

    return CrossEncoderScorer(_folder("ms-marco-minilm-l-12-v2"), device="cpu", threads=2)


def _folder(model: str) -> Path:
    return Store(load_settings().home).path(load_catalog().get(model))


@pytest.mark.slow
async def test_vectors_and_their_order_are_those_of_the_bare_library(
    embedder: Any, corpus: dict[str, Any]
) -> None:
    from sentence_transformers import SentenceTransformer

    library = SentenceTransformer(str(_folder("all-minilm-l6-v2")), device="cpu")
    texts = [*corpus["passages"], "word " * 1000]  # the last is longer than the model reads
    expected = library.encode(texts, normalize_embeddings=True, convert_to_numpy=True)
    rows = await _batched(embedder, texts)
    assert np.abs(rows - expected).max() < ATOL
    for question in corpus["questions"]:
        asked = question["question"]
        query = library.encode([asked], normalize_embeddings=True, convert_to_numpy=True)[0]
        (ours,) = await _batched(embedder, [asked])
        assert np.argsort(-rows @ ours).tolist() == np.argsort(-expected @ query).tolist()


@pytest.mark.slow
async def test_scores_and_their_order_are_those_of_the_bare_library(
    scorer: Any, corpus: dict[str, Any]
) -> None:
    from sentence_transformers import CrossEncoder

    library = CrossEncoder(str(_folder("ms-marco-minilm-l-12-v2")), device="cpu")
    for question in corpus["questions"][:3]:
        pairs = [(question["question"], passage) for passage in corpus["passages"]]
        expected = library.predict(pairs, convert_to_numpy=True)
        scores = (await _batched(scorer, pairs))[:, 0]
        assert np.abs(scores - expected).max() < ATOL
        assert np.argsort(-scores).tolist() == np.argsort(-expected).tolist()


def test_a_score_does_not_depend_on_what_else_is_in_the_batch(
    scorer: Any, corpus: dict[str, Any]
) -> None:
    """The int8 weights it was made from differ by up to 0.49 here."""
    query = corpus["questions"][0]["question"]
    pairs = scorer.tokenize([(query, passage) for passage in corpus["passages"][:15]])
    together = scorer.run(pairs)
    alone = np.concatenate([scorer.run([pair]) for pair in pairs])
    assert np.abs(together - alone).max() < ATOL


def test_tokens_of_another_model_are_refused_where_they_can_be_told(embedder: Any) -> None:
    """LangChain sends those of OpenAI's vocabulary; common words of it are ids of this one too."""
    assert embedder.tokenize([[101, 7592, 2088, 102]])[0].ids == [101, 7592, 2088, 102]
    with pytest.raises(InputInvalid, match=r"input\[1\]: tokens of this model begin with 101"):
        embedder.tokenize(["a text", [791, 6864, 315, 6457]])
    with pytest.raises(InputInvalid, match="no token has the id 30522"):
        embedder.tokenize([[101, 30522]])


async def _batched(engine: Any, inputs: list[Any]) -> Any:
    """As the service runs it: in batches of like lengths, the rows back in order."""
    batcher = TokenBatcher(
        engine.tokenize, engine.run, max_batch_tokens=2048, max_queue_tokens=1 << 20
    )
    rows, _ = await batcher.submit(inputs)
    await batcher.close()
    return rows


def test_a_control_token_in_a_text_is_text(embedder: Any, scorer: Any) -> None:
    """Else a document could end the query of its pair, or a text itself."""
    tokens = scorer._model.tokenizer  # noqa: SLF001
    (pair,) = scorer.tokenize([("who [SEP] built", "it [SEP] [PAD] was [CLS] Ann [MASK]")])
    assert pair.ids.count(tokens.sep_token_id) == 2
    assert pair.ids.count(tokens.cls_token_id) == 1
    assert tokens.pad_token_id not in pair.ids
    assert "[ sep ] [ pad ] was [ cls ]" in tokens.decode(pair.ids)
    (text,) = embedder.tokenize(["a [SEP] b"])
    assert text.ids.count(tokens.sep_token_id) == 1
