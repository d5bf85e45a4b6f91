"""`edgeai comment` and `edgeai badge`: what a report says, for a pull request and for a page."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_edgeai.errors import EdgeAIError

if TYPE_CHECKING:
    import argparse

NEWEST: Final = Path("reports/latest")


def add_comment_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `edgeai comment`."""
    _add_report(parser)
    parser.add_argument(
        "--post",
        action="store_true",
        help="post it on GitHub instead, in the place of an earlier one; reads GITHUB_TOKEN, GITHUB_REPOSITORY and "
        "GITHUB_API_URL, as a workflow has them",
    )
    parser.add_argument(
        "--pull-request", type=int, metavar="N", help="which pull request (default: the one that the workflow runs for)"
    )
    parser.add_argument(
        "--name",
        default="",
        metavar="NAME",
        help="of this comment among those of other jobs: only one of the same name is replaced (default: none)",
    )


def add_badge_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `edgeai badge`."""
    _add_report(parser)
    parser.add_argument("file", type=Path, metavar="FILE", help="the SVG file to write")


def comment(options: argparse.Namespace) -> int:
    """Print the comment on a pull request that a report amounts to, in Markdown; or post it.

    The exit code is 0 also where GitHub does not allow the token to comment, as on pull requests from forks: that is
    said and no failure. It is 1 where GitHub cannot be reached, and 2 where the report cannot be read.
    """
    from pytest_edgeai.commands import github
    from pytest_edgeai.reporting.pull_request import comment as written

    try:
        text = written(read_report(options.report), name=options.name.strip(), where=_where())
    except EdgeAIError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not options.post:
        print(text, end="")
        return 0
    try:
        print(github.post(text, os.environ, options.pull_request))
    except github.RefusedError as error:
        print(f"no comment was posted: {error}", file=sys.stderr)
    except EdgeAIError as error:
        print(f"error: no comment was posted: {error}", file=sys.stderr)
        return 1
    return 0


def badge(options: argparse.Namespace) -> int:
    """Write a badge that says how many strategies of a report are green."""
    from pytest_edgeai.reporting.badge import badge as drawn

    try:
        options.file.write_text(drawn(read_report(options.report)), encoding="utf-8")
    except EdgeAIError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {options.file} cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def read_report(path: Path) -> Mapping[str, Any]:
    """The content of a report's `results.json`.

    Parameters
    ----------
    path
        The folder of the report, or the file.

    Raises
    ------
    ReportError
        It cannot be read, or is of another version's format.
    """
    from pytest_edgeai.errors import ReportError
    from pytest_edgeai.reporting.files import RESULTS, RESULTS_FORMAT

    file = path / RESULTS if path.is_dir() else path
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(
            f"{file} cannot be read: {error.strerror}; name a folder of reports, which pytest --benchmark-only writes"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{file} is no report: {error}") from None
    if not isinstance(document, dict) or document.get("format") != RESULTS_FORMAT:
        raise ReportError(f"{file} is no report of format {RESULTS_FORMAT}; measure again with this version")
    return document


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "report",
        nargs="?",
        type=Path,
        default=NEWEST,
        metavar="REPORT",
        help="the folder of a report or its results.json (default: %(default)s)",
    )


def _where() -> str:
    """Where all of a report is: with the artifacts of the workflow, if this is one."""
    names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    server, repository, run = (os.environ.get(name, "") for name in names)
    if server and repository and run:
        return f"they are in the artifacts of {server}/{repository}/actions/runs/{run}"
    return "they are in summary.md of the report"
