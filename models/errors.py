"""Errors of models, engines and the catalogue, as one small tree.

Only `tiffin.api.errors` translates them to HTTP.
"""


class ModelError(Exception):
    """Any failure below the application. The message is safe to show to a client."""


class InputTooLong(ModelError):
    """The input does not fit the model's context."""

    def __init__(self, tokens: int, limit: int) -> None:
        super().__init__(
            f"the input is {tokens} tokens long, and this model's maximum context length is"
            f" {limit} tokens; send less"
        )


class AnswerTooLong(ModelError):
    """The input fits the model's context, and an answer of `max_tokens` after it does not."""

    def __init__(self, max_tokens: int, tokens: int, limit: int) -> None:
        super().__init__(
            f"max_tokens: {max_tokens} is too large: this model's maximum context length is"
            f" {limit} tokens, and the input takes {tokens}; ask for at most {limit - tokens}"
        )


class AdapterUnknown(ModelError):
    """The tier has no LoRA adapter of that name."""


class InputInvalid(ModelError):
    """The input is not something that this model can read."""


class NotSupported(ModelError):
    """The engine cannot do what one field of a `GenerateRequest` asks.

    Usually nothing was started, but an engine may give up on a schema in the middle of an answer.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class EngineOverloaded(ModelError):
    """The engine's queue is full; nothing was started."""


class EngineFailed(ModelError):
    """The engine failed while it worked, or is no longer alive."""


class CatalogError(ModelError):
    """The catalogue is malformed, or does not have the model."""


class WeightsError(ModelError):
    """Weights could not be fetched, verified or written. The store is unchanged."""


class PlacementError(ModelError):
    """The models do not fit the GPUs, or the GPUs do not exist. Nothing was loaded."""
