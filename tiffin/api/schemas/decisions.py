"""The body and answer of `/v1/decisions`, as OpenAI publishes them.

`basis` in an answer is our own: it says what stands behind the probabilities.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, Tag, model_validator

from tiffin.api.schemas.openai import JsonObject, ModelName, Sent, by_type
from tiffin.core.values import Items
from tiffin.pipeline.first_token import Basis

MAX_QUESTIONS = 400
MAX_CHOICES = 255
MAX_LEVELS = 10


class DecisionText(Sent):
    """Text to judge."""

    type: Literal["input_text", "output_text"]
    text: str
    prompt_cache_breakpoint: Any = None


class DecisionRefusal(Sent):
    """What a model said in place of an answer."""

    type: Literal["refusal"]
    refusal: str


class DecisionJson(Sent):
    """JSON, which is judged as its text."""

    type: Literal["input_json"]
    data: JsonObject | Items[JsonObject]
    prompt_cache_breakpoint: Any = None


class DecisionImage(Sent):
    """An image. Only providers that answer decisions themselves see it."""

    type: Literal["input_image"]
    image_url: str
    detail: Literal["low", "high", "auto", "original"] | None = None
    prompt_cache_breakpoint: Any = None


Part = Annotated[
    Annotated[DecisionText, Tag("Text")]
    | Annotated[DecisionRefusal, Tag("Refusal")]
    | Annotated[DecisionJson, Tag("Json")]
    | Annotated[DecisionImage, Tag("Image")],
    by_type(
        {
            "input_text": "Text",
            "output_text": "Text",
            "refusal": "Refusal",
            "input_json": "Json",
            "input_image": "Image",
        }
    ),
]
Content = str | Items[Part]


class DecisionMessage(Sent):
    """A turn of a conversation."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Content
    phase: str | None = None


class DecisionCall(Sent):
    """A call of a tool: `arguments` are JSON text, the `input` of a custom tool is any text."""

    type: Literal["function_call", "custom_tool_call"]
    call_id: str
    name: str
    arguments: str | None = None
    input: str | None = None
    id: str | None = None
    namespace: str | None = None
    status: str | None = None

    @model_validator(mode="after")
    def _has_what_it_is_called_with(self) -> "DecisionCall":
        field = "arguments" if self.type == "function_call" else "input"
        if getattr(self, field) is None:
            raise ValueError(f"type {self.type!r} needs its {field}")
        return self


class DecisionOutput(Sent):
    """What a tool gave."""

    type: Literal["function_call_output", "custom_tool_call_output"]
    call_id: str
    output: Content
    id: str | None = None
    status: str | None = None


Item = Annotated[
    Annotated[DecisionMessage, Tag("Message")]
    | Annotated[DecisionCall, Tag("Call")]
    | Annotated[DecisionOutput, Tag("Output")],
    by_type(
        {
            "message": "Message",
            "function_call": "Call",
            "custom_tool_call": "Call",
            "function_call_output": "Output",
            "custom_tool_call_output": "Output",
        },
        unsaid="message",
    ),
]


class _Question(Sent):
    instructions: Annotated[Content, Field(min_length=1)]
    name: str | None = None


class Predicate(_Question):
    """How likely it is that a statement is true or, if it asks, that the input answers it."""

    type: Literal["predicate"]


class Option(Sent):
    """One of the options. A boolean and a string with the same text are two."""

    value: str | bool
    description: str | None = None


class Choice(_Question):
    """Which of the options fits the input."""

    type: Literal["choice"]
    choices: Annotated[Items[Option], Field(min_length=2, max_length=MAX_CHOICES)]

    @model_validator(mode="after")
    def _each_is_unique(self) -> "Choice":
        values = {(type(option.value), option.value) for option in self.choices}
        if len(values) < len(self.choices):
            raise ValueError("choices: each value may be there once only")
        return self


class Level(Sent):
    """A level of a scale."""

    label: str
    description: str | None = None


class Score(_Question):
    """Which level of a scale, lowest first, fits the input."""

    type: Literal["score"]
    levels: Annotated[Items[Level], Field(min_length=2, max_length=MAX_LEVELS)]


Question = Annotated[
    Annotated[Predicate, Tag("Predicate")]
    | Annotated[Choice, Tag("Choice")]
    | Annotated[Score, Tag("Score")],
    by_type({"predicate": "Predicate", "choice": "Choice", "score": "Score"}),
]


class DecisionRequest(Sent):
    """Questions about one input."""

    model: ModelName
    input: Annotated[
        str | Items[Item], Field(min_length=1, description="What all the questions are about.")
    ]
    questions: Annotated[Items[Question], Field(min_length=1, max_length=MAX_QUESTIONS)]
    # Change nothing about the answer.
    prompt_cache_key: str | None = None
    prompt_cache_options: Any = None
    safety_identifier: str | None = None


class _Answer(BaseModel):
    name: str | None
    basis: Annotated[Basis, Field(description="What stands behind the probabilities.")]


class PredicateAnswer(_Answer):
    """How likely it is."""

    type: Literal["predicate"] = "predicate"
    probability: float


class ChoiceProbability(BaseModel):
    """An option's."""

    value: str | bool
    probability: float


class ChoiceAnswer(_Answer):
    """The likeliest option; `confidence` is its probability."""

    type: Literal["choice"] = "choice"
    choice: str | bool
    confidence: float
    probabilities: list[ChoiceProbability]


class ScoreProbability(BaseModel):
    """A level's; `value` is its position, from 0."""

    value: int
    label: str
    probability: float


class ScoreAnswer(_Answer):
    """`score` is the mean of the levels' positions; `confidence` is that of the likeliest level."""

    type: Literal["score"] = "score"
    score: float
    confidence: float
    probabilities: list[ScoreProbability]


class RefusedAnswer(_Answer):
    """The model would have said something else than one of the answers."""

    type: Literal["refusal"] = "refusal"


class InputTokens(BaseModel):
    """What the tokens read are made of."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputTokens(BaseModel):
    """No model here thinks before it decides."""

    reasoning_tokens: int = 0


class DecisionUsage(BaseModel):
    """Tokens of all questions together."""

    input_tokens: int
    input_tokens_details: InputTokens
    output_tokens: int
    output_tokens_details: OutputTokens = OutputTokens()
    total_tokens: int


class Decision(BaseModel):
    """One answer for each question, in their order."""

    model: str
    answers: list[PredicateAnswer | ChoiceAnswer | ScoreAnswer | RefusedAnswer]
    usage: DecisionUsage
