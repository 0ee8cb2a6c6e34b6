# ruff: noqa: INP001  hayhooks knows pipelines by their folder
"""The RAG pipeline as Haystack's documentation would have it built, served by hayhooks.

A peer of `bench.whole`, which `bench.peers.hayhooks` runs in an environment of its own; imports
nothing of ours. The same weights, candidates and prompt as the other peer's (`stock_services`).
"""

import os

from hayhooks import BasePipelineWrapper
from haystack import Document, Pipeline
from haystack.components.builders import ChatPromptBuilder
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.dataclasses import ChatMessage
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.utils import ComponentDevice, Secret
from haystack_integrations.components.embedders.sentence_transformers import (
    SentenceTransformersDocumentEmbedder,
    SentenceTransformersTextEmbedder,
)
from haystack_integrations.components.rankers.sentence_transformers import (
    SentenceTransformersSimilarityRanker,
)

NEAR, BEST = 10, 2
"""Passages that are reranked, and that the LLM sees."""

PROMPT = """{% for document in documents | reverse %}{{ document.content }}

{% endfor %}Answer in one or two short sentences, using only the text above.
Question: {{ query }}"""


class PipelineWrapper(BasePipelineWrapper):  # type: ignore[misc]
    """`POST /question/run`."""

    def setup(self) -> None:
        """Load the models that the environment names."""
        common = {"device": ComponentDevice.from_str("cpu")}
        embedder = {"model": os.environ["BENCH_EMBEDDER"], "normalize_embeddings": True, **common}
        self.documents = SentenceTransformersDocumentEmbedder(**embedder, progress_bar=False)
        self.query = SentenceTransformersTextEmbedder(**embedder, progress_bar=False)
        for part in (self.documents, self.query):
            part.warm_up()
        self.pipeline = Pipeline()
        ranker = SentenceTransformersSimilarityRanker(
            model=os.environ["BENCH_RERANKER"], top_k=BEST, **common
        )
        self.pipeline.add_component("ranker", ranker)
        prompt = ChatPromptBuilder([ChatMessage.from_user(PROMPT)], required_variables="*")
        self.pipeline.add_component("prompt", prompt)
        llm = OpenAIChatGenerator(
            api_key=Secret.from_token("none"),
            model="small",
            api_base_url=os.environ["BENCH_LLM"],
        )
        self.pipeline.add_component("llm", llm)
        self.pipeline.connect("ranker.documents", "prompt.documents")
        self.pipeline.connect("prompt.prompt", "llm.messages")
        self.pipeline.warm_up()

    def run_api(self, query: str, documents: list[str], max_tokens: int) -> dict[str, object]:
        """The answer and the documents that it was written from."""
        store = InMemoryDocumentStore(embedding_similarity_function="cosine")
        given = [Document(content=text) for text in documents]
        store.write_documents(self.documents.run(given)["documents"])
        vector = self.query.run(query)["embedding"]
        near = InMemoryEmbeddingRetriever(store, top_k=NEAR).run(vector)["documents"]
        found = self.pipeline.run(
            {
                "ranker": {"query": query, "documents": near},
                "prompt": {"query": query},
                "llm": {"generation_kwargs": {"max_tokens": max_tokens, "temperature": 0}},
            },
            include_outputs_from={"ranker"},
        )
        best = [document.content for document in found["ranker"]["documents"]]
        return {"answer": found["llm"]["replies"][0].text, "documents": best}
