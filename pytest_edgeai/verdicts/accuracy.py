"""Accuracy budgets: by how much an operator may be worse than the baseline, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from pytest_edgeai.subjects.figures import amount, points, points_interval, points_limit
from pytest_edgeai.subjects.metrics import PERCENT
from pytest_edgeai.verdicts import Verdict

if TYPE_CHECKING:
    from pytest_edgeai.measure.accuracy import Evaluation, Score
    from pytest_edgeai.settings_tables import Allowance
    from pytest_edgeai.stats import AccuracyDrop, McNemar

Budget: TypeAlias = Literal["kept", "broken", "broken beyond doubt"]

# Values are ratios of counts, or sums; rounding them must not break a budget that is met exactly.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class AccuracyResult:
    """An operator's accuracy against the baseline's and its budget.

    Parameters
    ----------
    model, operator, metric
        Of what.
    label, unit, higher_is_better
        Of the metric.
    value, baseline_value
        Of the artifact and of the baseline's, by the model's first metric.
    limit
        The largest drop allowed, in the metric's unit.
    baseline
        The operator that the drop is measured against.
    interval
        Bootstrap interval of the drop over the examples, both predictions of an example together; None where the
        predictions are not known.
    mcnemar
        On the examples that only one of the two got right; None likewise, and where there is no right and wrong.
    """

    model: str
    operator: str
    metric: str
    value: float
    baseline_value: float
    limit: float
    label: str = ""
    unit: str = PERCENT
    higher_is_better: bool = True
    baseline: str = "identity"
    interval: AccuracyDrop | None = None
    mcnemar: McNemar | None = None

    @property
    def drop(self) -> float:
        """By how much it is worse than the baseline, in the metric's unit; negative where the operator is better."""
        return self.baseline_value - self.value if self.higher_is_better else self.value - self.baseline_value

    @property
    def budget(self) -> Budget:
        """Broken where the drop exceeds the budget, beyond doubt where the lower end of its interval does too."""
        limit = self.limit + _ROUNDING
        if self.drop <= limit:
            return "kept"
        return "broken beyond doubt" if self.interval is not None and self.interval.low > limit else "broken"

    @property
    def verdict(self) -> Verdict:
        """Whether the budget is kept."""
        if self.budget == "kept":
            return Verdict("pass")
        side = "below" if self.higher_is_better else "above"
        reason = (
            f"{self.metric} is {points(self.drop, self.unit)} {side} the baseline's "
            f"{amount(self.baseline_value, self.unit, digits=2)} (budget {points_limit(self.limit, self.unit)})"
        )
        if self.interval is not None:
            doubt = "beyond doubt" if self.budget == "broken beyond doubt" else "though not beyond doubt"
            ends = points_interval(self.interval.low, self.interval.high, self.unit)
            reason += f", {doubt}: the {100 * self.interval.confidence:g} % interval of the drop is {ends}"
        return Verdict("fail", reason)


def judge_accuracy(
    names: tuple[str, str, str],
    evaluation: Evaluation,
    baseline: Evaluation,
    *,
    allowance: Allowance,
    alpha: float,
) -> AccuracyResult:
    """Compare an artifact's predictions with the baseline's, example by example, by the model's first metric.

    Parameters
    ----------
    names
        Model, operator, and the operator that is the baseline.
    evaluation, baseline
        Of the same examples in the same order.
    allowance
        The largest drop allowed.
    alpha
        One minus the confidence of the interval.

    Raises
    ------
    ValueError
        The two are not of the same examples.
    """
    from pytest_edgeai.stats import mcnemar_exact

    if evaluation.examples != baseline.examples or len(evaluation.predictions) != len(baseline.predictions):
        raise ValueError(f"{names[0]}-{names[1]} and {names[0]}-{names[2]} were evaluated on different samples")
    score, usual = evaluation.first, baseline.first
    has_right = score.correct is not None and usual.correct is not None
    return AccuracyResult(
        model=names[0],
        operator=names[1],
        metric=score.name,
        value=score.value,
        baseline_value=usual.value,
        limit=allowance.of(usual.value),
        label=score.label,
        unit=score.unit,
        higher_is_better=score.higher_is_better,
        baseline=names[2],
        interval=drop_interval(score, usual, confidence=1 - alpha),
        mcnemar=mcnemar_exact(usual.correct, score.correct) if has_right else None,  # type: ignore[arg-type]  # there are
    )


def drop_interval(score: Score, baseline: Score, *, confidence: float) -> AccuracyDrop | None:
    """Bootstrap interval of the drop between two scores of the same examples, in the metric's unit.

    Parameters
    ----------
    score, baseline
        By the same metric.
    confidence
        Coverage that the interval aims at.

    Returns
    -------
    AccuracyDrop or None
        None where resamples have no value.

    Notes
    -----
    The bootstrap has a fixed seed: the same predictions give the same interval.
    """
    from pytest_edgeai.stats import AccuracyDrop, ratio_drop, replicate_drop

    sign = 1.0 if score.higher_is_better else -1.0
    if score.parts is not None and baseline.parts is not None:
        found = ratio_drop(baseline.parts, score.parts, confidence=confidence)
        factor = sign * score.scale / 100
        ends = sorted((found.low * factor, found.high * factor))
        return AccuracyDrop(found.drop * factor, ends[0], ends[1], confidence)
    if score.replicates is None or baseline.replicates is None:
        return None
    return replicate_drop(
        sign * baseline.replicates,
        sign * score.replicates,
        drop=sign * (baseline.value - score.value),
        confidence=confidence,
    )
