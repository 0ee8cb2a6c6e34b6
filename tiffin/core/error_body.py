"""The body of every answer that is not a success, and of an error frame in a stream.

Written by `tiffin.api.errors`, and below every route by the services' HTTP server.
"""

from tiffin.core.errors import TiffinError

MESSAGE_CHARS = 2000
"""The longest that a message is, apart from the dots in it; it may quote what was sent."""


def error_body(error: TiffinError) -> dict[str, dict[str, str | None]]:
    """The JSON body that an error becomes; what a client sent is not all sent back to it."""
    param = None if error.param is None else _shortened(error.param)
    message = _shortened(error.message)
    return {"error": {"message": message, "type": error.type, "param": param, "code": error.code}}


def _shortened(text: str) -> str:
    if len(text) <= MESSAGE_CHARS:
        return text
    return f"{text[: MESSAGE_CHARS // 2]} ... {text[-MESSAGE_CHARS // 2 :]}"
