"""a remote tier that tells what it likes: a real one, behind a server that exchanges the spans of its answers."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pytest_edgeai.wire.timing import HEADER

_PATIENCE_S = 30.0
_HOP_BY_HOP = {"connection", "content-length", "host", "transfer-encoding"}


@contextlib.contextmanager
def forged_server(repository: Path, spans: str | None, python_path: Path) -> Iterator[str]:
    """A server of the models in a folder; its address.

    Parameters
    ----------
    repository
        With a folder for each model.
    spans
        What answers have in place of `Server-Timing`; None for an answer without it.
    python_path
        Where the package is imported from.
    """
    command = [sys.executable, "-m", "pytest_edgeai.serving", "--repository", str(repository), "--exit-with-parent"]
    environment = {**os.environ, "PYTHONPATH": str(python_path)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as tier:
        patience = threading.Timer(_PATIENCE_S, tier.kill)  # one that never says its port
        try:
            assert tier.stdout is not None
            patience.start()
            port = int(json.loads(tier.stdout.readline())["port"])
            patience.cancel()
            server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(port, spans))
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                server.server_close()
                thread.join(_PATIENCE_S)
        finally:
            patience.cancel()
            tier.kill()


def _handler(port: int, spans: str | None) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Hands requests on to the tier, and answers back with other spans."""

        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:  # the library's name
            """Ask for what the tier says of itself."""
            self._hand_on()

        def do_POST(self) -> None:  # the library's name
            """Infer."""
            self._hand_on()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # the library's name
            """Stay silent."""

        def _hand_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {key: value for key, value in self.headers.items() if key.lower() not in _HOP_BY_HOP}
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
            with contextlib.closing(connection):
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
            self.send_response(answer.status)
            for key, value in answer.getheaders():
                if key.lower() not in _HOP_BY_HOP | {"date", "server", HEADER.lower()}:
                    self.send_header(key, value)
            if spans is not None and answer.getheader(HEADER) is not None:
                self.send_header(HEADER, spans)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler
