"""Operators by names that nobody registered: chains such as `distilled>sptq`, single cuts such as `partition.3`.

They also say what steps an operator's artifact is made in, and why it cannot be made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pytest_edgeai.errors import SettingsError, unknown
from pytest_edgeai.operators import Form, Operator
from pytest_edgeai.operators.composition import Composition
from pytest_edgeai.operators.extras import first_missing, installing, is_installed
from pytest_edgeai.operators.partition import Partition
from pytest_edgeai.partition.cut_numbers import family_of, numbered, numbers_of
from pytest_edgeai.subjects import SubjectModel

SEPARATOR = ">"
EXPORTER = "identity"
"""The operator that turns a network into a graph wherever one is needed."""

_GRAPHS: tuple[Form, ...] = ("graph", "int8 graph")
_WORDS: Mapping[Form, str] = {
    "network": "a network that can be trained",
    "graph": "a float graph",
    "int8 graph": "an int8 graph",
    "any graph": "a graph",
    "parts": "parts of a graph",
    "nodes": "graphs for several nodes",
}


def steps(name: str, operators: Mapping[str, Operator[Any]]) -> tuple[Operator[Any], ...]:
    """The operators that make an artifact from a subject model, one after the other.

    Parameters
    ----------
    name
        Of an operator, or a chain of names with `>` between them.
    operators
        By name.

    Returns
    -------
    tuple of Operator
        Compositions are resolved, and networks exported where a graph is needed: `sptq` is `identity`, `sptq`.

    Raises
    ------
    SettingsError
        A name is unknown, or an operator cannot start from what the one before it gives, or cannot keep what one
        before it promises.
    """
    chain: list[Operator[Any]] = []
    promised: dict[str, str] = {}
    form: Form = "network"
    previous = "the subject model"
    for operator in _flat(name, operators, ()):
        if operator.takes in ("graph", "any graph") and form == "network":
            chain.append(operators[EXPORTER])
            form = "graph"
        if form not in (_GRAPHS if operator.takes == "any graph" else (operator.takes,)):
            raise SettingsError(
                f"operator {name!r} cannot be made: {operator.name} takes {_WORDS[operator.takes]}, and {previous} "
                f"gives {_WORDS[form]}"
            )
        for promise in promised.keys() & operator.breaks.keys():
            raise SettingsError(
                f"operator {name!r} cannot be made: {operator.name} would not keep the {promise} of "
                f"{promised[promise]}, since {operator.breaks[promise]}"
            )
        chain.append(operator)
        promised.update(dict.fromkeys(operator.promises, operator.name))
        form, previous = operator.gives, operator.name
    return (*chain, operators[EXPORTER]) if form == "network" else tuple(chain)


def incompatibility(step: Operator[Any], subject: SubjectModel) -> str:
    """Why a step of a chain can do nothing with a subject model, in a sentence; empty where it can be tried."""
    if step.takes == "network" and step.name != EXPORTER and subject.network is None:
        assert subject.graph is not None
        return (
            f"{step.name} changes a torch network, and the model is the ONNX file {subject.graph.name}; operators that "
            "take a graph can be used (identity, sptq, partition)"
        )
    if step.gives == "nodes" and not subject.has_classes:
        return (
            f"{step.name} joins the answers of classifiers, and the model has no postprocess of the kind classification"
        )
    return step.incompatibility(subject)


def refusal(name: str, subject: SubjectModel, operators: Mapping[str, Operator[Any]]) -> str:
    """Why an operator or chain cannot be used on a subject model, by its first step that cannot; empty where it can."""
    return next(filter(None, (incompatibility(step, subject) for step in steps(name, operators))), "")


def lacking(name: str, subject: SubjectModel, operators: Mapping[str, Operator[Any]]) -> str:
    """What to install where an artifact cannot be made without, in a sentence; empty where all is installed.

    Nothing is imported.

    Parameters
    ----------
    name
        Of an operator or chain.
    subject
        The subject model.
    operators
        By name.
    """
    if missing := first_missing(subject.examples.libraries):
        return f"the examples of model {subject.name} need {missing}"
    for number, step in enumerate(steps(name, operators)):
        takes_network = step.takes_network(subject, first=number == 0)
        if takes_network and not is_installed("torch"):
            what = f"model {subject.name} is" if step.name == EXPORTER else f"operator {step.name} changes"
            return f"{what} a torch network, and torch is not installed: {installing('torch')}"
        if missing := first_missing(step.requirements_for(subject, first=number == 0)):
            return f"operator {step.name} needs {missing}"
        if takes_network and (missing := first_missing(subject.libraries or ())):
            return f"model {subject.name} needs {missing}"
    return ""


def tiers_of(name: str, operators: Mapping[str, Operator[Any]]) -> tuple[str, ...]:
    """The tiers that the parts of an artifact are made for; empty where it is whole."""
    return steps(name, operators)[-1].tiers


def nodes_of(name: str, operators: Mapping[str, Operator[Any]]) -> int:
    """How many nodes of a tier an artifact is made for; 1 where it is for a single one, or for a chain of tiers."""
    return steps(name, operators)[-1].nodes


def takes_every_cut(name: str, operators: Mapping[str, Operator[Any]]) -> bool:
    """Whether an operator stands for every cut of a graph, each a strategy of its own."""
    last = steps(name, operators)[-1]
    return isinstance(last, Partition) and last.parameters.cut == "all"


def with_chains(operators: Mapping[str, Operator[Any]], names: Iterable[str]) -> dict[str, Operator[Any]]:
    """Operators, and after them the chains and the single cuts among some names.

    Raises
    ------
    SettingsError
        A chain, or a composition that is registered, cannot be made; says why.
    """
    everything = dict(operators)
    for name in names:
        _add(name, everything)
    for name, operator in everything.items():
        if isinstance(operator, Composition):
            steps(name, everything)
    return everything


def _add(name: str, operators: dict[str, Operator[Any]]) -> None:
    """Add the operator of a name, and those that it consists of; nothing where the name cannot be taken apart."""
    family, numbers = family_of(name), numbers_of(name)
    if name in operators:
        return
    if SEPARATOR in name:
        chain = tuple(name.split(SEPARATOR))
    elif numbers and isinstance(whole := operators.get(family), Partition):
        operators[name] = whole.numbered(name, numbers)
        return
    elif numbers and isinstance(whole, Composition):
        chain = (*whole.chain[:-1], numbered(whole.chain[-1], numbers))
    else:
        return
    for step in chain:
        _add(step, operators)
    operators[name] = Composition.named(name, chain)


def _flat(name: str, operators: Mapping[str, Operator[Any]], within: tuple[str, ...]) -> Iterator[Operator[Any]]:
    if name not in operators:
        among = f"in {within[0]!r}, " if within else ""
        raise SettingsError(f"{among}{unknown('operator', name, [one for one in operators if SEPARATOR not in one])}")
    if name in within:
        raise SettingsError(f"operator {within[0]!r} cannot be made: {name} is a step of itself")
    operator = operators[name]
    if isinstance(operator, Composition):
        for step in operator.chain:
            yield from _flat(step, operators, (*within, name))
    else:
        yield operator
