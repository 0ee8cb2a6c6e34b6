"""The application: the RAG API and everything behind it that is neither a model nor BentoML."""

__version__ = "0.1.0"
