"""The heads of HTTP/1.1 messages: parsed strictly, and what they say of the body and the connection.

The standard library parses heads with the e-mail package, which takes longer than all that a tier does with a small
request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

MAX_HEADERS = 100
MAX_FIRST_LINE_BYTES = 16 * 2**10
CHUNKED = -1
"""What `body_length` gives for a body that says its length piece by piece."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")


class MessageError(Exception):
    """A message that cannot be read on: the status a server answers it with, and one sentence for the sender."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class EndedError(MessageError):
    """The sender closed the connection inside a message."""

    def __init__(self) -> None:
        super().__init__(HTTPStatus.BAD_REQUEST, "the connection ended before the message did")


class Head(NamedTuple):
    """The head of a message: its first line and its headers, by names in lower case."""

    first_line: str
    headers: Mapping[str, str]


def parse_head(raw: bytes) -> Head:
    """Parse the head of a message without its final empty line.

    Raises
    ------
    MessageError
        It is not a head.
    """
    first_line, *lines = raw.decode("latin-1").split("\r\n")
    if len(first_line) > MAX_FIRST_LINE_BYTES:
        raise long_first_line()
    if len(lines) > MAX_HEADERS:
        raise MessageError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"the head has {len(lines)} headers, over {MAX_HEADERS}",
        )
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise MessageError(HTTPStatus.BAD_REQUEST, f"the head has a line that is no header: {line[:80]!r}")
        name, value = name.lower(), value.strip(" \t")
        if name not in headers:
            headers[name] = value
        elif name != "content-length":
            headers[name] += f", {value}"
        elif headers[name] != value:
            raise MessageError(HTTPStatus.BAD_REQUEST, "the head has two different values of Content-Length")
    return Head(first_line, headers)


def whole_number(headers: Mapping[str, str], name: str) -> int | None:
    """The value of a header that is a whole number, None where the header is absent.

    Raises
    ------
    MessageError
        The value is something else.
    """
    text = headers.get(name.lower())
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise MessageError(HTTPStatus.BAD_REQUEST, f"the header {name} is not a whole number: {text[:80]!r}")
    return int(text)


def body_length(headers: Mapping[str, str]) -> int | None:
    """How long the body is in bytes, `CHUNKED`, or None where the head does not say.

    Raises
    ------
    MessageError
        The head contradicts itself or says what is not understood.
    """
    length = whole_number(headers, "Content-Length")
    coding = headers.get("transfer-encoding")
    if coding is None:
        return length
    if length is not None:
        raise MessageError(HTTPStatus.BAD_REQUEST, "the head has both Content-Length and Transfer-Encoding")
    if coding.lower() != "chunked":
        raise MessageError(HTTPStatus.NOT_IMPLEMENTED, f"the transfer coding {coding[:80]!r} is not understood")
    return CHUNKED


def keeps_alive(version: str, headers: Mapping[str, str]) -> bool:
    """Whether the sender of a head of this version (`HTTP/1.1`) leaves the connection open."""
    options = {option.strip() for option in headers.get("connection", "").lower().split(",")}
    return "keep-alive" in options if version == "HTTP/1.0" else "close" not in options


def long_first_line() -> MessageError:
    """The refusal of a request or status line that is too long."""
    return MessageError(HTTPStatus.REQUEST_URI_TOO_LONG, f"the first line has over {MAX_FIRST_LINE_BYTES} bytes")
