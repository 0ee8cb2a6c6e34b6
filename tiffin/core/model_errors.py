"""What a failure of the ground floor (`models.errors`) is for a request.

Called by `tiffin.transport.server` in every service and by `tiffin.api.errors`.
"""

from models.errors import (
    AdapterUnknown,
    AnswerTooLong,
    EngineFailed,
    EngineOverloaded,
    InputInvalid,
    InputTooLong,
    NotSupported,
)
from tiffin.core.errors import (
    TOO_LONG,
    ContextExceeded,
    InvalidRequest,
    NotFound,
    Overloaded,
    TiffinError,
    UpstreamFailed,
)


def from_model_error(error: Exception) -> TiffinError:  # noqa: PLR0911  a table
    """The request error that a failure of the ground floor amounts to."""
    match error:
        case InputTooLong():
            return ContextExceeded(str(error), code=TOO_LONG)
        case AnswerTooLong():
            return ContextExceeded(str(error), param="max_tokens", code=TOO_LONG)
        case AdapterUnknown():
            return NotFound(str(error), code="model_not_found")
        case InputInvalid():
            return InvalidRequest(str(error))
        case NotSupported():
            return InvalidRequest(str(error), param=error.field, code="unsupported_value")
        case EngineOverloaded():
            return Overloaded(str(error))
        case EngineFailed():
            return UpstreamFailed(str(error))
        case _:
            return UpstreamFailed("an unexpected error has occurred; the server's log has it")
