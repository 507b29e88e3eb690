"""An LLM server for ASGI servers: it says the prompt back, a word an event; to one that begins with "hang" without end.

GET /hanging: how many of those are under way.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
hanging: set[int] = set()


async def app(scope: Any, receive: Receive, send: Send) -> None:
    """One request, or the life of the server."""
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    body = await read(receive)
    if scope["method"] == "GET":
        models = {"data": [{"id": f"model of HTTP/{scope['http_version']}"}]}
        answer = len(hanging) if scope["path"] == "/hanging" else models
        await begin(send, b"application/json")
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
        return
    prompt: str = json.loads(body)["messages"][-1]["content"]
    await begin(send, b"text/event-stream")
    for word in prompt.split(" "):
        await say(send, {"content": word + " "})
    if prompt.startswith("hang"):
        hanging.add(id(scope))
        while (await receive())["type"] != "http.disconnect":
            pass
        hanging.discard(id(scope))
        return
    await say(send, {}, finish_reason="stop")
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def live(receive: Receive, send: Send) -> None:
    while (event := (await receive())["type"]) != "lifespan.shutdown":
        await send({"type": f"{event}.complete"})
    await send({"type": f"{event}.complete"})


async def read(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def begin(send: Send, content_type: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})


async def say(send: Send, delta: dict[str, str], finish_reason: str | None = None) -> None:
    event = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}
    data = f"data: {json.dumps(event)}\n\n".encode()
    await send({"type": "http.response.body", "body": data, "more_body": True})
