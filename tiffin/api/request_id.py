"""The id of a request: the client's, or one made for it. It is in the log and in every response."""

import re
from collections.abc import Mapping

from tiffin.core.context import new_request_id

REQUEST_ID_HEADER = "x-request-id"
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


def request_id_of(headers: Mapping[str, str]) -> str:
    """The id that the client gave, if it can be one; else a new one."""
    request_id = headers.get(REQUEST_ID_HEADER, "")
    return request_id if _REQUEST_ID.fullmatch(request_id) else new_request_id()
