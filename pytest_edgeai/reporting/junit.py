"""Verdicts as JUnit test cases, so that a JUnit report has a failure wherever a session is not green."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from pytest_edgeai.reporting.comparison import verdict
from pytest_edgeai.verdicts import Verdict
from pytest_edgeai.verdicts.comparison import Comparison

if TYPE_CHECKING:
    from pytest_edgeai.matrix.strategies import Strategy
    from pytest_edgeai.verdicts.outcome import SessionOutcome

VERDICTS, COMPARE, ARTIFACTS = "edgeai.verdicts", "edgeai.compare", "edgeai.artifacts"
_SESSION = "session"


@dataclass(frozen=True, slots=True)
class Case:
    """A test case.

    Parameters
    ----------
    suite, name
        What it is the verdict on.
    failure
        Why it fails the session, or empty.
    tolerated
        Why it is not green although it does not fail the session, or empty: what JUnit calls skipped.
    """

    suite: str
    name: str
    failure: str = ""
    tolerated: str = ""


def session_cases(outcome: SessionOutcome, failures: Mapping[tuple[str, str], str]) -> list[Case]:
    """A case for each artifact that could not be made, for each strategy, and for each that is compared.

    At least one fails unless the session is green.

    Parameters
    ----------
    outcome
        Of the session.
    failures
        Why artifacts could not be made, by model and operator.
    """
    cases = [Case(ARTIFACTS, "-".join(artifact), failure=sentence) for artifact, sentence in failures.items()]
    cases += [_case(VERDICTS, result.strategy.id, result.verdict) for result in outcome.results]
    if outcome.comparison is not None:
        cases += comparison_cases(outcome.comparison)
    if outcome.fails and not any(case.failure for case in cases):
        reasons = (outcome.unwritten, outcome.interrupted and f"the session was interrupted {outcome.interrupted}")
        cases.append(Case(VERDICTS, _SESSION, "; ".join(filter(None, reasons)) or "the session is not green"))
    return cases


def skipped_cases(strategies: Iterable[Strategy]) -> list[Case]:
    """A failure for each strategy of a session in which all trials were skipped."""
    return [Case(VERDICTS, strategy.id, "not measured: all trials were skipped") for strategy in strategies]


def comparison_cases(comparison: Comparison) -> list[Case]:
    """A case for each strategy that was compared; at least one fails unless the comparison is green."""
    cases = [_case(COMPARE, row.strategy, row.verdict) for row in comparison.rows]
    if comparison.fails and not any(case.failure for case in cases):
        cases.append(Case(COMPARE, _SESSION, verdict(comparison)))
    return cases


def comparison_properties(comparison: Comparison) -> list[tuple[str, str]]:
    """Name and value for the test suite of a JUnit report."""
    colour = "green" if comparison.green else "red" if comparison.fails else "tolerated"
    found = [("edgeai.gate", colour), ("edgeai.baseline", comparison.before)]
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
            outcome="failed" if case.failure else "skipped" if case.tolerated else "passed",
            longrepr=case.failure or ((case.suite, 0, case.tolerated) if case.tolerated else None),
            when="call",
        )
        xml.pytest_runtest_logreport(report)


def comparison_report(comparison: Comparison) -> str:
    """A JUnit report of its own."""
    cases = comparison_cases(comparison)
    failures, tolerated = sum(bool(case.failure) for case in cases), sum(bool(case.tolerated) for case in cases)
    counts = {"tests": str(len(cases)), "failures": str(failures), "skipped": str(tolerated)}
    suite = ET.Element("testsuite", {"name": "edgeai compare", **counts})
    properties = ET.SubElement(suite, "properties")
    for name, value in comparison_properties(comparison):
        ET.SubElement(properties, "property", name=name, value=value)
    for case in cases:
        element = ET.SubElement(suite, "testcase", classname=case.suite, name=case.name)
        if case.failure:
            ET.SubElement(element, "failure", message=case.failure)
        elif case.tolerated:
            ET.SubElement(element, "skipped", message=case.tolerated)
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: str, name: str, verdict: Verdict) -> Case:
    words = f"{verdict.outcome}: {verdict.reason}" if verdict.reason else verdict.outcome
    if verdict.fails:
        return Case(suite, name, failure=words)
    return Case(suite, name, tolerated="" if verdict.green else words)
