"""`edgeai recommend`: the command line, and what it prints."""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final

from pytest_edgeai.commands import reports

DESCRIPTION: Final = """Choose a strategy of each model from what a session has measured.

Strategies either meet the constraints beyond doubt, may meet them, or do not. The choice is the best of those that meet
them beyond doubt. Printed is the Markdown of a decision record for each model: the choice with its reason, all
strategies with their figures and whether they are on the Pareto front, and by how much a constraint would have to give
for a better strategy. Options that are not given come from the table [decide] of the project's settings.
"""
EPILOG: Final = """example:
  edgeai recommend --max-latency 50ms --percentile 95 --max-drop 1.0 --max-size 50MB --tier edge

exit code: 0 a strategy is chosen for every model, 1 for one or more models none meets the constraints beyond doubt,
           2 the command line, the report or the settings cannot be used
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of `edgeai recommend`."""
    reports.add_arguments(parser)
    add = parser.add_argument
    add("--max-latency", dest="max_latency_s", metavar="TIME", help="limit of latency, for example 50ms")
    add("--percentile", type=float, metavar="P", help="of which percentile of latency (default: 50, the median)")
    add("--max-drop", type=float, metavar="X", help="limit of the drop, in percentage points or the metric's unit")
    add("--max-size", dest="max_size_bytes", metavar="SIZE", help="limit of the artifact's size, for example 50MB")
    add("--max-memory", dest="max_memory_bytes", metavar="SIZE", help="limit of the peak memory of a tier")
    add("--objective", choices=("latency", "size", "accuracy"), help="what is best (default: latency)")


def run(options: argparse.Namespace) -> int:
    """Choose, and print; the exit code."""
    import json

    from pytest_edgeai.errors import EdgeAIError
    from pytest_edgeai.reporting.decisions import decision_document, decision_record, decisions_of
    from pytest_edgeai.settings import load_settings

    try:
        settings = load_settings(options.root, {}).decide
        asked = _asked({} if settings is None else settings.model_dump(exclude_unset=True), options)
        folder, document = reports.read_report(options.report, options.root)
        decisions = decisions_of(asked, reports.selected(document, asked.model, asked.tier), document["trials"])
    except EdgeAIError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps([decision_document(one) for one in decisions], indent=1, allow_nan=False))
    else:
        print("\n".join(decision_record(one, folder.resolve().name) for one in decisions), end="")
    return 0 if all(one.choice is not None for one in decisions) else 1


def _asked(settings: dict[str, Any], options: argparse.Namespace) -> Any:
    """The table `[decide]` with what the command line changes.

    Raises
    ------
    SettingsError
        An option cannot be understood.
    """
    from pydantic import ValidationError

    from pytest_edgeai.decisions.asked import Decide
    from pytest_edgeai.errors import SettingsError, wrong_value

    names = [name for name in Decide.model_fields if getattr(options, name, None) is not None]
    given = {name: getattr(options, name) for name in names}
    try:
        return Decide.model_validate({**settings, **given})
    except ValidationError as error:
        found = error.errors()[0]
        option = str(found["loc"][0]).removesuffix("_s").removesuffix("_bytes").replace("_", "-")
        raise SettingsError(f"--{option}: {wrong_value(found)}") from None
