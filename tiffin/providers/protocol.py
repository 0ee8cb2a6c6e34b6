"""The interface of an LLM tier for the pipeline, no matter who serves it."""

from collections.abc import AsyncGenerator
from typing import Protocol

from models.values import GenerateRequest, TokenEvent
from tiffin.core.context import RequestContext


class LLM(Protocol):
    """A tier: a service of ours behind its client, or a provider behind its SDK."""

    def generate(
        self, request: GenerateRequest, context: RequestContext
    ) -> AsyncGenerator[TokenEvent, None]:
        """Stream the answer; closing the generator stops the work. Raises TiffinError."""
        ...
