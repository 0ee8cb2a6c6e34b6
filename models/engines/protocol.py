"""What an engine must do, no matter which library it uses. Called by `services/` only."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.values import ChatMessage, EngineHealth, GenerateRequest, TokenEvent, Tool


class LLMEngine(Protocol):
    """Generates text. All methods belong to one event loop."""

    context_tokens: int
    """Tokens of prompt and answer together that one request may hold."""

    async def start(self) -> None:
        """Load the weights and answer one token, so that the first request finds a warm engine."""

    def generate(self, request: GenerateRequest) -> AsyncGenerator[TokenEvent, None]:
        """Yield `TextDelta`s and `ToolCallDelta`s, then one `Finished`.

        Closing the generator (or cancelling the task that reads it) aborts the generation.
        Before the first event it raises InputTooLong if the prompt leaves no room for an answer in
        `context_tokens`, AnswerTooLong if it leaves less than `max_tokens`, and NotSupported for a
        field that it cannot honour. It raises EngineFailed if the engine dies. No field is ever
        ignored.
        """

    async def count_tokens(
        self, messages: Sequence[ChatMessage], tools: Sequence[Tool] = ()
    ) -> int:
        """Tokens of the prompt that messages and tools become under the model's chat template."""

    async def health(self) -> EngineHealth:
        """Answer at once, without touching the weights."""

    async def close(self) -> None:
        """Abort running generations and free the weights. Idempotent."""


Raw_contra = TypeVar("Raw_contra", contravariant=True)
Tokenized = TypeVar("Tokenized")


class EncoderEngine(Protocol[Raw_contra, Tokenized]):
    """Turns inputs into float32 rows: vectors (embedding) or one logit (cross-encoder).

    Beside the logit may stand a reading (`models.engines.reading`). The methods block:
    `tiffin.traffic.batching` calls them off the event loop. Of a tokenized input only its length is
    public (`tokens`, special tokens included), and whether it was `cut`.
    """

    max_tokens: int
    """Longer inputs are truncated, as in the bare library."""

    def tokenize(self, inputs: Sequence[Raw_contra]) -> list[Tokenized]:
        """Tokenize without padding; `len(result) == len(inputs)`."""

    def tokenize_whole(self, inputs: Sequence[Raw_contra]) -> list[Tokenized]:
        """Tokenize without truncating. Raises InputTooLong for the first that is too long."""

    def count(self, inputs: Sequence[Raw_contra]) -> list[int]:
        """The tokens of each input without truncation, special tokens included."""

    def run(self, batch: Sequence[Tokenized]) -> NDArray[np.float32]:
        """One forward pass. Returns float32 of shape (len(batch), width), in input order."""
