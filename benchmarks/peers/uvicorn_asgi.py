"""The tier's own model and codec behind a bare ASGI application, without its spans: `uvicorn_asgi.py PORT MODELS`.

So the difference to a tier is the HTTP server alone. uvloop and httptools are taken where they are installed, as by
`uvicorn[standard]`.
"""

# mypy: ignore-errors
# (the package is not installed where the project is checked)

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn

from pytest_edgeai.serving.repository import Execution, Model
from pytest_edgeai.wire import protocol

_HEADER = protocol.JSON_LENGTH_HEADER.lower().encode()
_MODEL = Model(Path(sys.argv[2]) / "noop", Execution())


async def application(
    scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Answer a request."""
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    length = next((int(value) for name, value in scope["headers"] if name == _HEADER), None)
    request = protocol.decode_request(b"".join(parts), length)
    outputs, _ = _MODEL.infer(request.inputs)
    body = protocol.encode_response("noop", outputs, request)
    content = body.join()
    headers = [(b"content-length", str(len(content)).encode()), (_HEADER, str(body.json_length).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


if __name__ == "__main__":
    uvicorn.run(application, port=int(sys.argv[1]), log_level="error", access_log=False, lifespan="off")
