"""The events of a streamed `/v1/responses`, as OpenAI publishes them."""

from typing import Annotated

from pydantic import BaseModel, Field

from tiffin.api.schemas.chat import Logprob
from tiffin.api.schemas.openai import absent
from tiffin.api.schemas.responses import OutputItem, OutputText, Response


class EventTopLogprob(BaseModel):
    """A token that could have stood here, as events have it: without its bytes."""

    token: str
    logprob: float


class EventLogprob(EventTopLogprob):
    """A token of the text, as events have it."""

    top_logprobs: list[EventTopLogprob]

    @classmethod
    def of(cls, token: Logprob) -> "EventLogprob":
        """The same token without its bytes."""
        top = [EventTopLogprob(token=one.token, logprob=one.logprob) for one in token.top_logprobs]
        return cls(token=token.token, logprob=token.logprob, top_logprobs=top)


class ResponseEvent(BaseModel):
    """One event of a stream; which fields it has follows from its type."""

    type: str
    sequence_number: int
    response: Annotated[Response | None, Field(exclude_if=absent)] = None
    output_index: Annotated[int | None, Field(exclude_if=absent)] = None
    content_index: Annotated[int | None, Field(exclude_if=absent)] = None
    item_id: Annotated[str | None, Field(exclude_if=absent)] = None
    item: Annotated[OutputItem | None, Field(exclude_if=absent)] = None
    part: Annotated[OutputText | None, Field(exclude_if=absent)] = None
    delta: Annotated[str | None, Field(exclude_if=absent)] = None
    text: Annotated[str | None, Field(exclude_if=absent)] = None
    name: Annotated[str | None, Field(exclude_if=absent)] = None
    arguments: Annotated[str | None, Field(exclude_if=absent)] = None
    logprobs: Annotated[list[EventLogprob] | None, Field(exclude_if=absent)] = None
