"""`edgeai predict`: the command line, and what it writes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_edgeai.commands import reports

if TYPE_CHECKING:
    from pytest_edgeai.commands.what_if import Asked

DESCRIPTION: Final = """Predict how long requests would take on other links, with other cores or other payloads.

Each request that a session has measured keeps its parts. The time on a link that changes is replaced by payload × 8 /
rate + delay for its own bytes, and what the host adds to it; the stretch of a tier with other cores by that of its new
compute scale. What is predicted is marked as such everywhere.
"""
EPILOG: Final = """examples:
  edgeai predict reports/latest --link mobile-edge=20Mbit/s,5ms --cores mobile=2
  edgeai predict reports/latest --rates edge-cloud=1Mbit/s..200Mbit/s --vega rates.json

exit code: 0 predicted, 1 one or more strategies cannot be predicted, or a file cannot be written,
           2 the command line or the report cannot be used
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of `edgeai predict`."""
    reports.add_arguments(parser)
    add = parser.add_argument
    add(
        "--link",
        action="append",
        default=[],
        metavar="A-B=RATE[,DELAY]",
        help="another rate, or one-way delay, of a link: mobile-edge=20Mbit/s,5ms; may be given several times",
    )
    add(
        "--cores",
        action="append",
        default=[],
        metavar="TIER=N",
        help="another number of declared cores of a tier; may be given several times",
    )
    add("--payload", metavar="SIZE", help="another length of requests on the wire, heads included: 50kB")
    add("--percentile", type=float, default=50.0, metavar="P", help="of latency (default: 50, the median)")
    add("--rates", metavar="A-B=LOW..HIGH", help="say which strategy is the best over a range of rates of a link")
    add("--csv", metavar="PATH", help="write latencies over the rates of --rates as CSV; - prints it")
    add("--vega", metavar="PATH", help="write them as a plot in Vega-Lite's JSON; - prints it")


def run(options: argparse.Namespace) -> int:
    """Predict, and print; the exit code."""
    from pytest_edgeai.commands.what_if import predicted
    from pytest_edgeai.errors import EdgeAIError
    from pytest_edgeai.reporting import predictions

    try:
        folder, document = reports.read_report(options.report, options.root)
        found = predicted(folder.resolve().name, document, _asked(options))
    except EdgeAIError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    printed = False
    for path, text in (
        (options.csv, predictions.curves_csv(found)),
        (options.vega, json.dumps(predictions.curves_plot(found), indent=1, allow_nan=False) + "\n"),
    ):
        if path == "-":
            print(text, end="")
            printed = True
        elif path is not None:
            try:
                Path(path).write_text(text, encoding="utf-8")
            except OSError as error:
                print(f"error: {path} cannot be written: {error.strerror}", file=sys.stderr)
                return 1
    if options.json:
        print(json.dumps(predictions.document(found), indent=1, allow_nan=False))
    elif not printed:
        print(predictions.markdown(found), end="")
    return 1 if found.failures else 0


def _asked(options: argparse.Namespace) -> Asked:
    """What the command line asks for.

    Raises
    ------
    SettingsError
        An option cannot be understood.
    """
    from pytest_edgeai.commands.what_if import Asked
    from pytest_edgeai.errors import SettingsError

    if not 0 < options.percentile < 100:
        raise SettingsError(f"--percentile: a number above 0 and below 100, not {options.percentile:g}")
    for name in ("csv", "vega"):
        if getattr(options, name) is not None and options.rates is None:
            raise SettingsError(f"--{name} needs --rates, the range over which latencies are to be predicted")
    links: dict[str, tuple[float | None, float | None]] = {}
    for link, text in _pairs("--link", options.link):
        rate_bps = delay_s = None
        for part in text.split(","):
            if "bit/s" in part:
                rate_bps = _read("--link", part, "rate")
            else:
                delay_s = _read("--link", part, "time")
        links[link] = (rate_bps, delay_s)
    cores = {}
    for tier, text in _pairs("--cores", options.cores):
        try:
            cores[tier] = float(text)
        except ValueError:
            raise SettingsError(f"--cores: {text!r} is not a number of cores") from None
        if not 0 < cores[tier] <= 1024:
            raise SettingsError(f"--cores: a number above 0 and at most 1024, not {text}")
    rates = None
    for link, text in _pairs("--rates", [] if options.rates is None else [options.rates]):
        low, dots, high = text.partition("..")
        if not dots:
            raise SettingsError(f"--rates: a range such as {link}=1Mbit/s..200Mbit/s, not {options.rates!r}")
        rates = (link, _read("--rates", low, "rate"), _read("--rates", high, "rate"))
        if not 0 < rates[1] < rates[2]:
            raise SettingsError(f"--rates: the second rate is above the first, which {text!r} is not")
    payload_bytes = None if options.payload is None else _read("--payload", options.payload, "memory")
    return Asked(links, cores, payload_bytes, options.percentile, options.tier, options.model, rates)


def _pairs(option: str, given: Sequence[str]) -> list[tuple[str, str]]:
    from pytest_edgeai.errors import SettingsError

    for text in given:
        name, sign, value = text.partition("=")
        if not (name and sign and value):
            raise SettingsError(f"{option}: a name, = and a value, not {text!r}")
    names = [text.partition("=")[0] for text in given]
    if len(set(names)) < len(names):
        raise SettingsError(f"{option}: {max(names, key=names.count)} is given twice")
    return [(name, text.partition("=")[2]) for name, text in zip(names, given, strict=True)]


def _read(option: str, text: str, dimension: str) -> float:
    from pytest_edgeai.errors import SettingsError
    from pytest_edgeai.tiers.quantities import parse_quantity

    try:
        value = parse_quantity(text, dimension)
    except ValueError as error:
        raise SettingsError(f"{option}: {error}") from None
    if dimension == "rate" and not 1e3 <= value <= 1e12:
        raise SettingsError(f"{option}: a rate from 1 kbit/s to 1000 Gbit/s, not {text!r}")
    return value
