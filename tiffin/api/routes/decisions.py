"""`/v1/decisions` in OpenAI's shape: probabilities of statements, options and levels."""

import json
from typing import Any

from fastapi import APIRouter, Request, Response

from tiffin.api.bodies import JSON, JsonRoute, model_answer
from tiffin.api.checks import check_inputs
from tiffin.api.schemas.decisions import (
    Choice,
    ChoiceAnswer,
    ChoiceProbability,
    Content,
    Decision,
    DecisionCall,
    DecisionImage,
    DecisionJson,
    DecisionOutput,
    DecisionRefusal,
    DecisionRequest,
    DecisionUsage,
    InputTokens,
    Item,
    Option,
    PredicateAnswer,
    Question,
    RefusedAnswer,
    Score,
    ScoreAnswer,
    ScoreProbability,
)
from tiffin.core.errors import UNSUPPORTED_PARAMETER, InvalidRequest
from tiffin.gateway import work_of
from tiffin.pipeline.first_token import Asked, Judged

router = APIRouter(tags=["openai"], route_class=JsonRoute)


@router.post("/v1/decisions", response_model=Decision)
async def decisions(body: DecisionRequest, http: Request) -> Response:
    """Answer each question about the input with probabilities, and say what stands behind them."""
    gateway, context = work_of(http)
    text = text_of(body)
    if not text.strip():
        raise InvalidRequest("input: nothing but white space", param="input")
    asked = [_asked(question, number) for number, question in enumerate(body.questions)]
    check_inputs([text], gateway.settings.limits, "input")
    sent = body.model_dump(mode="json", exclude_unset=True)
    decided = await gateway.decide(body.model, text, asked, context, sent)
    used = decided.usage
    usage = DecisionUsage(
        input_tokens=used.prompt_tokens,
        input_tokens_details=InputTokens(cached_tokens=used.cached_tokens),
        output_tokens=used.completion_tokens,
        total_tokens=used.prompt_tokens + used.completion_tokens,
    )
    if decided.answers is not None:  # a provider's, as it gave them
        passed = {"model": decided.model, "answers": decided.answers, "usage": usage.model_dump()}
        return Response(json.dumps(passed), media_type=JSON)
    answers = [_answer(*pair) for pair in zip(body.questions, decided.judged, strict=True)]
    return model_answer(Decision(model=decided.model, answers=answers, usage=usage))


def text_of(body: DecisionRequest) -> str:
    """The input as text: a conversation with its roles, a single message as it is.

    Raises InvalidRequest for the output of a tool that nobody called.
    """
    if isinstance(body.input, str):
        return body.input
    called = {item.call_id for item in body.input if isinstance(item, DecisionCall)}
    said = []
    for index, item in enumerate(body.input):
        if isinstance(item, DecisionOutput) and item.call_id not in called:
            name = f"input[{index}].call_id"
            raise InvalidRequest(f"{name}: no call in `input` has this id", param=name)
        said.append(_said(item, f"input[{index}]"))
    return said[0][1] if len(said) == 1 else "\n\n".join(f"{who}: {what}" for who, what in said)


def _said(item: Item, field: str) -> tuple[str, str]:
    """Who says it, and what."""
    if isinstance(item, DecisionCall):
        return "call", f"{item.name}({item.arguments or item.input or ''})"
    if isinstance(item, DecisionOutput):
        return "result", _text(item.output, f"{field}.output")
    return item.role, _text(item.content, f"{field}.content")


def _text(content: Content, field: str) -> str:
    if isinstance(content, str):
        return content
    texts = []
    for index, part in enumerate(content):
        if isinstance(part, DecisionImage):
            name = f"{field}[{index}]"
            message = f"{name}: no model here reads images; describe it in text"
            raise InvalidRequest(message, param=name, code=UNSUPPORTED_PARAMETER)
        if isinstance(part, DecisionJson):
            texts.append(json.dumps(part.data, ensure_ascii=False))
        else:
            texts.append(part.refusal if isinstance(part, DecisionRefusal) else part.text)
    return "\n".join(texts)


def _asked(question: Question, number: int) -> Asked:
    text = _text(question.instructions, f"questions[{number}].instructions")
    if isinstance(question, Choice):
        return Asked(text, [_option(option) for option in question.choices])
    if isinstance(question, Score):
        levels = [_described(level.label, level.description) for level in question.levels]
        return Asked(text, levels, scale=True)
    return Asked(text)


def _option(option: Option) -> str:
    value = option.value
    return _described(json.dumps(value) if isinstance(value, bool) else value, option.description)


def _described(label: str, description: str | None) -> str:
    return f"{label}: {description}" if description else label


def _answer(question: Question, judged: Judged) -> Any:  # noqa: ANN401  one of four
    shares = judged.probabilities
    known = {"name": question.name, "basis": judged.basis}
    if not shares:
        return RefusedAnswer(**known)
    if isinstance(question, Choice):
        options = [
            ChoiceProbability(value=option.value, probability=share)
            for option, share in zip(question.choices, shares, strict=True)
        ]
        best = max(options, key=lambda option: option.probability)
        return ChoiceAnswer(
            **known, choice=best.value, confidence=best.probability, probabilities=options
        )
    if isinstance(question, Score):
        levels = [
            ScoreProbability(value=number, label=level.label, probability=share)
            for number, (level, share) in enumerate(zip(question.levels, shares, strict=True))
        ]
        mean = sum(level.value * level.probability for level in levels)
        return ScoreAnswer(**known, score=mean, confidence=max(shares), probabilities=levels)
    return PredicateAnswer(**known, probability=shares[0])
