"""Is the model that a request names the one that this route serves."""

from tiffin.core.errors import NotFound


def check_model(asked: str | None, served: str) -> None:
    """Raise NotFound for another model than the one served; none named is that one."""
    if asked is not None and asked != served:
        message = f"model: {asked!r} is not served by this route; use {served}"
        raise NotFound(message, param="model", code="model_not_found")
