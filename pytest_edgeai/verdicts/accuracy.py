"""Accuracy budgets: by how many percentage points an operator may fall behind the baseline, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from pytest_edgeai.subjects.metrics import Metric
from pytest_edgeai.verdicts import Verdict

if TYPE_CHECKING:
    from pytest_edgeai.measure.accuracy import Evaluation
    from pytest_edgeai.stats import AccuracyDrop, McNemar

Budget: TypeAlias = Literal["kept", "broken", "broken beyond doubt"]

# Percentages are ratios of counts; rounding them must not break a budget that is met exactly.
_ROUNDING_PP = 1e-9


@dataclass(frozen=True, slots=True)
class AccuracyResult:
    """An operator's accuracy against the baseline's and its budget.

    Parameters
    ----------
    model, operator, metric
        Of what.
    percent, baseline_percent
        Accuracy of the artifact and of the baseline's, by the model's first metric.
    budget_pp
        The largest drop allowed, in percentage points.
    baseline
        The operator that the drop is measured against.
    interval
        Bootstrap interval of the drop over the samples, both predictions of a sample together; None where the
        predictions are not known.
    mcnemar
        On the samples that only one of the two got right; None likewise.
    """

    model: str
    operator: str
    metric: str
    percent: float
    baseline_percent: float
    budget_pp: float
    baseline: str = "identity"
    interval: AccuracyDrop | None = None
    mcnemar: McNemar | None = None

    @property
    def drop_pp(self) -> float:
        """Percentage points below the baseline; negative where the operator is better."""
        return self.baseline_percent - self.percent

    @property
    def budget(self) -> Budget:
        """Broken where the drop exceeds the budget, beyond doubt where the lower end of its interval does too."""
        limit_pp = self.budget_pp + _ROUNDING_PP
        if self.drop_pp <= limit_pp:
            return "kept"
        return "broken beyond doubt" if self.interval is not None and self.interval.low > limit_pp else "broken"

    @property
    def verdict(self) -> Verdict:
        """Whether the budget is kept."""
        if self.budget == "kept":
            return Verdict("pass")
        reason = (
            f"{self.metric} is {self.drop_pp:.2f} pp below the baseline's {self.baseline_percent:.2f} % "
            f"(budget {self.budget_pp:g} pp)"
        )
        if self.interval is not None:
            doubt = "beyond doubt" if self.budget == "broken beyond doubt" else "though not beyond doubt"
            reason += (
                f", {doubt}: the {100 * self.interval.confidence:g} % interval of the drop is "
                f"{self.interval.low:.2f} to {self.interval.high:.2f} pp"
            )
        return Verdict("fail", reason)


def judge_accuracy(
    names: tuple[str, str, str],
    metric: Metric,
    evaluation: Evaluation,
    baseline: Evaluation,
    *,
    budget_pp: float,
    alpha: float,
) -> AccuracyResult:
    """Compare an artifact's predictions with the baseline's, sample by sample.

    Parameters
    ----------
    names
        Model, operator, and the operator that is the baseline.
    metric
        What the budget is about.
    evaluation, baseline
        Of the same samples in the same order.
    budget_pp
        The largest drop allowed, in percentage points.
    alpha
        One minus the confidence of the interval.

    Raises
    ------
    ValueError
        The two are not of the same samples.

    Notes
    -----
    The bootstrap has a fixed seed: the same predictions give the same interval.
    """
    from pytest_edgeai.stats import mcnemar_exact, ratio_drop

    if not np.array_equal(evaluation.truth, baseline.truth):
        raise ValueError(f"{names[0]}-{names[1]} and {names[0]}-{names[2]} were evaluated on different samples")
    truth = evaluation.truth
    return AccuracyResult(
        model=names[0],
        operator=names[1],
        metric=metric.name,
        percent=evaluation.metrics[metric.name],
        baseline_percent=baseline.metrics[metric.name],
        budget_pp=budget_pp,
        baseline=names[2],
        interval=ratio_drop(
            metric.parts(baseline.ranked, truth), metric.parts(evaluation.ranked, truth), confidence=1 - alpha
        ),
        mcnemar=mcnemar_exact(metric.correct(baseline.ranked, truth), metric.correct(evaluation.ranked, truth)),
    )
