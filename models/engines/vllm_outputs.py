"""vLLM's outputs as our events, for the vLLM engine."""

from collections.abc import AsyncGenerator
from typing import Any, get_args

from models.engines.grammar import Grammar
from models.engines.vllm_parsers import AnswerReader
from models.values import Finished, FinishReason, TextDelta, TokenEvent, TokenLogprob, TokenUsage


class EndedEarly(Exception):
    """vLLM ended an answer neither at its end nor at its limit."""


async def events_of(
    outputs: AsyncGenerator[Any, None],
    prompt: list[int],
    grammar: Grammar | None,
    reader: AnswerReader | None,
) -> AsyncGenerator[TokenEvent, None]:
    """The outputs as our events. vLLM withholds a character until all its bytes are there."""
    completion_tokens = 0
    cached_tokens = 0
    logprobs: list[TokenLogprob] = []
    async for output in outputs:
        (completion,) = output.outputs
        completion_tokens += len(completion.token_ids)
        cached_tokens = output.num_cached_tokens or cached_tokens
        logprobs += _logprobs(completion)
        if reader is not None:
            for event in reader.read(completion, prompt, logprobs):
                yield event
            logprobs = []
        elif completion.text:
            yield TextDelta(completion.text, logprobs)
            logprobs = []
        if completion.finish_reason is not None:
            _check_end(completion, grammar)
            usage = TokenUsage(
                prompt_tokens=len(prompt),
                completion_tokens=completion_tokens,
                cached_tokens=cached_tokens,
            )
            finished = Finished(completion.finish_reason, usage)
            yield finished if reader is None else reader.ended(finished)


def _check_end(completion: Any, grammar: Grammar | None) -> None:  # noqa: ANN401
    """Raise EndedEarly if the answer is incomplete; a stop string may end it amid JSON."""
    if completion.finish_reason not in get_args(FinishReason):
        raise EndedEarly(f"it ended the answer with {completion.finish_reason!r}")
    of_itself = completion.finish_reason == "stop" and not isinstance(completion.stop_reason, str)
    if of_itself and grammar is not None and not grammar.matcher.is_accepting():
        raise EndedEarly("it gave up on the grammar")


def _logprobs(completion: Any) -> list[TokenLogprob]:  # noqa: ANN401  vLLM carries no types
    """Each token of this output with its alternatives, likeliest first."""
    found = []
    token_ids = completion.token_ids
    if completion.finish_reason == "stop" and completion.stop_reason is None:
        token_ids = token_ids[:-1]  # the model's end token is no part of the text
    for token_id, position in zip(token_ids, completion.logprobs or (), strict=False):
        ranked = sorted(position.items(), key=lambda item: item[1].rank)
        chosen = position[token_id]
        top = [_token_logprob(token) for _, token in ranked]
        found.append(_token_logprob(chosen, top))
    return found


def _token_logprob(token: Any, top: list[TokenLogprob] | None = None) -> TokenLogprob:  # noqa: ANN401
    text = token.decoded_token or ""
    return TokenLogprob(text, token.logprob, list(text.encode()), top or [])
