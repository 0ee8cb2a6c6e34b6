"""What a request meets first in every service: our routes before BentoML's, and no pickle.

BentoML unpickles what a client sends to any service but the entry service, which lets the client
run code. Here a pickle content type is refused by every service, before BentoML sees the request.
"""

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from tiffin.core import errors
from tiffin.transport import wire


def refusal(error: errors.TiffinError) -> ASGIApp:
    """The error in the shape that services send each other."""

    async def answer(_: Scope, __: Receive, send: Send) -> None:
        headers = [(b"content-type", wire.MESSAGE_TYPE.encode())]
        await send({"type": "http.response.start", "status": error.status, "headers": headers})
        await send({"type": "http.response.body", "body": wire.encode_error(error)})

    return answer


class Dispatcher:
    """ASGI middleware, added to a service with `Service.add_asgi_middleware`.

    `front` answers what it `owns` by method and path; BentoML's own app answers the rest. `refuse`
    makes the answer to a pickle, by default in the shape that services read.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        front: ASGIApp,
        owns: Callable[[str, str], bool],
        refuse: Callable[[errors.TiffinError], ASGIApp] = refusal,
    ) -> None:
        self._behind = app
        self._front = front
        self._owns = owns
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self._behind(scope, receive, send)
        elif _carries_pickle(scope):
            error = errors.UnsupportedMedia("pickled messages are never read")
            await self._refuse(error)(scope, receive, send)
        elif self._owns(scope["method"], scope["path"]):
            await self._front(scope, receive, send)
        else:
            await self._behind(scope, receive, send)


def _carries_pickle(scope: Scope) -> bool:
    return any(
        name == b"content-type" and b"pickle" in value.lower() for name, value in scope["headers"]
    )
