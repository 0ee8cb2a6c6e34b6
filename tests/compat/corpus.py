"""A small corpus for the retrievers of frameworks: OpenAI's client fills it and takes it away."""

from collections.abc import Iterator
from contextlib import contextmanager

import openai

from tests.compat.calls import KEY, PASSAGES, V1

client = openai.OpenAI(base_url=V1, api_key=KEY, max_retries=0)


@contextmanager
def corpus() -> Iterator[str]:
    """The id of a vector store in which every passage is a file."""
    files = [
        client.files.create(file=(f"{number}.txt", text.encode()), purpose="user_data").id
        for number, text in enumerate(PASSAGES)
    ]
    store = client.vector_stores.create(name="retrieved").id
    try:
        batch = client.vector_stores.file_batches.create_and_poll(
            store, file_ids=files, poll_interval_ms=200
        )
        assert batch.file_counts.completed == len(PASSAGES)
        yield store
    finally:
        client.vector_stores.delete(store)
        for file in files:
            client.files.delete(file)
