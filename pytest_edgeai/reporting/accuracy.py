"""Accuracy statistics in reports: each artifact's drop with its interval and its test, and operators by pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pytest_edgeai.reporting.statistics import markdown_table, p_words
from pytest_edgeai.subjects.figures import amount, points_limit, signed_ends, signed_points

if TYPE_CHECKING:
    from pytest_edgeai.stats import AccuracyPair
    from pytest_edgeai.verdicts.accuracy import AccuracyResult
    from pytest_edgeai.verdicts.outcome import SessionOutcome

DROP_HEADINGS = (
    "artifact",
    "metric",
    "accuracy",
    "drop",
    "interval",
    "only baseline right",
    "only operator right",
    "p",
    "budget",
)
_PAIR_HEADINGS = ("a", "b", "n", "p", "p Bonferroni", "n once", "p once", "delta", "magnitude")


def drops(outcome: SessionOutcome) -> list[AccuracyResult]:
    """The accuracy of every artifact but the baselines, once each."""
    found = [result.accuracy for result in outcome.results if result.accuracy is not None]
    return list({(one.model, one.operator): one for one in found if one.operator != one.baseline}.values())


def caveat(pairs: Sequence[AccuracyPair]) -> str:
    """What the tests of operator pairs cannot tell; empty where there are none."""
    if not pairs:
        return ""
    most = max(pairs, key=lambda pair: pair.n_once)
    return (
        "As in the study, the signed-rank test counts every tier, though tiers run the same artifact and repeat its "
        f"accuracy: {most.n} values of an operator are {most.n_once} of a model and metric, and {most.n_once} cannot "
        f"give a p below {p_words(most.smallest_p_once)}. Budgets are judged on each model's own samples."
    )


def drop_rows(outcome: SessionOutcome) -> list[list[str]]:
    """A row for each artifact that has a baseline, under `DROP_HEADINGS`."""
    return [_drop_cells(one) for one in drops(outcome)]


def pair_lines(pairs: Sequence[AccuracyPair], alpha: float) -> list[str]:
    """The lines of the terminal about operators by pairs: those that differ, and the caveat."""
    if not pairs:
        return []
    differing = [
        f"{pair.a} {'>' if pair.delta_a_b > 0 else '<'} {pair.b} (p = {p_words(pair.p_bonferroni)}, {pair.magnitude})"
        for pair in pairs
        if pair.p_bonferroni < alpha
    ]
    found = ", ".join(differing) or "no significant pair"
    return [f"Accuracies of operators over models, metrics and tiers: {found}", f"  {caveat(pairs)}"]


def accuracy_section(outcome: SessionOutcome) -> list[str]:
    """The lines of the section in Markdown; none where only the baseline was measured."""
    lines = []
    rows = drop_rows(outcome)
    if rows:
        lines += ["", "## Accuracy", ""]
        lines += [
            "Drops below the baseline on the same validation samples, in percentage points or the unit of the metric, "
            "with the bootstrap interval of the drop and McNemar's exact test on the samples that only one of the two "
            "got right. A budget is broken where the drop exceeds it, beyond doubt where the lower end of the interval "
            "does too.",
            "",
            *markdown_table(DROP_HEADINGS, rows),
        ]
    if outcome.accuracy_pairs:
        lines += ["", "### Operators over models, metrics and tiers", "", caveat(outcome.accuracy_pairs)]
        lines += ["", *markdown_table(_PAIR_HEADINGS, [_pair_cells(pair) for pair in outcome.accuracy_pairs])]
    return lines


def accuracy_document(one: AccuracyResult | None) -> dict[str, Any] | None:
    """An artifact's accuracy as JSON has it."""
    if one is None:
        return None
    interval, mcnemar = one.interval, one.mcnemar
    return {
        "metric": one.metric,
        "unit": one.unit,
        "higher_is_better": one.higher_is_better,
        "value": one.value,
        "baseline": one.baseline,
        "baseline_value": one.baseline_value,
        "drop": one.drop,
        "drop_low": None if interval is None else interval.low,
        "drop_high": None if interval is None else interval.high,
        "confidence": None if interval is None else interval.confidence,
        "limit": one.limit,
        "budget": one.budget,
        "mcnemar": None
        if mcnemar is None
        else {"only_baseline_right": mcnemar.only_a, "only_operator_right": mcnemar.only_b, "p": mcnemar.p},
    }


def pairs_document(outcome: SessionOutcome) -> dict[str, Any]:
    """The tests of operator pairs as JSON has them."""
    return {
        "caveat": caveat(outcome.accuracy_pairs),
        "pairs": [pair.as_json() for pair in outcome.accuracy_pairs],
    }


def _drop_cells(one: AccuracyResult) -> list[str]:
    interval, mcnemar = one.interval, one.mcnemar
    tested = ["–"] * 3 if mcnemar is None else [str(mcnemar.only_a), str(mcnemar.only_b), p_words(mcnemar.p)]
    return [
        f"{one.model}-{one.operator}",
        one.label,
        amount(one.value, one.unit, digits=2),
        signed_points(one.drop, one.unit),
        "–"
        if interval is None
        else f"{100 * interval.confidence:g} %: {signed_ends(interval.low, interval.high, one.unit)}",
        *tested,
        f"{points_limit(one.limit, one.unit)} {one.budget}",
    ]


def _pair_cells(pair: AccuracyPair) -> list[str]:
    return [
        pair.a,
        pair.b,
        str(pair.n),
        p_words(pair.repeated.p),
        p_words(pair.p_bonferroni),
        str(pair.n_once),
        p_words(pair.once.p),
        f"{pair.delta_a_b:+.3f}",
        pair.magnitude,
    ]
