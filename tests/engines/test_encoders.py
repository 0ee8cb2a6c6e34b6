"""The encoder engines for real: what they give is what the bare library gives, in any batch.

The bare library is sentence-transformers, whichever engine runs.
"""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.catalog import load_catalog
from models.engines.reading import SHIPPED, shipped
from models.errors import InputInvalid, InputTooLong
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


ENGINES = ("openvino", "sentence_transformers")
PARAMS = [ENGINES[0], pytest.param(ENGINES[1], marks=pytest.mark.slow)]
"""The second imports torch, which takes seconds."""
ODD = ["word " * 1000, "", "Größe naïve ÉÀ 漢字 😀 \u200b don't"]
"""Texts that are longer than the models read, empty, or written in other letters."""


@pytest.fixture(scope="module", params=PARAMS)
def embedder(request: pytest.FixtureRequest) -> Any:
    return _embedder(request.param)


@pytest.fixture(scope="module", params=PARAMS)
def scorer(request: pytest.FixtureRequest) -> Any:
    return _scorer(request.param)


def _embedder(engine: str) -> Any:
    return _made(engine, "Embedder", "all-minilm-l6-v2")


def _scorer(engine: str) -> Any:
    return _made(engine, "CrossEncoderScorer", "ms-marco-minilm-l-12-v2")


def _made(engine: str, name: str, model: str) -> Any:
    device = {} if engine == "openvino" else {"device": "cpu"}
    module = importlib.import_module(f"models.engines.{engine}")
    return getattr(module, name)(_folder(model), threads=2, **device)


def _folder(model: str) -> Path:
    return Store(load_settings().home).path(load_catalog().get(model))


def test_what_is_longer_than_the_model_reads_is_said_to_be_cut(embedder: Any, scorer: Any) -> None:
    fits, longer = ("word " * count for count in (254, 255))  # and two special tokens
    assert [item.cut for item in embedder.tokenize([fits, longer, "a"])] == [False, True, False]
    ids = embedder.tokenize([fits])[0].ids
    assert [item.cut for item in embedder.tokenize([ids, [*ids, 7]])] == [False, True]
    pairs = [("a", "word " * count) for count in (508, 509)]  # and three of them
    assert [item.cut for item in scorer.tokenize(pairs)] == [False, True]


@pytest.mark.slow
async def test_vectors_and_their_order_are_those_of_the_bare_library(
    embedder: Any, corpus: dict[str, Any]
) -> None:
    from sentence_transformers import SentenceTransformer

    library = SentenceTransformer(str(_folder("all-minilm-l6-v2")), device="cpu")
    texts = [*corpus["passages"], *ODD]
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


@pytest.mark.slow
def test_both_engines_read_the_same(corpus: dict[str, Any]) -> None:
    query = corpus["questions"][0]["question"]
    pairs = [(query, passage) for passage in corpus["passages"][:5]]
    rows = [engine.run(engine.tokenize(pairs)) for engine in map(_scorer, ENGINES)]
    assert rows[0].shape == (5, 3)
    assert np.abs(rows[0] - rows[1]).max() < 10 * ATOL  # a sum of 768 products of numbers around 1


def test_a_model_of_other_weights_has_no_reading(tmp_path: Path) -> None:
    folder = _folder("ms-marco-minilm-l-12-v2")
    other = tmp_path / "reading.json"
    other.write_text(json.dumps({**json.loads(SHIPPED.read_text()), "model": "other"}))
    assert shipped(folder) is not None
    assert shipped(folder, other) is None
    assert shipped(_folder("all-minilm-l6-v2")) is None


def test_a_score_does_not_depend_on_what_else_is_in_the_batch(
    scorer: Any, corpus: dict[str, Any]
) -> None:
    """The int8 weights it was made from differ by up to 0.49 here."""
    query = corpus["questions"][0]["question"]
    pairs = scorer.tokenize([(query, passage) for passage in corpus["passages"][:15]])
    together = scorer.run(pairs)
    alone = np.concatenate([scorer.run([pair]) for pair in pairs])
    difference = np.abs(together - alone).max(axis=0)
    assert (difference < [ATOL, 10 * ATOL, 10 * ATOL]).all()  # a reading sums 768 numbers


