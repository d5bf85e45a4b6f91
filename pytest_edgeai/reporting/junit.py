"""Verdicts as JUnit test cases, so that a JUnit report has a failure wherever a session is not green."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from pytest_edgeai.reporting.comparison import verdict
from pytest_edgeai.verdicts import GREEN as GREEN_VERDICTS
from pytest_edgeai.verdicts.comparison import GREEN, Comparison

if TYPE_CHECKING:
    from pytest_edgeai.matrix import Strategy
    from pytest_edgeai.outcome import SessionOutcome

VERDICTS, COMPARE = "edgeai.verdicts", "edgeai.compare"
_SESSION = "session"


@dataclass(frozen=True, slots=True)
class Case:
    """A test case.

    Parameters
    ----------
    suite, name
        What it is the verdict on.
    failure
        Why it is not green, or empty.
    """

    suite: str
    name: str
    failure: str = ""


def session_cases(outcome: SessionOutcome) -> list[Case]:
    """A case for each strategy, and another where it is compared; at least one fails unless the session is green."""
    cases = []
    for result in outcome.results:
        judged = result.verdict
        failure = "" if judged.outcome in GREEN_VERDICTS else _words(judged.outcome, judged.reason)
        cases.append(Case(VERDICTS, result.strategy.id, failure))
    if outcome.comparison is not None:
        cases += comparison_cases(outcome.comparison)
    if not outcome.green and not any(case.failure for case in cases):
        reasons = (outcome.unwritten, outcome.interrupted and f"the session was interrupted {outcome.interrupted}")
        cases.append(Case(VERDICTS, _SESSION, "; ".join(filter(None, reasons)) or "the session is not green"))
    return cases


def skipped_cases(strategies: Iterable[Strategy]) -> list[Case]:
    """A failure for each strategy of a session in which all trials were skipped."""
    return [Case(VERDICTS, strategy.id, "not measured: all trials were skipped") for strategy in strategies]


def comparison_cases(comparison: Comparison) -> list[Case]:
    """A case for each strategy that was compared; at least one fails unless the comparison is green."""
    cases = [
        Case(COMPARE, row.strategy, "" if row.outcome in GREEN else _words(row.outcome, "; ".join(row.reasons)))
        for row in comparison.rows
    ]
    if not comparison.green and not any(case.failure for case in cases):
        cases.append(Case(COMPARE, _SESSION, verdict(comparison)))
    return cases


def comparison_properties(comparison: Comparison) -> list[tuple[str, str]]:
    """Name and value for the test suite of a JUnit report."""
    found = [("edgeai.gate", "green" if comparison.green else "red"), ("edgeai.baseline", comparison.before)]
    for row in comparison.rows:
        found.append((f"edgeai.gate.{row.strategy}", row.outcome))
        if row.latency is not None:
            found.append((f"edgeai.change.{row.strategy}", f"{row.latency.change:.4f}"))
    return found


def add_to_report(config: pytest.Config, cases: Sequence[Case], comparison: Comparison | None = None) -> None:
    """Put cases and properties into the report that `--junit-xml` asks for, if it does.

    They are no tests of the session: pytest neither counts nor prints them.
    """
    from _pytest.junitxml import xml_key  # what the fixture record_testsuite_property uses; there is no public name

    xml = config.stash.get(xml_key, None)
    if xml is None:
        return
    for name, value in comparison_properties(comparison) if comparison is not None else ():
        xml.add_global_property(name, value)
    for case in cases:
        report = pytest.TestReport(
            nodeid=f"{case.suite}::{case.name}",
            location=(case.suite, None, case.name),
            keywords={},
            outcome="failed" if case.failure else "passed",
            longrepr=case.failure or None,
            when="call",
        )
        xml.pytest_runtest_logreport(report)


def comparison_report(comparison: Comparison) -> str:
    """A JUnit report of its own."""
    cases = comparison_cases(comparison)
    failures = sum(bool(case.failure) for case in cases)
    suite = ET.Element("testsuite", name="edgeai compare", tests=str(len(cases)), failures=str(failures))
    properties = ET.SubElement(suite, "properties")
    for name, value in comparison_properties(comparison):
        ET.SubElement(properties, "property", name=name, value=value)
    for case in cases:
        element = ET.SubElement(suite, "testcase", classname=case.suite, name=case.name)
        if case.failure:
            ET.SubElement(element, "failure", message=case.failure)
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _words(outcome: str, reason: str) -> str:
    return f"{outcome}: {reason}" if reason else outcome
