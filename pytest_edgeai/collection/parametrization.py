"""From the matrix to the parameters of tests, and back from a test to its trial.

Axes are parametrized by name on the fixtures `edgeai_model`, `edgeai_operator`, `edgeai_tier` and `edgeai_replicate`,
never on `subject`, `operator`, `tier` and `replicate`, so that a project's own fixtures and parameters of those
common names stay its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_edgeai.collection.options import Options
    from pytest_edgeai.matrix.strategies import PlannedTrial
    from pytest_edgeai.selection import Selection
    from pytest_edgeai.session import MeasuringSession
    from pytest_edgeai.tiers.placements import Placement

AXES = ("edgeai_model", "edgeai_operator", "edgeai_tier", "edgeai_replicate")
VERSION = "edgeai_version"
# A trial that turns out invalid before its first request leaves pytest-benchmark's fixture unused.
_UNUSED_IS_FINE = pytest.mark.filterwarnings("ignore:Benchmark fixture was not used at all")


@dataclass(frozen=True, slots=True)
class Refused:
    """Stands for the parameters of a test that can be given none, because something given cannot be used: why."""

    sentence: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Stands for the parameters of a test that has no strategy in common with what the session selects."""


def axes_of(fixture_names: Sequence[str]) -> tuple[str, ...]:
    """The axes among the fixtures that a test needs."""
    return tuple(axis for axis in AXES if axis in fixture_names)


def axes_needed(metafunc: pytest.Metafunc) -> tuple[str, ...]:
    """The axes that a test needs, now that its project's hooks have parametrized it.

    A project that gives its test values for `operator` or `tier` means names of its own, though pytest had found our
    fixtures of these names first. pytest drops what is then needed no more after this hook only, so it is asked now.
    """
    if axes_of(metafunc.fixturenames):
        metafunc.definition._fixtureinfo.prune_dependency_tree()  # noqa: SLF001  # there is no public name
    return axes_of(metafunc.fixturenames)


def refuse(metafunc: pytest.Metafunc, axes: Sequence[str], sentence: str) -> None:
    """Give a test one set of parameters that stands for the error."""
    _stand_in(metafunc, axes, Refused(sentence), "unusable")


def refusal_of(item: pytest.Item) -> str | None:
    """Why a test has no parameters that can be used, or None."""
    return next((value.sentence for value in _given(item).values() if isinstance(value, Refused)), None)


def refuse_unusable(session: pytest.Session, options: Options) -> None:
    """End the session where nothing would run but tests that cannot be used; beside others only these fail.

    Raises
    ------
    pytest.UsageError
        Says what cannot be used.
    """
    refused = dict.fromkeys(filter(None, map(refusal_of, session.items)))
    if not refused:
        return
    others = (item for item in session.items if not asks_for_matrix(item))
    tests_more = any(item.get_closest_marker("skip") is None for item in others)
    if not tests_more or options.prepares or options.hand_over is not None:
        raise pytest.UsageError("\n".join(refused))


def is_left_out(item: pytest.Item) -> bool:
    """Whether a test has no strategy in common with what the session selects."""
    return any(isinstance(value, LeftOut) for value in _given(item).values())


def asks_for_matrix(item: pytest.Item) -> bool:
    """Whether a test needs any of the axes."""
    return bool(axes_of(getattr(item, "fixturenames", ())))


def parametrize(metafunc: pytest.Metafunc, axes: Sequence[str], session: MeasuringSession) -> None:
    """Give a test one set of parameters for each combination of its axes.

    Raises
    ------
    SettingsError
        The test's marker `edgeai` has an unknown key or names something unknown.
    """
    selection, replicates = _restricted(metafunc.definition.get_closest_marker("edgeai"), session)
    values: Mapping[str, Sequence[Any]] = {
        "edgeai_model": selection.models,
        "edgeai_operator": selection.operators,
        "edgeai_tier": [str(placement) for placement in selection.placements],
        "edgeai_replicate": range(replicates),
    }
    versions: list[dict[str, str]] = [{}]
    if session.against is not None and set(AXES) == set(axes) and VERSION in metafunc.fixturenames:
        versions = [{"version": ""}, {"version": session.against.revision}]
    parameters = []
    for row in itertools.product(*(values[axis] for axis in axes)):
        if not _fits(dict(zip(axes, row, strict=True)), session):
            continue
        words = [f"r{value}" if axis == "edgeai_replicate" else value for axis, value in zip(axes, row, strict=True)]
        keys = {axis.removeprefix("edgeai_"): value for axis, value in zip(axes, row, strict=True)}
        for version in versions:
            marks = (pytest.mark.strategy(**keys, **version), _UNUSED_IS_FINE)
            name = "-".join(words) + "".join(f"@{revision}" for revision in version.values() if revision)
            parameters.append(pytest.param(*row, *version.values(), id=name, marks=marks))
    if not parameters:
        _stand_in(metafunc, axes, LeftOut(), "nothing")
        return
    metafunc.parametrize((*axes, *([VERSION] if versions[0] else [])), parameters, indirect=True)


