"""`/v1/completions`: raw text or tokens in, what follows them out, whole or streamed."""

import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial

from fastapi import APIRouter, Request, Response
from msgspec import structs

from models.values import (
    Finished,
    FinishReason,
    GenerateRequest,
    TokenLogprob,
    ToolCallDelta,
)
from tiffin.api.bodies import JsonRoute, model_answer
from tiffin.api.checks import check_prompts
from tiffin.api.generation import Begin, Generation, begin
from tiffin.api.schemas.completions import (
    MAX_PROMPTS,
    Completion,
    CompletionChoice,
    CompletionLogprobs,
    CompletionRequest,
)
from tiffin.api.schemas.openai import MAX_CHOICES, check_stream_options, seed_of, stops, usage_of
from tiffin.api.sse import STREAM, event_stream, frames
from tiffin.core.errors import InvalidRequest, UpstreamFailed
from tiffin.gateway import work_of
from tiffin.pipeline.writing import Piece

router = APIRouter(tags=["openai"], route_class=JsonRoute)


@router.post("/v1/completions", response_model=Completion, responses=STREAM)
async def completions(body: CompletionRequest, http: Request) -> Response:
    """Continue each prompt. With `stream: true`: pieces of `text_completion`, then `[DONE]`."""
    gateway, context = work_of(http)
    requests = generate_requests(body)
    check_prompts(requests, gateway.settings.limits, "prompt")
    events = gateway.write(body.model, requests, context, whole=not body.stream, cache=body.cache)
    headers: dict[str, str] = {}
    start = partial(begin, events, requests[0], context.bill, headers, prompt_field="prompt")
    n = body.n or 1
    if body.stream:
        usage = bool(body.stream_options and body.stream_options.include_usage)
        return event_stream(frames(_chunks(start, n if usage else 0)), headers)
    return model_answer(await _whole(await start(), len(requests), n), headers)


def _opened(generation: Generation) -> Completion:
    """The answer before its first word."""
    return Completion(
        id=f"cmpl-{secrets.token_hex(16)}",
        created=generation.created,
        model=generation.head.model,
        choices=[],
    )


def generate_requests(body: CompletionRequest) -> list[GenerateRequest]:
    """One request for each choice of each prompt, in the order of their indexes."""
    check_stream_options(body.stream_options, stream=body.stream)
    prompts = _prompts(body.prompt)
    n = body.n or 1
    if body.best_of not in {None, 1, n}:
        message = "best_of: every answer made is answered; only 1, or as many as n, is possible"
        raise InvalidRequest(message, param="best_of", code="unsupported_value")
    if not 1 <= len(prompts) <= MAX_PROMPTS or len(prompts) * n > max(MAX_PROMPTS, MAX_CHOICES):
        message = f"prompt: from 1 to {MAX_PROMPTS} prompts, counted n times each"
        raise InvalidRequest(message, param="prompt")
    if not all(prompts):
        raise InvalidRequest("prompt: there is nothing to continue in it", param="prompt")
    request = GenerateRequest(
        max_tokens=body.max_tokens or 16,
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        presence_penalty=body.presence_penalty or 0.0,
        frequency_penalty=body.frequency_penalty or 0.0,
        stop=stops(body.stop),
        logprobs=body.logprobs,
        ignore_eos=bool(body.ignore_eos),
    )
    return [
        structs.replace(request, prompt=prompt, seed=seed_of(body.seed, choice))
        for prompt in prompts
        for choice in range(n)
    ]


def _prompts(prompt: str | list[str] | list[int] | list[list[int]]) -> Sequence[str | list[int]]:
    if isinstance(prompt, str):
        return [prompt]
    tokens = [token for token in prompt if isinstance(token, int)]
    if tokens:
        return [tokens]
    return [item for item in prompt if not isinstance(item, int)]


class _Answer:
    """One choice as it comes together; counts its characters for the offsets of its tokens."""

    def __init__(self) -> None:
        self.text = ""
        self.reason: FinishReason | None = None
        self.logprobs = CompletionLogprobs(
            tokens=[], token_logprobs=[], top_logprobs=[], text_offset=[]
        )
        self._offset = 0

    def add(self, piece: Piece) -> CompletionChoice:
        """Take the next event; returns what it adds, as a stream shows it."""
        event = piece.event
        if isinstance(event, Finished):
            self.reason = event.reason
            return CompletionChoice(index=piece.index, text="", finish_reason=event.reason)
        if isinstance(event, ToolCallDelta):
            raise UpstreamFailed("the model called a tool that no one offered")
        self.text += event.text
        logprobs = self._legacy(event.logprobs) if event.logprobs else None
        return CompletionChoice(
            index=piece.index, text=event.text, logprobs=logprobs, finish_reason=None
        )

    def choice(self, index: int) -> CompletionChoice:
        """The whole answer."""
        logprobs = self.logprobs if self.logprobs.tokens else None
        return CompletionChoice(
            index=index, text=self.text, logprobs=logprobs, finish_reason=self.reason
        )

    def _legacy(self, tokens: list[TokenLogprob]) -> CompletionLogprobs:
        offsets = []
        for token in tokens:
            offsets.append(self._offset)
            self._offset += len(token.token)
        added = CompletionLogprobs(
            tokens=[token.token for token in tokens],
            token_logprobs=[token.logprob for token in tokens],
            top_logprobs=[{top.token: top.logprob for top in token.top} for token in tokens],
            text_offset=offsets,
        )
        whole = self.logprobs
        whole.tokens += added.tokens
        whole.token_logprobs += added.token_logprobs
        whole.top_logprobs += added.top_logprobs
        whole.text_offset += added.text_offset
        return added


async def _whole(generation: Generation, answers: int, n: int) -> Completion:
    found = [_Answer() for _ in range(answers)]
    async with aclosing(generation.pieces) as pieces:
        async for piece in pieces:
            found[piece.index].add(piece)
    choices = [answer.choice(index) for index, answer in enumerate(found)]
    usage = usage_of(generation.usages, generation.bill.usd, n)
    return _opened(generation).model_copy(update={"choices": choices, "usage": usage})


async def _chunks(begin: Begin, usage_for_n: int) -> AsyncGenerator[Completion, None]:
    """One chunk an event; then the usage, unless it is for 0 choices."""
    generation = await begin()
    opened = _opened(generation)
    answers: dict[int, _Answer] = {}
    async with aclosing(generation.pieces) as pieces:
        async for piece in pieces:
            choice = answers.setdefault(piece.index, _Answer()).add(piece)
            yield opened.model_copy(update={"choices": [choice]})
    if usage_for_n:
        usage = usage_of(generation.usages, generation.bill.usd, usage_for_n)
        yield opened.model_copy(update={"usage": usage})
