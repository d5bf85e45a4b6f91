"""What a session found: each strategy with its figures and verdict, the statistics, and whether all is green.

From records and evaluations to one frozen value that every report is written from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from pytest_edgeai.matrix.strategies import PlannedTrial, Strategy
from pytest_edgeai.measure.attempts import InvalidTrial
from pytest_edgeai.measure.contention import speed_remark
from pytest_edgeai.measure.link_errors import floor_remark, link_remarks
from pytest_edgeai.measure.records import TrialRecord
from pytest_edgeai.measured import Measured
from pytest_edgeai.settings import Settings
from pytest_edgeai.stats.looks import Looks
from pytest_edgeai.subjects.metrics import PERCENT
from pytest_edgeai.verdicts import Verdict, worst
from pytest_edgeai.verdicts.accuracy import AccuracyResult, judge_accuracy
from pytest_edgeai.verdicts.benefit import judge_benefit
from pytest_edgeai.verdicts.budgets import JudgedBudget, judge_budgets
from pytest_edgeai.verdicts.figures import Figures, link_error_s, strategy_figures, valid_records
from pytest_edgeai.verdicts.floor import judge_floor
from pytest_edgeai.verdicts.trials import blame_host, judge_trials, short_of_trials

if TYPE_CHECKING:
    from pytest_edgeai.decisions.choosing import Decision
    from pytest_edgeai.measure.accuracy import Score
    from pytest_edgeai.operators.preparation import Prepared
    from pytest_edgeai.stats import AccuracyPair, Analysis
    from pytest_edgeai.verdicts.comparison import Comparison


@dataclass(frozen=True, slots=True)
class StrategyResult:
    """One row of the verdict table.

    Parameters
    ----------
    strategy
        Model, operator, placement.
    verdict
        The gravest of trials, budgets and promised speed.
    trials, valid
        How many trials there should be and how many are valid.
    tries
        How many attempts were made at them.
    median_s, p95_s, iqr_s
        Of all requests of the valid trials; NaN where there is none.
    spans_s
        Median by span.
    load_s
        Median time until the model was loaded.
    link_error_s
        By how many seconds links could have changed the requests of a valid trial, at the most; None where they cross
        none or that is not known.
    size_bytes
        Of the artifact, or None where there is none.
    accuracy
        Against the baseline and the budget, or None where it could not be had.
    scores
        By metric.
    unmeasured
        Why accuracy is not measured (random weights), or empty.
    budgets
        Each limit of latency, resources and ratios that there is for it.
    figures
        What its valid trials tell of resources and energy; None where there is none.
    energy_source
        What told the energy, or empty.
    """

    strategy: Strategy
    verdict: Verdict
    trials: int
    valid: int
    tries: int
    median_s: float
    p95_s: float
    iqr_s: float
    spans_s: Mapping[str, float]
    load_s: float
    link_error_s: float | None
    size_bytes: int | None
    accuracy: AccuracyResult | None
    scores: Mapping[str, Score]
    unmeasured: str = ""
    budgets: tuple[JudgedBudget, ...] = ()
    figures: Figures | None = None
    energy_source: str = ""


@dataclass(frozen=True, slots=True)
class SessionOutcome:
    """What a session found.

    Parameters
    ----------
    results
        A row for each strategy.
    analysis
        Tables of tests, or None where there is too little to test.
    remarks
        Sentences about the session as a whole.
    accuracy_pairs
        Operators compared over models, metrics and tiers.
    comparison
        With an earlier session, where one is named.
    decisions
        Which strategy is chosen for each model, where the settings ask for a choice.
    interrupted
        What ended the session before its last trial, as a sentence goes on, or empty.
    unwritten
        Why its reports could not be written, or empty.
    """

    results: tuple[StrategyResult, ...]
    analysis: Analysis | None
    remarks: tuple[str, ...] = ()
    accuracy_pairs: tuple[AccuracyPair, ...] = ()
    comparison: Comparison | None = None
    decisions: tuple[Decision, ...] = ()
    interrupted: str = ""
    unwritten: str = ""

    @property
    def green(self) -> bool:
        """Whether the session is whole, every verdict green, and nothing worse than in the session compared with."""
        if self.interrupted or self.unwritten:
            return False
        green = all(result.verdict.green for result in self.results)
        return green and (self.comparison is None or self.comparison.green)

    @property
    def fails(self) -> bool:
        """Whether the session ends with exit code 1: what is not green fails, unless it is tolerated."""
        fails = bool(self.interrupted or self.unwritten) or any(result.verdict.fails for result in self.results)
        return fails or (self.comparison is not None and self.comparison.fails)


def judge(measured: Measured) -> SessionOutcome:
    """From what was measured to verdicts; a trial that is missing makes its strategy invalid."""
    from pytest_edgeai.stats import StatisticsInputError

    settings, prepared, strategies = measured.plan.settings, measured.prepared, measured.plan.strategies
    accuracies = {artifact: _accuracy(artifact, prepared, settings) for artifact in {s.artifact for s in strategies}}
    planned = {
        strategy: [trial for trial in measured.plan.trials if trial.strategy == strategy] for strategy in strategies
    }
    figures = {strategy: found for strategy in strategies if (found := strategy_figures(strategy, measured))}
    results = tuple(_result(strategy, planned[strategy], measured, accuracies, figures) for strategy in strategies)
    compute_s = _compute_medians(measured.records)
    results = tuple(_with_benefit(result, compute_s, prepared, settings) for result in results)
    remarks = [
        f"accuracy: not measured for {', '.join(models)} ({reason}): no accuracy budget is judged"
        for reason, models in _unmeasured(results).items()
    ]
    remarks += [
        f"{setting}: {budget.strategies!r} names no strategy of this session, so that it was not judged"
        for setting, budgets in settings.budgets.by_pattern.items()
        for budget in budgets
        if not any(fnmatchcase(result.strategy.id, budget.strategies) for result in results)
    ]
    remarks += _remarks_on_trials(planned, measured)
    analysis = None
    valid = [record for record in measured.own_records.values() if record.status == "valid"]
    uneven = speed_remark([record.reference for record in valid])
    remarks += [uneven] if uneven else []
    small = floor_remark(_link_shares(valid), settings.tolerances.link_share)
    remarks += [small] if small else []
    remarks += link_remarks(
        [
            (record.probes, record.link_errors.largest_s / float(np.median(record.latencies_s)))
            for record in valid
            if record.link_errors is not None
        ]
    )
    if valid:
        try:
            analysis = _analyze(valid, settings)
        except StatisticsInputError as error:
            remarks.append(f"no statistics: {error}")
    else:
        remarks.append("nothing was measured: no trial is valid")
    return SessionOutcome(results, analysis, tuple(remarks), _accuracy_pairs(results))


def _link_shares(valid: Sequence[TrialRecord]) -> dict[str, tuple[float, float]]:
    """Of each strategy, the largest error of links in seconds and as a share of that trial's median."""
    found: dict[str, tuple[float, float]] = {}
    for record in valid:
        if record.link_errors is not None:
            error_s, name = abs(record.link_errors.largest_s), record.trial.strategy.id
            share = error_s / float(np.median(record.latencies_s))
            found[name] = max(found.get(name, (0.0, 0.0)), (error_s, share), key=lambda one: one[1])
    return found