def trial_of(item: pytest.Item) -> PlannedTrial | None:
    """The trial that a test makes, if it has all axes."""
    parameters = _parameters(item)
    if not all(axis in parameters for axis in AXES):
        return None
    from pytest_edgeai.matrix.strategies import PlannedTrial, Strategy
    from pytest_edgeai.tiers.placements import Placement

    model, operator, tier, replicate = (parameters[axis] for axis in AXES)
    return PlannedTrial(Strategy(model, operator, Placement.parse(tier)), replicate, parameters.get(VERSION, ""))


def artifacts_of(items: Iterable[pytest.Item]) -> tuple[tuple[str, str], ...]:
    """Models and operators whose artifact the tests need, without repeats."""
    wanted: dict[tuple[str, str], None] = {}
    for item in items:
        parameters = _parameters(item)
        if _asks_for(item, "artifact", "deployment", "trial"):
            wanted[parameters["edgeai_model"], parameters["edgeai_operator"]] = None
    return tuple(wanted)


def placements_of(items: Iterable[pytest.Item]) -> tuple[Placement, ...]:
    """Where tests deploy something, without repeats."""
    from pytest_edgeai.tiers.placements import Placement

    names = [_parameters(item)["edgeai_tier"] for item in items if _asks_for(item, "deployment", "trial")]
    return tuple(Placement.parse(name) for name in dict.fromkeys(names))


def _asks_for(item: pytest.Item, *fixtures: str) -> bool:
    """Whether a test needs one of our fixtures (and not one of its project's that has the same name)."""
    names = getattr(item, "fixturenames", ())
    return "edgeai_session" in names and any(name in names for name in fixtures) and bool(_parameters(item))


def _parameters(item: pytest.Item) -> Mapping[str, Any]:
    """The parameters of a test; none where others stand in for those of the matrix."""
    given = _given(item)
    return {} if any(isinstance(value, Refused | LeftOut) for value in given.values()) else given


def _given(item: pytest.Item) -> Mapping[str, Any]:
    return getattr(getattr(item, "callspec", None), "params", {})


def _stand_in(metafunc: pytest.Metafunc, axes: Sequence[str], value: Refused | LeftOut, name: str) -> None:
    metafunc.parametrize(axes, [pytest.param(*(value for _ in axes), id=name)], indirect=True)


def _fits(row: Mapping[str, Any], session: MeasuringSession) -> bool:
    """Whether the operator is for the model, and has a part for each tier, as far as a test has both."""
    from pytest_edgeai.tiers.placements import Placement

    if "edgeai_operator" not in row:
        return True
    if "edgeai_model" in row and not session.registered.offers(row["edgeai_model"], row["edgeai_operator"]):
        return False
    if "edgeai_tier" not in row:
        return True
    return session.registered.fits(row["edgeai_operator"], Placement.parse(row["edgeai_tier"]))


@dataclass(frozen=True, slots=True)
class _MatrixMark:
    """The arguments of the marker `edgeai`.

    Parameters
    ----------
    models, operators, tiers
        Names that a test is restricted to; None for all.
    replicates
        How many trials of each strategy; None for the profile's.
    """

    models: Sequence[str] | None = None
    operators: Sequence[str] | None = None
    tiers: Sequence[str] | None = None
    replicates: int | None = None

    @classmethod
    def read(cls, marker: pytest.Mark) -> _MatrixMark:
        """The arguments of a marker.

        Raises
        ------
        SettingsError
            An argument is unknown or of the wrong type.
        """
        from pytest_edgeai.errors import SettingsError, unknown

        if marker.args:
            raise SettingsError("the marker edgeai takes no positional arguments")
        known = [one.name for one in fields(cls)]
        for key in marker.kwargs:
            if key not in known:
                raise SettingsError(f"the marker edgeai: {unknown('argument', key, known)}")
        given = cls(**marker.kwargs)
        for key in ("models", "operators", "tiers"):
            value = getattr(given, key)
            if value is not None and not (isinstance(value, Sequence) and not isinstance(value, str)):
                raise SettingsError(f"the marker edgeai: {key} has to be a list of names (got {value!r})")
        if "replicates" in marker.kwargs and not (isinstance(given.replicates, int) and given.replicates >= 1):
            raise SettingsError(f"the marker edgeai: replicates has to be 1 or more (got {given.replicates!r})")
        return given


def _restricted(marker: pytest.Mark | None, session: MeasuringSession) -> tuple[Selection, int]:
    """The selection and replicates of the session, as far as a marker lets them."""
    from pytest_edgeai.matrix.names import parse_placements, select
    from pytest_edgeai.partition.cut_numbers import family_of
    from pytest_edgeai.selection import Selection

    chosen, replicates = session.selection, session.settings.measurement.replicates
    if marker is None:
        return chosen, replicates
    given, registered, placements = _MatrixMark.read(marker), session.registered, chosen.placements
    models = select("model", "the marker edgeai", given.models, tuple(registered.subjects))
    operators = select("operator", "the marker edgeai", given.operators, tuple(registered.operators))
    if given.tiers is not None:
        placements = parse_placements("the marker edgeai", given.tiers, session.settings.topology)
    return Selection(
        tuple(name for name in chosen.models if name in models),
        tuple(name for name in chosen.operators if name in operators or family_of(name) in operators),
        tuple(placement for placement in chosen.placements if placement in placements),
    ), given.replicates or replicates
