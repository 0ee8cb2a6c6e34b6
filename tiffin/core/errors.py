"""What can go wrong in a request: one tree, each error with its HTTP status and public message.

Raised anywhere in `tiffin`, sent between services by `tiffin.transport`, shown to clients by
`tiffin.api.errors`:

    TiffinError (500)
    ├── InvalidRequest (400)        a value that cannot be
    │   ├── MethodNotAllowed (405)
    │   ├── BodyTooLarge (413)
    │   ├── UnsupportedMedia (415)
    │   ├── FieldTooLarge (422)
    │   │   └── ContextExceeded (400)   more tokens than the model reads
    │   └── HeadersTooLarge (431)
    ├── Unauthenticated (401)       no key, or one that opens nothing
    ├── Forbidden (403)             the credential does not allow it
    ├── NotFound (404)              no such route, model or tier
    ├── SpendingCapReached (429)    the money for today or this month is spent
    ├── RateLimited (429)           more requests than are allowed; try again later
    ├── Overloaded (503)            nothing was started; try again later
    ├── Unavailable (503)           the service that should do it is not there
    ├── StorageFull (507)           the disk has no room for what should be stored
    ├── DeadlineExceeded (504)
    │   └── RequestTimeout (408)    the request itself did not come in time
    └── UpstreamFailed (500)        it broke while it worked
"""

import errno
from typing import ClassVar

UNSUPPORTED_PARAMETER = "unsupported_parameter"
"""Code of an InvalidRequest that is valid, only not for this tier: another may take it."""

TOO_LONG = "context_length_exceeded"
"""Code of a ContextExceeded."""

NO_TIER_SATISFIES = "no_tier_satisfies"
"""Code of an InvalidRequest that no tier could answer within the policy and its caps."""

CONTENT_FILTER = "content_filter"
"""Code of an InvalidRequest that the safety policy refuses."""

PROVIDER_OVERLOADED = "upstream_overloaded"
"""Code of an Overloaded that somebody else's service answered: its Retry-After is theirs."""


class TiffinError(Exception):
    """A failure with its place on the wire. `message` is shown to clients as it is."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s


class InvalidRequest(TiffinError):
    """The request cannot be served as it stands; the message names the field and what it allows."""

    status = 400
    type = "invalid_request_error"


class MethodNotAllowed(InvalidRequest):
    """The route exists, for another HTTP method."""

    status = 405


class BodyTooLarge(InvalidRequest):
    """The body exceeds the byte limit; it was not parsed."""

    status = 413


class UnsupportedMedia(InvalidRequest):
    """A content type that this route does not read."""

    status = 415


class FieldTooLarge(InvalidRequest):
    """One field exceeds its limit."""

    status = 422


class ContextExceeded(FieldTooLarge):
    """More tokens than the model reads. OpenAI's clients know it by 400, the code and the words."""

    status = 400


class Unauthenticated(TiffinError):
    """No credential came along where one is needed, or one that opens nothing."""

    status = 401
    type = "authentication_error"


class Forbidden(TiffinError):
    """The credential is not one that allows this."""

    status = 403
    type = "permission_error"


class HeadersTooLarge(InvalidRequest):
    """The header lines together exceed their limit."""

    status = 431


class NotFound(TiffinError):
    """No such route, model or tier."""

    status = 404
    type = "not_found_error"


class SpendingCapReached(TiffinError):
    """Answering would exceed a cap on a day, or a budget of a day or a month."""

    status = 429
    type = "insufficient_quota"


class RateLimited(TiffinError):
    """More requests than are allowed in this time; `retry_after_s` says when there is room."""

    status = 429
    type = "rate_limit_error"


class Overloaded(TiffinError):
    """A queue is full; nothing was started."""

    status = 503
    type = "overloaded_error"

    def __init__(
        self, message: str, *, retry_after_s: int | None = 1, **fields: str | None
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s, **fields)


class Unavailable(Overloaded):
    """The service that should answer is starting, dead or unreachable."""


class StorageFull(TiffinError):
    """The disk has no room. What was stored before is still there and can be asked."""

    status = 507


class DeadlineExceeded(TiffinError):
    """The request's deadline passed."""

    status = 504
    type = "timeout_error"


class RequestTimeout(DeadlineExceeded):
    """The client began a request and did not send the rest of it in time."""

    status = 408


class UpstreamFailed(TiffinError):
    """A service or engine broke while it worked on this request."""


RECOVERABLE = (Overloaded, UpstreamFailed, DeadlineExceeded)
"""How a service fails that something can stand in for: it takes no more, broke, or is late."""


def from_full_disk(error: Exception) -> StorageFull | None:
    """The error of the request if this one says that a disk is full; else None."""
    no_room = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
    # LanceDB puts the system's words into an error of its own.
    if no_room or any(words in str(error) for words in _FULL):
        message = "the server's disk is full, so nothing was stored; its operator must make room"
        return StorageFull(message, code="insufficient_storage")
    return None


_FULL = (
    "database or disk is full",
    "No space left on device",
    "No usable temporary directory",  # Python looks for one with room when it needs the first
)
