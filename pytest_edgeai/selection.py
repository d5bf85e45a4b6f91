"""Models, operators and placements that a session can measure, and the selection of them by name."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from pytest_edgeai.errors import SettingsError, nearest
from pytest_edgeai.matrix.names import parse_placements, select
from pytest_edgeai.matrix.strategies import Strategy
from pytest_edgeai.settings import Settings
from pytest_edgeai.tiers.backend import BackendFactory
from pytest_edgeai.tiers.placements import Placement

if TYPE_CHECKING:
    from pytest_edgeai.operators import Operator
    from pytest_edgeai.settings_budgets import RelativeBudget
    from pytest_edgeai.subjects import SubjectModel
    from pytest_edgeai.subjects.hub import Fetched


@dataclass(frozen=True, slots=True)
class Registered:
    """What entry points and hooks offer."""

    subjects: Mapping[str, SubjectModel]
    operators: Mapping[str, Operator[Any]]
    backends: Mapping[str, BackendFactory]
    models: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """For which subject models an operator is, where it is not for all."""

    def offers(self, model: str, operator: str) -> bool:
        """Whether there is an artifact of a model by an operator."""
        return model in self.models.get(operator, (model,))

    def fits(self, operator: str, placement: Placement) -> bool:
        """Whether an operator's artifacts have a part for each tier of a placement, and work for each of its nodes."""
        tiers = max(1, len(self.tiers_of(operator)))
        return (tiers, self.nodes_of(operator)) == (len(placement.tiers), placement.nodes)

    def tiers_of(self, operator: str) -> tuple[str, ...]:
        """The tiers that an operator makes parts for; empty where its artifacts are whole."""
        from pytest_edgeai.operators.chains import tiers_of

        return tiers_of(operator, self.operators)

    def nodes_of(self, operator: str) -> int:
        """How many nodes of a tier an operator's artifacts are made for."""
        from pytest_edgeai.operators.chains import nodes_of

        return nodes_of(operator, self.operators)

    def unusable(self, model: str, operator: str) -> str:
        """Why an artifact cannot be made as things are set, in a sentence; empty where it can be tried."""
        from pytest_edgeai.operators.chains import lacking, refusal

        subject = self.subjects[model]
        sentence = refusal(operator, subject, self.operators)
        refused = (
            f"operator {operator} cannot be used on model {model} (--edgeai-models): {sentence}" if sentence else ""
        )
        return subject.missing or refused or lacking(operator, subject, self.operators)

    def takes_network(self, model: str, operator: str) -> bool:
        """Whether an artifact is made of a subject model's network."""
        from pytest_edgeai.operators.chains import steps

        subject = self.subjects[model]
        return steps(operator, self.operators)[0].takes_network(subject, first=True)

    def refuse_unusable(self, artifacts: Iterable[tuple[str, str]], find: Callable[[str, str], object | None]) -> None:
        """Refuse subject models that lack weights or data, or that an operator cannot be used on.

        Parameters
        ----------
        artifacts
            Those that are needed, by model and operator.
        find
            From a model and an operator to the artifact, or to None where it has to be built.

        Raises
        ------
        SettingsError
            A line for each, which names the setting.
        """
        wanted = tuple(artifacts)
        lacking = dict.fromkeys(filter(None, itertools.starmap(self.unusable, wanted)))
        if not lacking:
            lacking = dict.fromkeys(filter(None, (network.unreachable() for network in self._to_fetch(wanted, find))))
        if lacking:
            raise SettingsError("\n".join(lacking))

    def _to_fetch(
        self, artifacts: Iterable[tuple[str, str]], find: Callable[[str, str], object | None]
    ) -> Iterator[Fetched]:
        """The networks with weights to download, as far as artifacts have to be built from them."""
        from pytest_edgeai.subjects.hub import Fetched

        for model, wanted in itertools.groupby(artifacts, key=lambda one: one[0]):
            network = self.subjects[model].network
            if isinstance(network, Fetched) and any(self.takes_network(*one) and find(*one) is None for one in wanted):
                yield network

    def in_order(self, artifacts: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """Sort models and operators into the order in which their artifacts are made.

        They are in the order of models, so that parallel workers seldom wait for each other, and of each model in the
        order of operators, in which those that others start from come first.
        """
        models, operators = list(self.subjects), list(self.operators)
        return tuple(sorted(artifacts, key=lambda one: (models.index(one[0]), operators.index(one[1]))))

    def wanted_by(self, operator: str, origin: str) -> str:
        """The placement that an operator's artifacts are made for, as a sentence goes on that says what it needs."""
        chain, nodes = self.tiers_of(operator), self.nodes_of(operator)
        if nodes > 1:
            return f"{nodes} nodes of a tier, for example {Placement((origin,), nodes)}"
        return f"a chain of {len(chain)} tiers, for example {'+'.join(chain)}" if chain else "a single tier"


@dataclass(frozen=True, slots=True)
class Selection:
    """The axes of the matrix, in the order of reports."""

    models: tuple[str, ...]
    operators: tuple[str, ...]
    placements: tuple[Placement, ...]

    @classmethod
    def from_settings(cls, settings: Settings, registered: Registered) -> Selection:
        """The names that the settings select.

        Raises
        ------
        SettingsError
            A name is unknown.
        """
        where = settings.origins.of
        operators = select("operator", where("operators"), settings.operators, tuple(registered.operators))
        placements = cls._placements(settings, registered, operators)
        if settings.baseline not in registered.operators:
            select("operator", where("baseline"), (settings.baseline,), tuple(registered.operators))
        for name, table in settings.budgets.by_operator.items():
            for model in table.models:
                select("model", where(f"{name}.models"), (model,), tuple(registered.subjects))
            for operator in itertools.chain(table.operators, *table.models.values()):
                select("operator", where(name), (operator,), tuple(registered.operators))
        for budget in settings.budgets.relative:
            select("operator", where("budgets.relative"), (budget.max_ratio_to,), tuple(registered.operators))
        return cls(
            models=select("model", where("models"), settings.models, tuple(registered.subjects)),
            operators=operators,
            placements=placements,
        )

    def in_order(self, wanted: Collection[Strategy]) -> tuple[Strategy, ...]:
        """Those of the matrix that are wanted, in the order of reports."""
        every = itertools.product(self.models, self.operators, self.placements)
        return tuple(strategy for strategy in itertools.starmap(Strategy, every) if strategy in wanted)

    def refuse_idle_budgets(self, settings: Settings, registered: Registered) -> None:
        """Refuse a budget that names no strategy, or one that has nothing to be compared with.

        Raises
        ------
        SettingsError
            Names it.
        """
        everywhere = {*self.placements, *(Placement((tier,)) for tier in settings.topology.tiers)}
        every = itertools.product(registered.subjects, registered.operators, sorted(everywhere))
        ids = [Strategy(*names).id for names in every if registered.offers(*names[:2])]
        for setting, budgets in settings.budgets.by_pattern.items():
            for pattern in (budget.strategies for budget in budgets):
                if not any(fnmatchcase(name, pattern) for name in ids):
                    raise SettingsError(
                        f"{settings.origins.of(setting)}: no strategy is named by {pattern!r}; did you "
                        f"mean {nearest(pattern, ids, least=0.0)!r}?"
                    )
        for relative in settings.budgets.relative:
            self._refuse_without_counterpart(relative, settings.origins.of("budgets.relative"), registered)

    def _refuse_without_counterpart(self, budget: RelativeBudget, setting: str, registered: Registered) -> None:
        other = budget.max_ratio_to
        for model, operator, placement in itertools.product(self.models, self.operators, self.placements):
            strategy = Strategy(model, operator, placement)
            measured = registered.offers(model, operator) and registered.fits(operator, placement)
            if (
                measured
                and fnmatchcase(strategy.id, budget.strategies)
                and not (registered.offers(model, other) and registered.fits(other, placement))
            ):
                raise SettingsError(
                    f"{setting}: {strategy.id} is named by {budget.strategies!r}, and there is no {other} of {model} "
                    f"on {placement} to compare it with: narrow the pattern, or name another operator in max_ratio_to"
                )

    @staticmethod
    def _placements(settings: Settings, registered: Registered, operators: Sequence[str]) -> tuple[Placement, ...]:
        """The placements that are asked for; else all tiers, and the chains and nodes that operators make parts for."""
        setting, topology = settings.origins.of("tiers"), settings.topology
        if settings.tiers is not None:
            placements = parse_placements(setting, settings.tiers, topology)
        else:
            chains = dict.fromkeys(registered.tiers_of(name) for name in operators)
            names = ["+".join(chain) for chain in chains if chain and set(chain) <= set(topology.tiers)]
            nodes = dict.fromkeys(registered.nodes_of(name) for name in operators)
            names += [str(Placement((topology.origin,), number)) for number in nodes if number > 1]
            placements = parse_placements(setting, (*topology.tiers, *names), topology)
        for name in settings.operators or ():
            if not any(registered.fits(name, placement) for placement in placements):
                wanted = registered.wanted_by(name, topology.origin)
                raise SettingsError(f"{setting}: operator {name} needs {wanted}")
        return placements
