"""Asks from inside a tier: `python -m pytest_edgeai.serving.prober` takes a question on each line and answers it.

A question is a JSON object with `address` (HOST:PORT), `method` (GET or POST), `path`, `bytes`, `timeout_s`, `token`
and, where the address is for what comes over a link, `link` (`LinkShape.as_argument`); a POST sends so many zeros. The
answer says how long the exchange took, how many bytes were sent and received, and its status, with the body where it is
JSON, or what failed. One connection is kept open for each address. It ends with its input.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from pytest_edgeai.wire.connection import Connection
from pytest_edgeai.wire.heads import MessageError
from pytest_edgeai.wire.links import LinkDirection, LinkShape

_LARGEST_DOCUMENT_BYTES = 2**20


def main() -> int:
    """Answer until the input ends."""
    connections: dict[str, Connection] = {}
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        address = question["address"]
        if address not in connections:
            host, _, port = address.rpartition(":")
            shape = question.get("link")
            link = None if shape is None else LinkDirection(LinkShape.parse(shape))
            connections[address] = Connection(host, int(port), timeout_s=question["timeout_s"], link=link)
        print(json.dumps(_ask(connections[address], question)), flush=True)
    return 0


def _ask(connection: Connection, question: dict[str, Any]) -> dict[str, Any]:
    posts = question["method"] == "POST"
    headers = {"Authorization": f"Bearer {question['token']}"}
    if posts:
        headers["Content-Type"] = "application/octet-stream"
    body = [bytes(question["bytes"])] if posts else None
    started = time.perf_counter()
    try:
        response = connection.exchange(question["method"], question["path"], headers, body)
    except TimeoutError:
        return {"error": f"{connection.address} did not answer within {question['timeout_s']:g} s"}
    except (OSError, MessageError) as error:
        return {"error": f"the connection to {connection.address} failed: {error}"}
    took_s = time.perf_counter() - started
    answer: dict[str, Any] = {
        "took_s": took_s,
        "status": response.status,
        "sent_bytes": response.sent_bytes,
        "received_bytes": response.received_bytes,
    }
    if response.headers.get("content-type") == "application/json" and len(response.content) < _LARGEST_DOCUMENT_BYTES:
        answer["document"] = json.loads(bytes(response.content))
    return answer


if __name__ == "__main__":
    sys.exit(main())