def _result(
    strategy: Strategy,
    planned: Sequence[PlannedTrial],
    measured: Measured,
    accuracies: Mapping[tuple[str, str], AccuracyResult | None],
    figures: Mapping[Strategy, Figures],
) -> StrategyResult:
    settings = measured.plan.settings
    valid = valid_records(planned, measured)
    tries = _tries(planned, measured)
    latencies_s = np.concatenate([record.latencies_s for record in valid]) if valid else np.array([np.nan])
    artifact = measured.prepared.get(strategy.artifact)
    accuracy = accuracies[strategy.artifact]
    unmade = measured.why_unmade(strategy)
    verdicts = [judge_trials(invalid_trials(planned, measured), len(planned), tries)]
    unmeasured = "" if artifact is None else artifact.evaluation.unmeasured
    if unmade:
        verdicts = [Verdict("invalid", f"not measured, since {unmade}")]
    elif unmeasured:
        verdicts.append(
            Verdict("inconclusive", f"accuracy: not measured ({unmeasured}), so no accuracy budget could be judged")
        )
    elif accuracy is None:
        verdicts.append(Verdict("invalid", "there is no accuracy to compare with the baseline's"))
    else:
        verdicts.append(accuracy.verdict)
        floor = settings.budgets.accuracy_floor.of(strategy.model, strategy.operator)
        if artifact is not None and floor is not None:
            verdicts.append(judge_floor(artifact.evaluation.first, floor, alpha=settings.alpha))
    judged: list[JudgedBudget] = []
    if strategy in figures:
        beside = {
            other.operator: found
            for other, found in figures.items()
            if (other.model, other.placement) == (strategy.model, strategy.placement)
        }
        looks = measured.looks.get(strategy, Looks())
        judged = judge_budgets(settings.budgets, strategy.id, figures[strategy], beside, looks)
        verdicts += [budget.verdict for budget in judged]
    quartiles = np.percentile(latencies_s, [25, 50, 75, 95])
    loads_s = [sum(record.load_s.values()) for record in valid if record.load_s]
    return StrategyResult(
        strategy=strategy,
        verdict=worst(verdicts),
        trials=len(planned),
        valid=len(valid),
        tries=tries,
        median_s=float(quartiles[1]),
        p95_s=float(quartiles[3]),
        iqr_s=float(quartiles[2] - quartiles[0]),
        spans_s=_span_medians(valid),
        load_s=float(np.median(loads_s)) if loads_s else float("nan"),
        link_error_s=link_error_s(valid),
        size_bytes=None if artifact is None else artifact.artifact.graph_bytes,
        accuracy=accuracy,
        scores={} if artifact is None else artifact.evaluation.scores,
        unmeasured=unmeasured,
        budgets=tuple(judged),
        figures=figures.get(strategy),
        energy_source=next((record.energy.source for record in valid if record.energy.source), ""),
    )


