"""Start a tier's server: `python -m pytest_edgeai.serving --repository DIR --host 127.0.0.1 --port N`.

When it is ready it prints one line of JSON with its port and how long each model took to load.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import math
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from pytest_edgeai import __version__
from pytest_edgeai.serving.repository import Execution, Model, ModelError, load_repository
from pytest_edgeai.serving.server import ServerSettings, TierServer
from pytest_edgeai.wire.links import LinkDirection, LinkShape
from pytest_edgeai.wire.waiting import POLLED_S, sleep_precisely


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server until it is told to end; the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.exit_with_parent:
        threading.Thread(target=_exit_at_end_of_input, daemon=True).start()
    for number in (
        signal.SIGTERM,
        signal.SIGINT,
    ):  # PID 1 of a container ignores SIGTERM unless it is handled
        signal.signal(number, _end)
    sleep_precisely()  # threads inherit it
    if not options.repository.is_dir():
        parser.error(f"argument --repository: {options.repository} is not a folder")
    if options.turns is not None and not options.turns.is_dir():
        parser.error(f"argument --turns: {options.turns} is not a folder")
    execution = Execution(
        threads=options.threads,
        spinning=options.spinning,
        compute_scale=options.compute_scale,
        session=options.session,
        providers=tuple(options.providers.split(",")),
        falls_back=options.fall_back,
        tier=options.tier,
        turns=options.turns,
    )
    settings = ServerSettings(
        execution=execution,
        token=_read_token(parser, options.token_file),
        upstream=options.upstream,
        link=options.link,
        upstream_link=options.upstream_link,
        polls=options.poll,
        polled_s=0.0 if options.turns is not None else POLLED_S,
        max_body_bytes=options.max_body_bytes,
        timeout_s=options.timeout,
    )
    try:
        models = load_repository(options.repository, execution)
        _check_onward(models, settings)
        server = TierServer((options.host, options.port), models, settings)
        over_link = None
        if options.inbound_link is not None:
            inbound = LinkDirection(options.inbound_link)
            over_link = TierServer((options.host, options.inbound_port), models, settings, inbound)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: cannot listen on {options.host}:{options.port}: {error.strerror}", file=sys.stderr)
        return 1
    # What is loaded stays; to look through it again and again would only interrupt requests.
    gc.collect()
    gc.freeze()
    said: dict[str, object] = {"ready": True, "port": server.server_address[1]}
    if over_link is not None:
        said["link_port"] = over_link.server_address[1]
        threading.Thread(target=over_link.serve_forever, args=(60,), daemon=True).start()
    said["load_s"] = {name: model.load_s for name, model in models.items()}
    print(json.dumps(said), flush=True)
    server.serve_forever(poll_interval=60)
    return 0


def _check_onward(models: Mapping[str, Model], settings: ServerSettings) -> None:
    for name, model in models.items():
        if model.pipeline.onward is not None and settings.upstream is None:
            raise ModelError(f"{name} is a part of a model: --upstream has to say which tier has the next")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pytest_edgeai.serving", description=__doc__)
    add = parser.add_argument
    add("--repository", type=Path, required=True, metavar="DIR", help="models: DIR/<name>/model.onnx")
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=_port, default=0, help="port to listen on; 0 takes a free one (default)")
    add("--token-file", type=Path, metavar="F", help="file with the bearer token that clients must send")
    add("--tier", default="", metavar="NAME", help="the place that spans name")
    add("--threads", type=_count, default=1, metavar="N", help="ONNX Runtime threads (default: %(default)s)")
    add("--spinning", action="store_true", help="let idle ONNX Runtime threads spin")
    add(
        "--compute-scale",
        type=_scale,
        default=1.0,
        metavar="X",
        help="stretch compute to X times its measured duration (default: %(default)s)",
    )
    add(
        "--session",
        choices=("per_deployment", "per_request"),
        default="per_deployment",
        help="when the ONNX Runtime session is created (default: %(default)s)",
    )
    add(
        "--providers",
        default="CPUExecutionProvider",
        metavar="A,B",
        help="execution providers, by preference",
    )
    add("--fall-back", action="store_true", help="leave out execution providers that are not to be had")
    add("--turns", type=Path, metavar="DIR", help="compute in turn with all servers that name this folder")
    add("--upstream", type=_address, metavar="HOST:PORT", help="where requests for unknown models go")
    add("--link", default="", metavar="NAME", help="the name of the hop to the upstream in spans")
    add("--upstream-link", type=_link, metavar="SHAPE", help="what the link to the upstream does to its answers")
    add(
        "--inbound-link",
        type=_link,
        metavar="SHAPE",
        help="listen on a second port and hold what comes there as this link does: rate_bps=1e6[,delay_s=0.01…]",
    )
    add("--inbound-port", type=_port, default=0, help="the second port; 0 takes a free one (default)")
    add("--poll", action="store_true", help="poll for the next request for a while instead of sleeping")
    add("--max-body-bytes", type=_count, default=256 * 2**20, metavar="N", help="larger bodies are refused")
    add("--timeout", type=_seconds, default=60.0, metavar="S", help="seconds that one read of a body may take")
    add("--exit-with-parent", action="store_true", help="end when standard input is closed")
    add("--version", action="version", version=__version__)
    return parser


def _count(text: str) -> int:
    return int(_number(text, 1, 2**40, whole=True))


def _port(text: str) -> int:
    return int(_number(text, 0, 65535, whole=True))


def _scale(text: str) -> float:
    return _number(text, 1, 1e6)


def _seconds(text: str) -> float:
    return _number(text, 0.001, 1e6)


def _number(text: str, least: float, most: float, *, whole: bool = False) -> float:
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:  # also where it is not a number
        kind = "a whole number" if whole else "a number"
        raise argparse.ArgumentTypeError(f"{text!r} is not {kind} from {least:g} to {most:g}")
    return number


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.removeprefix("http://").rstrip("/").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")  # as addresses of IPv6 are written before a port
    if not host:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, _port(port)


def _link(text: str) -> LinkShape:
    try:
        return LinkShape.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not the shape of a link: {error}") from None


def _read_token(parser: argparse.ArgumentParser, path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        token = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        parser.error(f"argument --token-file: {path}: {error.strerror}")
    except UnicodeDecodeError:
        parser.error(f"argument --token-file: {path} is not text")
    if not (token.isascii() and token.isprintable() and token):
        parser.error(f"argument --token-file: {path} has to hold one line of printable ASCII")
    return token


def _exit_at_end_of_input() -> NoReturn:
    """End this process when whoever started it does: that one holds the other end, also when it is killed."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed from the start, or no input at all
        while os.read(sys.stdin.fileno(), 2**16):
            pass
    os._exit(0)


def _end(number: int, frame: object) -> NoReturn:  # noqa: ARG001  # the signature of a signal handler
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
