"""Request bodies that a client has compressed: `Content-Encoding: gzip` or `deflate`, never larger than allowed."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from http import HTTPStatus

from pytest_edgeai.wire.heads import MessageError
from pytest_edgeai.wire.tensors import Buffer, ProtocolError

_WINDOW_BITS: Mapping[str, int] = {
    "deflate": zlib.MAX_WBITS,
    "gzip": zlib.MAX_WBITS + 16,
    "x-gzip": zlib.MAX_WBITS + 16,
}


def check_coding(headers: Mapping[str, str]) -> None:
    """Refuse a coding that is not known, before the body is read.

    Parameters
    ----------
    headers
        Of the request, by names in lower case.

    Raises
    ------
    MessageError
        The body is compressed by something else than gzip or deflate, or more than once.
    """
    coding = _coding(headers)
    if coding not in ("identity", *_WINDOW_BITS):
        sentence = f"Content-Encoding is {coding[:80]!r}; gzip and deflate are understood"
        raise MessageError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, sentence)


def decompress(body: Buffer, headers: Mapping[str, str], most_bytes: int) -> Buffer:
    """The body as it was before its sender compressed it; the body itself where it is not compressed.

    Parameters
    ----------
    body
        As it came.
    headers
        Of the request, by names in lower case.
    most_bytes
        How many bytes may be in it.

    Raises
    ------
    MessageError
        There are more bytes in it: decompression ends there.
    ProtocolError
        It is not compressed as its header says, or cut off.
    """
    coding = _coding(headers)
    if coding == "identity":
        return body
    decompressor = zlib.decompressobj(_WINDOW_BITS[coding])
    try:
        content = decompressor.decompress(body, most_bytes + 1)
    except zlib.error as error:
        raise ProtocolError(f"the body is not compressed by {coding}: {error}") from None
    if len(content) > most_bytes:
        sentence = f"the compressed body has more than {most_bytes} bytes in it, which are taken at most"
        raise MessageError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, sentence)
    if not decompressor.eof:
        raise ProtocolError("the compressed body is cut off")
    if decompressor.unused_data:
        raise ProtocolError("the compressed body goes on after its end")
    return content


def _coding(headers: Mapping[str, str]) -> str:
    return headers.get("content-encoding", "identity").lower()
