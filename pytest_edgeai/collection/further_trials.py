"""More trials for strategies that the gate, or a tail budget, cannot decide yet, while the session measures.

A session asks for them when its planned trials are over (`MeasuringSession.suppliers`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_edgeai.matrix.strategies import PlannedTrial

if TYPE_CHECKING:
    from pytest_edgeai.session import MeasuringSession
    from pytest_edgeai.verdicts.regression import Rule


class UndecidedTrials:
    """Both versions' further trials of strategies that are undecided, until each is decided or has its most."""

    def __init__(self) -> None:
        self.rule: Rule | None = None
        """What counts as a change at the latest look."""
        self._looks = 0
        self._levels: dict[str, float] = {}

    def __call__(self, session: MeasuringSession) -> Iterable[PlannedTrial]:
        """The trials to make next; none where all is decided, or there may be no more.

        The rule becomes that of the look, so that what is decided at a look stays so.
        """
        from pytest_edgeai.conclusion import compare_versions
        from pytest_edgeai.verdicts.comparison import rules
        from pytest_edgeai.verdicts.undecided import more_trials, rule_of_look

        most = session.settings.gate.max_replicates
        versions = {trial.strategy: trial.version for trial in session.baseline_trials}
        replicates = {
            name: [trial.replicate for trial in session.trials if trial.strategy == name] for name in versions
        }
        last = all(len(made) >= most for name, made in replicates.items() if name.id not in self._levels)
        usual, _ = rules(session.settings)
        self.rule = replace(rule_of_look(usual, self._looks, last=last), levels=dict(self._levels))
        comparison = compare_versions(session.measured(), None, self.rule)
        if last or comparison is None:
            return []
        changes = {row.strategy: row.latency for row in comparison.rows if row.latency is not None}
        wanted = more_trials(changes, most)
        if not wanted:
            return []
        self._levels |= dict.fromkeys(changes.keys() - wanted.keys() - self._levels.keys(), self.rule.alpha)
        self._looks += 1
        return [
            PlannedTrial(strategy, replicate, version)
            for strategy, other in versions.items()
            if strategy.id in wanted
            for replicate in range(max(replicates[strategy]) + 1, max(replicates[strategy]) + 1 + wanted[strategy.id])
            for version in ("", other)
        ]


class UndecidedTails:
    """Further trials of this version's strategies whose tail budgets are undecided, from look to look."""

    def __init__(self, session: MeasuringSession) -> None:
        for strategy, count in Counter(trial.strategy for trial in session.trials).items():
            looks = session.settings.tail_looks(strategy.id, count)
            if looks is not None:
                session.looks[strategy] = looks

    def __call__(self, session: MeasuringSession) -> Iterable[PlannedTrial]:
        """The trials up to the next look of each strategy that is undecided; none where all are decided."""
        from pytest_edgeai.measure.attempts import void_strategy
        from pytest_edgeai.verdicts.budgets import tails_undecided
        from pytest_edgeai.verdicts.figures import strategy_figures
        from pytest_edgeai.verdicts.outcome import invalid_trials

        measured = session.measured()
        wanted = []
        for strategy, looks in session.looks.items():
            made = [trial for trial in session.trials if trial.strategy == strategy]
            following, figures = looks.after(len(made)), strategy_figures(strategy, measured)
            if following is None or figures is None:
                continue
            invalid = invalid_trials(made, measured)
            if void_strategy(invalid, len(made) - len(invalid)):
                continue
            if tails_undecided(session.settings.budgets, strategy.id, figures, looks):
                first = 1 + max(trial.replicate for trial in made)
                wanted += [PlannedTrial(strategy, first + number) for number in range(following - len(made))]
        return wanted
