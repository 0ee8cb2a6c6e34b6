"""OpenAI's Agents SDK, which speaks `/v1/responses` unless told otherwise."""

from typing import Any

import openai
import pydantic
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)

from tests.compat.calls import KEY, QUESTION, V1, Calls

calls = Calls("openai-agents")
set_tracing_disabled(True)
BRIEF: Any = {"temperature": 0, "max_tokens": 60}


class City(pydantic.BaseModel):
    """What the structured answers are made of."""

    name: str = pydantic.Field(max_length=12)
    capital: bool


@function_tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city[:12]}, 21 degrees"


def agent(kind: Any = OpenAIResponsesModel, settings: Any = None, **more: Any) -> Agent:
    client = openai.AsyncOpenAI(base_url=V1, api_key=KEY, max_retries=0)
    return Agent(
        name="helper",
        model=kind("auto", client),
        model_settings=ModelSettings(**BRIEF, **(settings or {})),
        **more,
    )


@calls.works("Runner.run")
async def run() -> None:
    assert "Tokyo" in (await Runner.run(agent(), QUESTION)).final_output


@calls.works("Runner.run_streamed")
async def streamed() -> None:
    result = Runner.run_streamed(agent(), QUESTION)
    kinds = [event.type async for event in result.stream_events()]
    assert "raw_response_event" in kinds
    assert "Tokyo" in result.final_output


@calls.works("Agent(output_type=Model)")
async def structured() -> None:
    found = await Runner.run(agent(output_type=City), QUESTION)
    assert isinstance(found.final_output, City)


async def called(kind: Any) -> None:
    """A tool is called and the run ends; the next one reads the call and its result."""
    asked = agent(
        kind,
        tools=[weather],
        settings={"tool_choice": "required"},
        tool_use_behavior="stop_on_first_tool",
    )
    found = await Runner.run(asked, "How is the weather in Paris?")
    assert any(item.type == "tool_call_output_item" for item in found.new_items)
    turns = [*found.to_input_list(), {"role": "user", "content": "And is it warm?"}]
    assert (await Runner.run(agent(kind), turns)).final_output


@calls.works("Agent(tools), the result sent back")
async def tools() -> None:
    await called(OpenAIResponsesModel)


@calls.works("Runner.run with the turns before")
async def second_turn() -> None:
    found = await Runner.run(agent(), QUESTION)
    turns = [*found.to_input_list(), {"role": "user", "content": "And of Italy?"}]
    assert (await Runner.run(agent(), turns)).final_output


@calls.works("OpenAIChatCompletionsModel: Runner.run, run_streamed, tools")
async def chat() -> None:
    assert "Tokyo" in (await Runner.run(agent(OpenAIChatCompletionsModel), QUESTION)).final_output
    result = Runner.run_streamed(agent(OpenAIChatCompletionsModel), QUESTION)
    assert [event async for event in result.stream_events()]
    await called(OpenAIChatCompletionsModel)


calls.run()