def test_tokens_of_another_model_are_refused_where_they_can_be_told(embedder: Any) -> None:
    """LangChain sends those of OpenAI's vocabulary; common words of it are ids of this one too."""
    assert embedder.tokenize([[101, 7592, 2088, 102]])[0].ids == [101, 7592, 2088, 102]
    with pytest.raises(InputInvalid, match=r"input\[1\]: tokens of this model begin with 101"):
        embedder.tokenize(["a text", [791, 6864, 315, 6457]])
    with pytest.raises(InputInvalid, match="no token has the id 30522"):
        embedder.tokenize([[101, 30522]])


@pytest.mark.slow
def test_both_engines_read_the_same_tokens(corpus: dict[str, Any]) -> None:
    one, other = map(_embedder, ENGINES)
    texts = [*corpus["passages"], *ODD]
    assert one.tokenize(texts) == other.tokenize(texts)
    one, other = map(_scorer, ENGINES)
    pairs = [(corpus["questions"][0]["question"], text) for text in texts]
    pairs += [("word " * 1000, "other " * 1000), ("word " * 400, "other " * 300)]
    assert one.tokenize(pairs) == other.tokenize(pairs)


def test_a_text_that_is_too_long_is_refused_if_it_must_be_read_whole(embedder: Any) -> None:
    with pytest.raises(InputTooLong, match=r"1002 tokens long, .* length is 256 "):
        embedder.tokenize_whole(["short", "word " * 1000])
    assert embedder.tokenize(["word " * 1000])[0].tokens == 256


def test_a_cpu_serves_without_torch() -> None:
    program = (
        "import sys; from pathlib import Path; from models.engines.encoders import embedder;"
        "engine = embedder(Path(sys.argv[1]), device='cpu', threads=1);"
        "heavy = {'torch', 'transformers'} & {*sys.modules};"
        "print(engine.run(engine.tokenize(['a'])).shape, *heavy)"
    )
    command = [sys.executable, "-c", program, str(_folder("all-minilm-l6-v2"))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == "(1, 384)\n"


@pytest.mark.parametrize(
    ("file", "was", "becomes", "says"),
    [
        ("config.json", '"gelu"', '"relu"', "hidden_act is relu, not gelu"),
        ("config.json", '"num_hidden_layers": 6', '"num_hidden_layers": 5', "16 tensors more"),
        ("modules.json", "models.Normalize", "models.Dense", "Transformer, Pooling, Dense"),
        ("1_Pooling/config.json", "true", "false", "no mode"),
        ("tokenizer.json", "{", "", "expected"),
    ],
)
def test_a_model_that_the_graph_does_not_cover_is_left_to_the_library(
    tmp_path: Path, file: str, was: str, becomes: str, says: str
) -> None:
    from models.engines.bert_graph import Unconvertible
    from models.engines.openvino import Embedder

    folder = tmp_path / "model"
    shutil.copytree(
        _folder("all-minilm-l6-v2"), folder, ignore=shutil.ignore_patterns("*.safetensors")
    )
    (folder / "model.safetensors").symlink_to(_folder("all-minilm-l6-v2") / "model.safetensors")
    changed = (folder / file).read_text().replace(was, becomes, 1)
    (folder / file).write_text(changed)
    with pytest.raises(Unconvertible, match=says):
        Embedder(folder, threads=1)


def test_openvino_tells_nobody_that_it_was_imported() -> None:
    importlib.import_module("models.engines.openvino")
    assert "openvino_telemetry" not in sys.modules


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
    (plain,) = scorer.tokenize([("a", "b")])
    start, end = plain.ids[0], plain.ids[-1]
    (pair,) = scorer.tokenize([("who [SEP] built", "it [SEP] [PAD] was [CLS] Ann [MASK]")])
    assert (pair.ids.count(start), pair.ids.count(end)) == (1, 2)
    assert 0 not in pair.ids, "padding"
    (text,) = embedder.tokenize(["a [SEP] b"])
    assert text.ids.count(text.ids[-1]) == 1
