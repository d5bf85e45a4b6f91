"""After the last trial: judge what was measured, compare it with another version, and write the reports."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_edgeai.errors import ReportError
from pytest_edgeai.reporting.decisions import decisions_of
from pytest_edgeai.reporting.files import strategy_document
from pytest_edgeai.reporting.tiers import saturation_sentences, unproven_sentences
from pytest_edgeai.verdicts.comparison import Comparison, compare, rules
from pytest_edgeai.verdicts.outcome import SessionOutcome, judge
from pytest_edgeai.versions.conditions import code_digest, tier_conditions
from pytest_edgeai.versions.own_servers import CLIENT, SERVERS
from pytest_edgeai.versions.recording import KEY, read_recording, record_other, record_session

if TYPE_CHECKING:
    from pytest_edgeai.decisions.choosing import Decision
    from pytest_edgeai.measured import Measured
    from pytest_edgeai.reporting.files import ReportFolder
    from pytest_edgeai.verdicts.regression import Rule
    from pytest_edgeai.versions.recording import Recording


def load_libraries() -> None:
    """Import what judging needs: before the first trial, so that nobody waits for it after the last one."""
    for name in ("rich.console", "rich.table", "scikit_posthocs", "scipy.stats"):
        importlib.import_module(name)


def conclude(measured: Measured, baseline: Recording | None, rule: Rule | None) -> SessionOutcome:
    """Judge, and compare with the other version or the saved session, if there is one.

    Parameters
    ----------
    measured
        What the session measured.
    baseline
        The saved session to compare with.
    rule
        What counts as a change of latency, where it is another level than the settings' because of earlier looks.
    """
    outcome = judge(measured)
    remarks = [
        *outcome.remarks,
        *unproven_sentences(measured.records.values()),
        *saturation_sentences(measured.own_records.values(), measured.prepared),
    ]
    if measured.interrupted:
        valid = sum(record.status == "valid" for record in measured.records.values())
        planned = len(measured.plan.trials) + len(measured.baseline_trials)
        remarks.append(f"the session was interrupted {measured.interrupted}: {valid} of {planned} trials are valid")
    comparison, decisions = compare_versions(measured, baseline, rule), decide_session(measured, outcome)
    asked = measured.plan.settings.decide
    if asked is not None and not decisions:
        remarks.append(f"decide: no strategy of this session is {asked.scope}: nothing was chosen")
    return replace(
        outcome,
        remarks=tuple(remarks),
        comparison=comparison,
        decisions=decisions,
        interrupted=measured.interrupted,
    )


def compare_versions(measured: Measured, baseline: Recording | None, rule: Rule | None) -> Comparison | None:
    """Compare what was measured so far with the other version or the saved session, if there is one.

    Parameters
    ----------
    measured, baseline, rule
        As for `conclude`.
    """
    if baseline is None and measured.other is None:
        return None
    # By way of the document, so that both sides went through the same hands.
    usual, limits = rules(measured.plan.settings)
    ours, given = record_session(measured), (rule or usual, limits)
    if measured.other is None:
        assert baseline is not None
        return compare(baseline, read_recording({KEY: ours}, "this session"), *given)
    servers = measured.other.servers
    if servers is not None:
        plan = measured.plan
        ours["code"] = code_digest(CLIENT)
        ours["conditions"] |= tier_conditions(plan.settings.topology, plan.allotments, code_digest(SERVERS))
    before = read_recording({KEY: record_other(measured, measured.other)}, measured.other.commit.label)
    after = read_recording({KEY: ours}, "this version")
    return compare(before, after, *given, together=True, with_servers=servers is not None)


def decide_session(measured: Measured, outcome: SessionOutcome) -> tuple[Decision, ...]:
    """Choose a strategy of each model, where the settings ask for it."""
    asked = measured.plan.settings.decide
    if asked is None:
        return ()
    # As the documents have them, so that `edgeai recommend` decides the same of the report.
    strategies = [strategy_document(result) for result in outcome.results]
    return decisions_of(asked, strategies, [record.as_json() for record in measured.own_records.values()])


def write_reports(report: ReportFolder, measured: Measured, outcome: SessionOutcome) -> SessionOutcome:
    """Write the reports; what cannot be written is part of the outcome."""
    try:
        report.finish(measured, outcome)
    except ReportError as error:
        return replace(outcome, unwritten=str(error))
    return outcome
