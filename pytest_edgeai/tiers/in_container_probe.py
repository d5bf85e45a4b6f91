"""InContainerProbe that are asked from inside a container, by a process there that lives as long as the deployment."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from pytest_edgeai.wire.client import RequestError, Transfer
from pytest_edgeai.wire.links import LinkShape

if TYPE_CHECKING:
    from socket import socket
    from types import TracebackType

    from docker.models.containers import Container

    from docker import APIClient

_HEADER = struct.Struct(">BxxxL")  # of the engine's frames: which stream, how many bytes
_STDOUT = 1


class InContainerProbe:
    """A prober in a container.

    Parameters
    ----------
    interface
        The engine's.
    container
        Which one.
    timeout_s
        How long the answer to a question may take.
    token
        Of the tiers.
    """

    def __init__(self, interface: APIClient, container: Container, timeout_s: float, token: str) -> None:
        self._timeout_s = timeout_s
        self._token = token
        self._pending = b""
        command = ["python3", "-P", "-m", "pytest_edgeai.serving.prober"]
        created = interface.exec_create(container.id, command, stdin=True, stdout=True, stderr=False)
        stream: Any = interface.exec_start(created["Id"], socket=True)
        self._stream = stream
        # Over TCP and Unix sockets the client wraps the socket, over SSH it does not.
        self._socket: socket = getattr(stream, "_sock", stream)
        self._socket.settimeout(timeout_s)
        self._line()

    def ask(
        self, address: str, method: str, path: str, size_bytes: int = 0, link: LinkShape | None = None
    ) -> dict[str, Any]:
        """The answer to a request that is sent from inside.

        Parameters
        ----------
        address
            Host and port as seen from there.
        method, path
            Of the request.
        size_bytes
            Of a POST's body.
        link
            What the link does to answers, where the address is for what comes over a link that is held.

        Raises
        ------
        RequestError
            There is no answer, or it is an error.
        """
        question = {
            "address": address,
            "method": method,
            "path": path,
            "bytes": size_bytes,
            "timeout_s": self._timeout_s,
            "token": self._token,
        }
        if link is not None:
            question["link"] = link.as_argument()
        try:
            self._socket.sendall(f"{json.dumps(question)}\n".encode())
            answer: dict[str, Any] = json.loads(self._line())
        except (OSError, ValueError) as error:
            raise RequestError(f"nobody asks {address} from inside the tier any more: {error}") from None
        if "error" in answer:
            raise RequestError(answer["error"])
        if answer["status"] != 200:
            raise RequestError(f"{address} answered {answer['status']}: {answer.get('document', 'nothing')}")
        return answer

    def line(self, address: str, link: LinkShape | None = None) -> ProbedLine:
        """A connection to an address as the link probe wants it, over a link that is held or without one."""
        return ProbedLine(self, address, link)

    def close(self) -> None:
        """End the process inside."""
        with contextlib.suppress(OSError):
            self._socket.close()
        with contextlib.suppress(OSError):
            self._stream.close()

    def _line(self) -> bytes:
        while b"\n" not in self._pending:
            kind, length = _HEADER.unpack(self._exactly(_HEADER.size))
            piece = self._exactly(length)
            if kind == _STDOUT:
                self._pending += piece
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _exactly(self, count: int) -> bytes:
        pieces = b""
        while len(pieces) < count:
            piece = self._socket.recv(count - len(pieces))
            if not piece:
                raise ConnectionResetError("the process inside has ended")
            pieces += piece
        return pieces


class ProbedLine:
    """A connection over one link, whose near end is inside a container.

    Parameters
    ----------
    questions
        Who asks.
    address
        The far end.
    link
        What the link does to answers, where they are to be held.
    """

    def __init__(self, questions: InContainerProbe, address: str, link: LinkShape | None) -> None:
        self._questions = questions
        self._address = address
        self._link = link

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def upload(self, path: str, size_bytes: int) -> Transfer:
        """Post so many bytes."""
        return _transfer(self._questions.ask(self._address, "POST", path, size_bytes, link=self._link))

    def download(self, path: str) -> Transfer:
        """Get a body."""
        return _transfer(self._questions.ask(self._address, "GET", path, link=self._link))


def _transfer(answer: Mapping[str, Any]) -> Transfer:
    return Transfer(answer["took_s"], answer["sent_bytes"], answer["received_bytes"])
