"""The settings of the cache (`tiffin.cache`)."""

from typing import Annotated

from pydantic import Field

from tiffin.config.section import Section


class CacheSettings(Section):
    """Answers that are kept to be given again."""

    exact: bool = True
    """Give a kept answer again if everything that may change it is the same. Answers that are
    sampled without a seed are kept only if the request says `cache: true`."""
    semantic: bool = False
    """Give the kept answer of a model to a question in other words, if the same sentences of the
    documents are its evidence and nothing in the wording speaks against it (docs/cache.md)."""
    wrong_hits: Annotated[float, Field(ge=0.005, le=0.1)] = 0.01
    """Of questions that look alike but ask for something else, at most this share may get a kept
    answer of another question. `tiffin cache calibrate` measures it on your own questions."""
    checked_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """This share of the answers that would be given to a question in other words is written anew
    instead. If the new answer differs, the kept one counts as reported wrong."""
    confirm: str | None = None
    """A tier whose LLM is asked whether one answer fits both questions, if it hangs on that. Its
    model must be one for which docs/cache.md has figures."""
    retrieval: bool = True
    """Keep the embeddings of passages and the reranker's scores, so that documents are not embedded
    again, nor scored again for the same question."""
    ttl_s: Annotated[int, Field(ge=1)] = 3600
    """An answer is forgotten after this long."""
    redis: Annotated[str | None, Field(pattern="^(redis|rediss|unix)://[^@]*$")] = None
    """The address of a Redis or Valkey server that all replicas share, such as
    redis://host:6379/0; its password is read from REDIS_PASSWORD. If unset, each process keeps its
    own."""
    max_bytes: Annotated[int, Field(ge=1024)] = 64 * 1024 * 1024
    """Memory for kept answers (without Redis), as much for kept embeddings, and as much for kept
    scores; what was not asked for longest goes first."""
