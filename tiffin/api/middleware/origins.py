"""Which pages' scripts may call. `tiffin.api.app` puts it outermost, where origins are given."""

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from tiffin.api.errors import error_response
from tiffin.core.errors import InvalidRequest


class Origins(CORSMiddleware):
    """Starlette's, which tells a browser no in a plain text that no client of ours reads."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """What a browser is told that asks whether a page may call."""
        response = super().preflight_response(request_headers)
        if response.status_code != HTTPStatus.BAD_REQUEST:
            return response
        reason = bytes(response.body).decode().removeprefix("Disallowed ")
        message = f"not allowed: {reason}; TIFFIN_ACCESS__CORS_ORIGINS names the origins that are"
        refusal = error_response(InvalidRequest(message, param="origin", code="cors"))
        for name, value in response.headers.items():
            refusal.headers.setdefault(name, value)
        return refusal
