"""What can go wrong in a model, an engine or the catalogue, as one small tree.

`tiffin.api.errors` is where these become HTTP; nothing else translates them.
"""


class ModelError(Exception):
    """Any failure below the application. The message is safe to show to a client."""


class InputTooLong(ModelError):
    """The input does not fit the model's context."""

    def __init__(self, tokens: int, limit: int) -> None:
        super().__init__(f"the input is {tokens} tokens long, the limit is {limit}")
        self.tokens = tokens
        self.limit = limit


class AdapterUnknown(ModelError):
    """The tier has no LoRA adapter of that name."""


class InputInvalid(ModelError):
    """The input is nothing that this model can read."""


class NotSupported(ModelError):
    """The engine cannot do what one field of a `GenerateRequest` asks.

    Nothing was started; but an engine may give up on a schema amid the answer.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class EngineOverloaded(ModelError):
    """The engine's queue is full; nothing was started."""


class EngineFailed(ModelError):
    """The engine broke while it worked, or is no longer alive."""


class CatalogError(ModelError):
    """The catalogue is malformed, or names no such model."""


class WeightsError(ModelError):
    """Weights could not be fetched, verified or written. The cache is as it was before."""


class PlacementError(ModelError):
    """The models do not fit the GPUs, or the GPUs are not there. Nothing was loaded."""
