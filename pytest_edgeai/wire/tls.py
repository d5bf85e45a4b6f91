"""TLS on the client's end of a connection: whom it trusts, and a socket that messages can be sent on.

Only connections to servers with an https address need it; `ssl` is not imported for others.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Final

from pytest_edgeai.wire.connection import UntrustedServerError

_RECORD_BYTES: Final = 2**14
"""The most that one TLS record carries."""


def client_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """Whom a client trusts.

    Parameters
    ----------
    ca_file
        PEM file with the certificates to trust; None for those of the system.

    Raises
    ------
    OSError
        The file cannot be read, or holds no certificate (`ssl.SSLError`).
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


class TlsStream:
    """The part of a socket's interface that messages need, over TLS.

    Parameters
    ----------
    connection
        A connected socket; it is closed where the other end is not trusted.
    context
        Whom to trust.
    host
        Whom the certificate has to be for.

    Raises
    ------
    UntrustedServerError
        The certificate is not trusted, or is for another host.
    ConnectionError
        The other end does not speak TLS, or no version of it that this end does.
    TimeoutError
        The other end does not answer.
    """

    def __init__(self, connection: socket.socket, context: ssl.SSLContext, host: str) -> None:
        try:
            self._connection = context.wrap_socket(connection, server_hostname=host)
        except ssl.SSLCertVerificationError as error:
            raise UntrustedServerError(f"its certificate is not trusted: {error.verify_message.rstrip('.')}") from None
        except ssl.SSLError as error:
            raise ConnectionError(f"it does not speak TLS: {error.reason or error}") from None

    def gettimeout(self) -> float | None:
        """How long a read or write may take, in seconds; None for ever."""
        return self._connection.gettimeout()

    def settimeout(self, seconds: float | None) -> None:
        """Set how long a read or write may take."""
        self._connection.settimeout(seconds)

    def recv_into(self, into: memoryview) -> int:
        """Read what there is, or wait for it; 0 at the end."""
        return self._connection.recv_into(into)

    def sendmsg(self, buffers: list[memoryview]) -> int:
        """Write the first of the buffers, or all of them where they fit into one record."""
        # The head of a request and a short body in two records would be two packets.
        whole = sum(len(buffer) for buffer in buffers) <= _RECORD_BYTES
        return self._connection.send(b"".join(buffers) if whole else buffers[0])

    def shutdown(self, how: int) -> None:
        """End a direction of the connection, or both, also while another thread reads from it."""
        socket.socket.shutdown(self._connection, how)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
