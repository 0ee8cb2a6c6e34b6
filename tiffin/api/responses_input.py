"""What clients send to `/v1/responses` as the engine takes it: turns, tools, a schema."""

from models.values import ChatMessage, GenerateRequest, ToolCall
from tiffin.api.schemas.file_search import InputSearchCall, SearchChoice
from tiffin.api.schemas.openai import chosen_tool
from tiffin.api.schemas.responses import (
    InputCall,
    InputCallOutput,
    InputMessage,
    InputReasoning,
    InputReference,
    NamedFunction,
    ResponsesRequest,
    ResponsesTool,
    TextOptions,
    text_of,
)
from tiffin.core.errors import InvalidRequest

LOGPROBS = "message.output_text.logprobs"


def generate_request(body: ResponsesRequest) -> GenerateRequest:
    """What the engine is asked. Raises InvalidRequest for fields that do not go together."""
    text = body.text or TextOptions()
    wanted = body.top_logprobs is not None or LOGPROBS in (body.include or ())
    return GenerateRequest(
        messages=_messages(body),
        max_tokens=body.max_output_tokens,
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        logprobs=(body.top_logprobs or 0) if wanted else None,
        tools=[tool.tool() for tool in _functions(body)],
        tool_choice=_tool_choice(body),
        parallel_tool_calls=body.parallel_tool_calls is not False,
        json_schema=text.format.constraint(),
        strict_schema=bool(text.format.strict),
        prompt_cache_key=body.prompt_cache_key,
    )


def _messages(body: ResponsesRequest) -> list[ChatMessage]:
    messages = [ChatMessage("system", body.instructions)] if body.instructions else []
    if isinstance(body.input, str):
        return [*messages, ChatMessage("user", body.input)]
    for item in body.input:
        if isinstance(item, InputReasoning | InputReference | InputSearchCall):
            continue  # no reference gets past the body's check
        turn = _turn(item)
        last = messages[-1] if messages else None
        if turn.tool_calls and last is not None and last.role == "assistant":
            # The text and the calls of one turn are several items.
            calls = [*last.tool_calls, *turn.tool_calls]
            messages[-1] = ChatMessage("assistant", last.content, calls)
        else:
            messages.append(turn)
    if not messages:
        raise InvalidRequest("input: there is no turn in it to answer", param="input")
    return messages


def _turn(item: InputMessage | InputCall | InputCallOutput) -> ChatMessage:
    if isinstance(item, InputCall):
        return ChatMessage("assistant", "", [ToolCall(item.call_id, item.name, item.arguments)])
    if isinstance(item, InputCallOutput):
        return ChatMessage("tool", text_of(item.output), [], item.call_id)
    return ChatMessage("system" if item.role == "developer" else item.role, text_of(item.content))


def _functions(body: ResponsesRequest) -> list[ResponsesTool]:
    return [tool for tool in body.tools or () if isinstance(tool, ResponsesTool)]


def _tool_choice(body: ResponsesRequest) -> str:
    names = [tool.name for tool in _functions(body)]
    if isinstance(body.tool_choice, SearchChoice):
        message = "tool_choice: file_search is not among the tools"
        raise InvalidRequest(message, param="tool_choice")
    if isinstance(body.tool_choice, NamedFunction):
        return chosen_tool(None, body.tool_choice.name, names)
    return chosen_tool(body.tool_choice, None, names)
