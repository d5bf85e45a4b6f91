"""Accuracy budgets: by how many percentage points an operator may fall behind the baseline."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_edgeai.verdicts import Verdict

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
    """

    model: str
    operator: str
    metric: str
    percent: float
    baseline_percent: float
    budget_pp: float

    @property
    def drop_pp(self) -> float:
        """Percentage points below the baseline; negative where the operator is better."""
        return self.baseline_percent - self.percent

    @property
    def verdict(self) -> Verdict:
        """Whether the budget is kept."""
        if self.drop_pp <= self.budget_pp + _ROUNDING_PP:
            return Verdict("pass")
        return Verdict(
            "fail",
            f"{self.metric} is {self.drop_pp:.2f} pp below the baseline's {self.baseline_percent:.2f} % "
            f"(budget {self.budget_pp:g} pp)",
        )
