"""Images in a conversation: read from its parts, and refused if no tier can see them.

Called by the routes `chat` and `messages`. An image's address is passed on to the provider and
never fetched here, so that no client can make this server call another.
"""

import base64
import binascii
import re
from collections.abc import Iterable

from models.values import ChatMessage, Image
from tiffin.api.schemas.chat import ImagePart, Message
from tiffin.config.routing import VISION
from tiffin.config.settings import Settings
from tiffin.core.errors import NO_TIER_SATISFIES, InvalidRequest

MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif")

_DATA_URL = re.compile(r"data:([a-z]+/[a-z0-9.+-]+);base64,(.+)", re.DOTALL)


def parts_of(message: Message, param: str) -> list[str | Image]:
    """A turn's texts and images in order, or nothing if it has no image. Raises InvalidRequest."""
    if not isinstance(message.content, list):
        return []
    parts: list[str | Image] = []
    for index, part in enumerate(message.content):
        if not isinstance(part, ImagePart):
            parts.append(part.text)
            continue
        where = f"{param}.content[{index}]"
        if message.role != "user":
            raise InvalidRequest(f"{where}: only a user's turn may hold an image", param=where)
        parts.append(_image(part, f"{where}.image_url.url"))
    return parts if any(isinstance(part, Image) for part in parts) else []


def check_seen(messages: Iterable[ChatMessage], tier: str, settings: Settings) -> None:
    """Raise InvalidRequest, naming the first image, if no tier that may answer has vision.

    `tier` names the only one that may, or a policy, under which all may.
    """
    capabilities = {str(name): card.capabilities for name, card in settings.tiers.items()}
    capabilities |= {name: card.capabilities for name, card in settings.providers.items()}
    asked = [tier] if tier in capabilities else list(capabilities)
    if any(VISION in capabilities[name] for name in asked):
        return
    for turn, message in enumerate(messages):
        for index, part in enumerate(message.parts):
            if isinstance(part, Image):
                where = f"messages[{turn}].content[{index}]"
                text = f"{where}: an image needs a tier with vision; {', '.join(asked)}: without it"
                raise InvalidRequest(text, param=where, code=NO_TIER_SATISFIES)


def _image(part: ImagePart, param: str) -> Image:
    url, detail = part.image_url.url, part.image_url.detail or "auto"
    if url.startswith("https://"):
        return Image(url, detail=detail)
    matched = _DATA_URL.fullmatch(url)
    if matched is None:
        text = f"{param}: give an https address or data:<type>;base64,<bytes>"
        raise InvalidRequest(text, param=param)
    media_type, data = matched.groups()
    return checked_image(media_type, data, param, detail)


def checked_image(media_type: str, data: str, param: str, detail: str = "auto") -> Image:
    """An image as base64. Raises InvalidRequest for another type, or for what is not base64."""
    if media_type not in MEDIA_TYPES:
        text = f"{param}: {media_type} is none of {', '.join(MEDIA_TYPES)}"
        raise InvalidRequest(text, param=param)
    try:
        base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise InvalidRequest(f"{param}: not base64: {error}", param=param) from None
    return Image(data, media_type, detail)