def _compute_medians(records: Mapping[PlannedTrial, TrialRecord]) -> dict[Strategy, dict[int, float]]:
    """Median compute span of each valid trial, by strategy and replicate."""
    found: dict[Strategy, dict[int, float]] = {}
    for trial, record in records.items():
        spans_s = [one.spans_s["compute"] for one in record.measurements if "compute" in one.spans_s]
        if record.status == "valid" and spans_s and not trial.version:
            found.setdefault(trial.strategy, {})[trial.replicate] = float(np.median(spans_s))
    return found


def _with_benefit(
    result: StrategyResult,
    compute_s: Mapping[Strategy, Mapping[int, float]],
    prepared: Mapping[tuple[str, str], Prepared],
    settings: Settings,
) -> StrategyResult:
    """The row, with the verdict on its speed where its operator promises any."""
    artifact = prepared.get(result.strategy.artifact)
    if artifact is None or not artifact.artifact.entry.provenance.get("promises_speed"):
        return result
    baseline = replace(result.strategy, operator=settings.baseline)
    if baseline == result.strategy:
        return result
    benefit = judge_benefit(
        compute_s.get(result.strategy, {}), compute_s.get(baseline, {}), min_change=settings.gate.min_change
    )
    return replace(result, verdict=worst([result.verdict, benefit]))


def _unmeasured(results: Sequence[StrategyResult]) -> dict[str, list[str]]:
    """Models without accuracy by the reason."""
    models: dict[str, list[str]] = {}
    for result in results:
        if result.unmeasured and result.strategy.model not in models.setdefault(result.unmeasured, []):
            models[result.unmeasured].append(result.strategy.model)
    return models


