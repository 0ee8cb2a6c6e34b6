"""Tiffin, composed: every model of a RAG application in one Bento.

    RAG ──┬── Embedding     texts to vectors
          ├── Reranker      passages by relevance
          ├── Router        which tier answers
          ├── Safety        what must not go in or out
          ├── SmallLLM      the cheap tier
          └── LargeLLM      the capable tier, where the profile has it

`bentoml serve` starts the entry service `RAG` and what it depends on, each in processes of its own.
"""

from services.embedding import Embedding
from services.llm import LargeLLM, SmallLLM
from services.rag import RAG
from services.reranker import Reranker
from services.router import Router
from services.safety import Safety

__all__ = ["RAG", "Embedding", "LargeLLM", "Reranker", "Router", "Safety", "SmallLLM"]
