"""How long an answer may be. Both LLM engines ask before they generate."""

from models.errors import AnswerTooLong, InputTooLong


def answer_tokens(asked: int | None, prompt_tokens: int, context_tokens: int) -> int:
    """The most tokens of an answer: those asked for, or else all that the context has left.

    Raises InputTooLong if the prompt leaves none, and AnswerTooLong if it leaves fewer than asked.
    """
    room = context_tokens - prompt_tokens
    if room < 1:
        raise InputTooLong(prompt_tokens, context_tokens)
    if asked is not None and asked > room:
        raise AnswerTooLong(asked, prompt_tokens, context_tokens)
    return room if asked is None else asked
