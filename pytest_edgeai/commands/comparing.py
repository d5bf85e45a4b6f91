"""`edgeai compare`: two saved sessions, strategy by strategy."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_edgeai.errors import EdgeAIError
from pytest_edgeai.versions import DEFAULT_STORAGE

if TYPE_CHECKING:
    from pytest_edgeai.verdicts.comparison import Comparison

_FORMATS: Final = ("json", "markdown", "junit", "html")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    for name in ("before", "after"):
        parser.add_argument(
            name, metavar=name.upper(), help="a path, a name, a number, a git revision, or latest, of a saved session"
        )
    add = parser.add_argument
    add("--root", type=Path, default=Path(), metavar="DIR", help="the project (default: here)")
    add(
        "--storage",
        default=DEFAULT_STORAGE,
        metavar="DIR",
        help="where pytest-benchmark keeps sessions (default: %(default)s)",
    )
    add(
        "--window",
        type=int,
        default=1,
        metavar="N",
        help="learn how much sessions differ from the N last ones of BEFORE, a branch or a name: at least 3 "
        "(default: %(default)s, a constant)",
    )
    add("--json", metavar="PATH", help="write JSON; - prints it instead of the table")
    add("--markdown", metavar="PATH", help="write Markdown for a pull request; - prints it instead")
    add("--junit", metavar="PATH", help="write a JUnit report; - prints it instead")
    add("--html", metavar="PATH", help="write a page with plots, which needs nothing else; - prints it instead")


def compare(options: argparse.Namespace) -> int:
    """Compare two saved sessions, strategy by strategy; exit code 1 where something is worse or missing."""
    from pytest_edgeai.settings import load_settings
    from pytest_edgeai.verdicts.comparison import compare as compared
    from pytest_edgeai.verdicts.comparison import rules
    from pytest_edgeai.versions.baselines import find_file, find_window, recording_at

    try:
        places = options.root, options.storage
        file = find_file(options.after, *places)
        before = find_window(options.before, *places, options.window, file)
        after = recording_at(file, options.after)
        found = compared(before, after, *rules(load_settings(options.root, {})))
    except EdgeAIError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    paths = {name: getattr(options, name) for name in _FORMATS}
    for name, path in paths.items():
        if path == "-":
            print(_WRITERS[name](found), end="")
        elif path is not None:
            try:
                Path(path).write_text(_WRITERS[name](found), encoding="utf-8")
            except OSError as error:
                print(f"error: {path} cannot be written: {error.strerror}", file=sys.stderr)
                return 2
    if "-" not in paths.values():
        _show(found)
    return 1 if found.fails else 0


def _show(found: Comparison) -> None:
    from rich.console import Console

    from pytest_edgeai.reporting import comparison as written
    from pytest_edgeai.reporting.drawing import drawn

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 170)
    print(drawn(written.table(found), console.width, colours=console.is_terminal, whole=True))
    for sentence in written.sentences(found):
        console.print(sentence, markup=False, soft_wrap=True)
    style = "red" if found.fails else "green" if found.green else "yellow"
    console.print(written.verdict(found), markup=False, soft_wrap=True, style=style)


def _json(found: Comparison) -> str:
    from pytest_edgeai.reporting.files import finite

    return json.dumps(finite(found.as_json()), indent=1, allow_nan=False) + "\n"


def _markdown(found: Comparison) -> str:
    from pytest_edgeai.reporting.comparison import markdown

    return markdown(found)


def _junit(found: Comparison) -> str:
    from pytest_edgeai.reporting.junit import comparison_report

    return comparison_report(found)


def _html(found: Comparison) -> str:
    from pytest_edgeai.reporting.files import finite
    from pytest_edgeai.reporting.page.rendering import render_comparison

    return render_comparison(finite(found.as_json()))


_WRITERS: Final[Mapping[str, Callable[[Comparison], str]]] = {
    "json": _json,
    "markdown": _markdown,
    "junit": _junit,
    "html": _html,
}
