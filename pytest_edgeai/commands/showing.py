"""`edgeai show` and `edgeai figures`: look at a report in the browser, and take its plots and tables out of it."""

from __future__ import annotations

import argparse
import json
import sys
import webbrowser
from pathlib import Path
from typing import Any

from pytest_edgeai.errors import EdgeAIError

_REPORT = "a report's folder, or its results.json (default: the newest report of the project)"


class ShowError(EdgeAIError):
    """There is no such report, or it cannot be read; one sentence."""


def add_show_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of `edgeai show`."""
    parser.add_argument("report", nargs="?", type=Path, metavar="REPORT", help=_REPORT)
    parser.add_argument("--root", type=Path, default=Path(), metavar="DIR", help="the project (default: here)")
    parser.add_argument("--print", action="store_true", dest="only_print", help="print the path and open nothing")


def add_figures_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of `edgeai figures`."""
    parser.add_argument("report", type=Path, metavar="REPORT", help="a report's folder, or its results.json")
    parser.add_argument("target", type=Path, metavar="DIR", help="where to write; made when needed")


def show(options: argparse.Namespace) -> int:
    """Open the page of a report in the browser, and print its path; a report without one gets it."""
    from pytest_edgeai.reporting.files import PAGE
    from pytest_edgeai.reporting.page.rendering import render

    try:
        results = _newest(options.root) if options.report is None else _results(options.report)
        page = results.with_name(PAGE)
        if not page.exists():
            page.write_text(render(_read(results)), encoding="utf-8")
    except EdgeAIError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{error.filename} cannot be written: {error.strerror}")
    print(page)
    if not options.only_print and not webbrowser.open(page.absolute().as_uri()):
        return _refuse("no browser can be opened: open the file above in one, or give --print")
    return 0


def figures(options: argparse.Namespace) -> int:
    """Write each plot of a report as SVG, and each table as CSV and LaTeX (with the package booktabs)."""
    from pytest_edgeai.reporting.figures import write_figures, write_tables
    from pytest_edgeai.reporting.page.results import Results
    from pytest_edgeai.reporting.page.sections import sections_of

    try:
        sections = sections_of(Results(_read(_results(options.report))))
        files = write_figures(options.target, [plot for section in sections for plot in section.plots])
        files += write_tables(options.target, [table for section in sections for table in section.tables])
    except EdgeAIError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{options.target} cannot be written: {error.strerror}")
    print(f"wrote {len(files)} files into {options.target}")
    return 0


def _newest(root: Path) -> Path:
    """The results of the newest report; folders are named by the time."""
    from pytest_edgeai.reporting.files import RESULTS
    from pytest_edgeai.settings import load_settings

    reports = root / load_settings(root, {}).report
    found = [path for path in reports.glob(f"*/{RESULTS}") if not path.parent.is_symlink()]  # `latest` is a link
    if not found:
        raise ShowError(f"{reports} has no report: run pytest --benchmark-only, or name a report")
    return max(found)


def _results(report: Path) -> Path:
    from pytest_edgeai.reporting.files import RESULTS

    path = report / RESULTS if report.is_dir() else report
    if not path.is_file():
        raise ShowError(f"{report} is no report: name a folder that has {RESULTS}")
    return path


def _read(path: Path) -> dict[str, Any]:
    from pytest_edgeai.reporting.files import RESULTS_FORMAT

    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ShowError(f"{path} cannot be read: {error}") from None
    known = isinstance(document, dict) and document.get("format") == RESULTS_FORMAT
    if not known or "strategies" not in document:
        raise ShowError(f"{path} does not have the results of a session in format {RESULTS_FORMAT}")
    return dict(document)


def _refuse(sentence: str) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return 2
