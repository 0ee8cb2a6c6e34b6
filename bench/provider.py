"""An OpenAI endpoint without weights, for proxies that can only stand before one of these.

`python -m bench.provider PORT`. The request's seed says how many ms an answer takes.
"""

import asyncio
import json
import sys

import uvicorn
from starlette.types import Receive, Scope, Send

from bench.gateway_services import ANSWER

MESSAGE = {"role": "assistant", "content": ANSWER}
BODY = json.dumps(
    {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 0,
        "model": "weightless",
        "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 8, "total_tokens": 18},
    }
).encode()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer every request alike (ASGI)."""
    if scope["type"] != "http":
        return
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await asyncio.sleep((json.loads(body or b"{}").get("seed") or 0) / 1000)
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", lifespan="off")