def invalid_trials(planned: Sequence[PlannedTrial], measured: Measured) -> list[InvalidTrial]:
    """The trials that are not valid, or not there."""
    found = []
    for trial in planned:
        record = measured.records.get(trial)
        if record is None:
            found.append(InvalidTrial("no trial was made"))
        elif trial in measured.waiting:
            found.append(InvalidTrial(f"{record.reason}; the session ended before it was measured again"))
        elif record.status == "invalid":
            found.append(InvalidTrial(record.reason, record.cause))
    return found


def _tries(planned: Sequence[PlannedTrial], measured: Measured) -> int:
    return sum(record.trial in planned for record in measured.attempts)


def _remarks_on_trials(planned: Mapping[Strategy, Sequence[PlannedTrial]], measured: Measured) -> list[str]:
    """What is to be said of trials that the host has spoiled for good."""
    invalid = {strategy: invalid_trials(trials, measured) for strategy, trials in planned.items()}
    remarks = [
        short_of_trials(strategy.id, invalid[strategy], len(trials), _tries(trials, measured))
        for strategy, trials in planned.items()
    ]
    short = [strategy.id for strategy, found in invalid.items() if any(one.cause == "host" for one in found)]
    reasons = [
        record.reason for record in measured.attempts if record.cause == "host" and record.trial.strategy in planned
    ]
    return [remark for remark in (*remarks, blame_host(short, len(planned), reasons)) if remark]


def _accuracy(
    name: tuple[str, str], prepared: Mapping[tuple[str, str], Prepared], settings: Settings
) -> AccuracyResult | None:
    model, operator = name
    artifact = prepared.get(name)
    baseline = prepared.get((model, settings.baseline))
    if artifact is None or baseline is None or artifact.evaluation.unmeasured:
        return None
    return judge_accuracy(
        (model, operator, settings.baseline),
        artifact.evaluation,
        baseline.evaluation,
        allowance=settings.budgets.allowance(model, operator, artifact.evaluation.first.unit == PERCENT),
        alpha=settings.alpha,
    )


def _accuracy_pairs(results: Sequence[StrategyResult]) -> tuple[AccuracyPair, ...]:
    from pytest_edgeai.stats import compare_accuracies

    percents: dict[str, dict[tuple[str, str, str], float]] = {}
    for result in results:
        strategy = result.strategy
        for metric, score in result.scores.items():
            if score.unit == PERCENT and score.higher_is_better:  # other units do not compare across models
                place = strategy.model, metric, str(strategy.placement)
                percents.setdefault(strategy.operator, {})[place] = score.value
    return compare_accuracies(percents)


def _span_medians(valid: Sequence[TrialRecord]) -> dict[str, float]:
    spans = [one.spans_s for record in valid for one in record.measurements]
    names = dict.fromkeys(name for one in spans for name in one)
    return {name: float(np.median([one[name] for one in spans if name in one])) for name in names}


def _analyze(valid: Sequence[TrialRecord], settings: Settings) -> Analysis:
    """The tests on all requests; runs are numbered through the replicates, so that blocks are inputs."""
    from pytest_edgeai.stats import analyze

    profile = settings.measurement
    rows = [
        (
            record.trial.strategy.model,
            record.trial.strategy.operator,
            str(record.trial.strategy.placement),
            record.trial.replicate * profile.requests + one.run,
            one.latency_s,
        )
        for record in sorted(valid, key=lambda record: record.trial)
        for one in record.measurements
    ]
    model, operator, tier, run, latency_s = zip(*rows, strict=True)
    return analyze(
        model,
        operator,
        tier,
        latency_s,
        run=run,
        inputs=profile.inputs,
        alpha=settings.alpha,
        p_adjust=settings.p_adjust,
    )
