"""Reading `results.json` of a report: that of a folder, or of the newest session of a project."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_edgeai.collection.completion import Names, complete, models, tiers
from pytest_edgeai.errors import EdgeAIError, SettingsError, unknown
from pytest_edgeai.reporting.files import RESULTS, RESULTS_FORMAT
from pytest_edgeai.settings import load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which report, and which of its strategies, a command takes."""
    add = parser.add_argument
    add(
        "report",
        nargs="?",
        type=Path,
        metavar="REPORT",
        help="the folder of a report, or its results.json (default: the newest of the project)",
    )
    complete(add("--tier", metavar="TIER", help="only strategies on this tier, chain or these nodes"), Names(tiers))
    complete(add("--model", metavar="MODEL", help="only strategies of this model"), Names(models))
    add("--json", action="store_true", help="print JSON")
    add("--root", type=Path, default=Path(), metavar="DIR", help="the project (default: here)")


class UnreadableReportError(EdgeAIError):
    """There is no report, or it cannot be used; one sentence."""


def read_report(named: Path | None, root: Path) -> tuple[Path, dict[str, Any]]:
    """The folder of a report, and its `results.json`.

    Parameters
    ----------
    named
        The folder or the file; None for the newest report of the project.
    root
        The project.

    Raises
    ------
    SettingsError
        The project's settings cannot be used.
    UnreadableReportError
        There is no such report, it is not whole, or another version wrote it.
    """
    path = _newest(root) if named is None else named / RESULTS if named.is_dir() else named
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnreadableReportError(f"{path} cannot be read: {error.strerror}; give the folder of a report") from None
    except (ValueError, RecursionError):
        raise UnreadableReportError(f"{path} is not JSON: give the folder of a report, or measure again") from None
    if not isinstance(document, dict) or not {"format", "strategies", "trials"} <= document.keys():
        raise UnreadableReportError(f"{path} is not the {RESULTS} of a report")
    if document["format"] != RESULTS_FORMAT or "decisions" not in document:
        raise UnreadableReportError(
            f"{path} was written by version {document.get('version')} of pytest-edgeai, whose format is another one: "
            "measure again"
        )
    return path.parent, document


def selected(document: Mapping[str, Any], model: str | None, tier: str | None) -> list[Mapping[str, Any]]:
    """The strategies of a report that are of a model and on a tier; None is all.

    Raises
    ------
    SettingsError
        There is none.
    """
    strategies = document["strategies"]
    for kind, wanted in (("model", model), ("tier", tier)):
        known = dict.fromkeys(one[kind] for one in strategies)
        if wanted is not None and wanted not in known:
            raise SettingsError(f"--{kind}: {unknown(kind, wanted, known)} in this report")
    found = [one for one in strategies if model in (None, one["model"]) and tier in (None, one["tier"])]
    if not found:
        raise SettingsError(f"the report has no strategy of {model} on {tier}" if strategies else "the report is empty")
    return found


def _newest(root: Path) -> Path:
    """The newest whole report of a project."""
    reports = root / load_settings(root, {}).report
    paths = [path for path in reports.glob(f"*/{RESULTS}") if not path.parent.is_symlink()]  # `latest` is a link
    if not paths:
        raise UnreadableReportError(f"{reports} has no report: measure first, or give the folder of a report")
    return max(paths)
