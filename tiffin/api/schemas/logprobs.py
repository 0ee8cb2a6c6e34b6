"""Log probabilities of tokens, in the two forms that OpenAI publishes."""

from pydantic import BaseModel

from models.values import TokenLogprob


class TopLogprob(BaseModel):
    """A token that could have stood here."""

    token: str
    logprob: float
    bytes: list[int] | None


class Logprob(TopLogprob):
    """A token of the answer, its natural log probability, and the likeliest alternatives."""

    top_logprobs: list[TopLogprob]

    @classmethod
    def of(cls, token: TokenLogprob) -> "Logprob":
        """A token that the engine wrote."""
        top = [
            TopLogprob(token=other.token, logprob=other.logprob, bytes=other.bytes or None)
            for other in token.top
        ]
        return cls(
            token=token.token, logprob=token.logprob, bytes=token.bytes or None, top_logprobs=top
        )


class EventTopLogprob(BaseModel):
    """A token that could have stood here, as the events of a response have it: without bytes."""

    token: str
    logprob: float


class EventLogprob(EventTopLogprob):
    """A token of the text, as the events of a response have it."""

    top_logprobs: list[EventTopLogprob]

    @classmethod
    def of(cls, token: Logprob) -> "EventLogprob":
        """The same token without its bytes."""
        top = [EventTopLogprob(token=one.token, logprob=one.logprob) for one in token.top_logprobs]
        return cls(token=token.token, logprob=token.logprob, top_logprobs=top)
