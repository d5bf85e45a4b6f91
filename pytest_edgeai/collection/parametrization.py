"""Between pytest and the matrix: from options, hooks and markers to a session, and from the matrix to parameters.

Axes are parametrized by name on the fixtures `edgeai_model`, `edgeai_operator`, `edgeai_tier` and `edgeai_replicate`,
never on `subject`, `operator`, `tier` and `replicate`, so that a project's own fixtures and parameters of those
common names stay its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_edgeai.matrix.strategies import PlannedTrial
    from pytest_edgeai.operators.worker import Progress
    from pytest_edgeai.selection import Selection
    from pytest_edgeai.session import MeasuringSession
    from pytest_edgeai.tiers.placements import Placement
    from pytest_edgeai.versions.checkouts import Commit
    from pytest_edgeai.versions.recording import Recording

AXES = ("edgeai_model", "edgeai_operator", "edgeai_tier", "edgeai_replicate")
VERSION = "edgeai_version"
_MARKER_KEYS = ("models", "operators", "tiers", "replicates")
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


def refuse_unusable(session: pytest.Session) -> None:
    """End the session where nothing would run but tests that cannot be used; beside others only these fail.

    Raises
    ------
    pytest.UsageError
        Says what cannot be used.
    """
    config = session.config
    refused = dict.fromkeys(filter(None, map(refusal_of, session.items)))
    if not refused or hasattr(config, "workerinput"):
        return
    others = (item for item in session.items if not asks_for_matrix(item))
    tests_more = any(item.get_closest_marker("skip") is None for item in others)
    if not tests_more or config.option.edgeai_prepare or config.option.edgeai_hand_over:
        raise pytest.UsageError("\n".join(refused))


def is_left_out(item: pytest.Item) -> bool:
    """Whether a test has no strategy in common with what the session selects."""
    return any(isinstance(value, LeftOut) for value in _given(item).values())


def asks_for_matrix(item: pytest.Item) -> bool:
    """Whether a test needs any of the axes."""
    return bool(axes_of(getattr(item, "fixturenames", ())))


def open_session(config: pytest.Config, seed: int) -> MeasuringSession:
    """Read settings and options, ask the hooks, and start a session.

    Raises
    ------
    SettingsError
        Something given cannot be used.
    """
    from pytest_edgeai.errors import SettingsError
    from pytest_edgeai.operators import chains, registry
    from pytest_edgeai.plugin import SETTINGS
    from pytest_edgeai.selection import Registered
    from pytest_edgeai.session import MeasuringSession
    from pytest_edgeai.settings import validated
    from pytest_edgeai.settings_files import find_settings

    hook = config.hook
    topologies = [one for one in hook.pytest_edgeai_tiers(config=config) if one is not None]
    file, content = find_settings(*_folders(config))
    settings = validated(file, content, _overrides(config), topologies[0] if topologies else None)
    config.stash[SETTINGS] = settings
    subjects: dict[str, Any] = {}
    for subject in itertools.chain.from_iterable(reversed(hook.pytest_edgeai_subjects(config=config))):
        if subject.name in subjects:
            raise SettingsError(f"two subject models are named {subject.name!r}")
        subjects[subject.name] = subject
    if not subjects:
        raise SettingsError("there are no subject models: return some from the hook pytest_edgeai_subjects")
    classes = registry.merged(itertools.chain.from_iterable(hook.pytest_edgeai_operators(config=config)))
    backends: dict[str, Any] = {}
    for named in hook.pytest_edgeai_backends(config=config):
        backends.update(named or {})
    operators = registry.instantiate(classes, settings.operator_parameters)
    registered = Registered(subjects, chains.with_chains(operators, settings.operator_names), backends)
    root = config.rootpath if file is None else file.parent
    against, usual = _against(config, root), None
    if against is not None and settings.replicates is None:
        usual = settings.measurement.replicates
        settings = settings.model_copy(update={"replicates": max(usual, settings.gate.replicates)})
        config.stash[SETTINGS] = settings
    session = MeasuringSession(
        settings, registered, seed, root, settings_file=file, against=against, usual_replicates=usual
    )
    session.expand(_progress(config, session))
    return session


def baseline_of(config: pytest.Config) -> Recording | None:
    """The saved session that this one is compared with.

    Raises
    ------
    SettingsError
        There is none of that name, or it cannot be read.
    """
    wanted = config.getoption("edgeai_compare")
    if wanted is None:
        return None
    from pytest_edgeai.errors import SettingsError
    from pytest_edgeai.versions.baselines import DEFAULT_STORAGE, find_recording

    try:
        storage = config.getoption("benchmark_storage", DEFAULT_STORAGE)
        return find_recording(wanted, config.invocation_params.dir, storage)  # as pytest-benchmark's own paths start
    except SettingsError as error:
        raise SettingsError(f"--edgeai-compare: {error}") from None


def refuse_too_few_trials(session: MeasuringSession) -> None:
    """Refuse a comparison that cannot decide anything, because a strategy has too few trials on a side.

    Raises
    ------
    SettingsError
        Says how many there are and how many it takes.
    """
    from collections import Counter

    from pytest_edgeai.errors import SettingsError
    from pytest_edgeai.verdicts.comparison import rules

    rule, _ = rules(session.settings)
    fewest = rule.fewest_trials(together=session.against is not None)
    planned = Counter(cell.strategy.id for cell in session.cells)
    option = "--edgeai-compare" if session.against is None else "--edgeai-against"
    few = {name: count for name, count in planned.items() if count < fewest}
    if few:
        name = min(few)
        raise SettingsError(
            f"{option}: {few[name]} trial{'s'[: few[name] > 1]} of {name} cannot tell a change from chance: it takes "
            f"{fewest} a side at least, for example --edgeai-replicates {session.settings.gate.replicates}"
        )
    saved = {} if session.baseline is None else session.baseline.strategies
    few = {name: len(saved[name].latencies_s) for name in planned if name in saved and saved[name].is_short(fewest)}
    if few:
        name = min(few)
        raise SettingsError(
            f"{option}: {session.baseline.label if session.baseline else ''} has {few[name]} "
            f"trial{'s'[: few[name] > 1]} of {name}, and it takes {fewest} a side at least to tell a change from "
            f"chance: save it again with more, for example --edgeai-replicates {session.settings.gate.replicates}"
        )


def places_of(config: pytest.Config) -> list[str]:
    """Where the session's tests are, as absolute paths of files and folders; nothing where the project says it."""
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        return []
    places = (config.invocation_params.dir / argument.partition("::")[0] for argument in config.args)
    return [str(place.absolute()) for place in dict.fromkeys(places)]


def selects_all(config: pytest.Config) -> bool:
    """Whether nothing restricts what the settings ask for."""
    options = ("edgeai_models", "edgeai_operators", "edgeai_tiers", "keyword", "markexpr", "deselect", "lf")
    return not any(config.getoption(name, None) for name in options) and not any("::" in one for one in config.args)


def refuse_single_versions(cells: Iterable[PlannedTrial], twins: Iterable[PlannedTrial]) -> None:
    """Refuse a selection of tests (`-k`, `-m`, node ids) that leaves a trial without that of the other version.

    Raises
    ------
    SettingsError
        Names one.
    """
    from pytest_edgeai.errors import SettingsError

    alone = set(cells).symmetric_difference(twin.own for twin in twins)
    if alone:
        raise SettingsError(
            f"--edgeai-against: {min(alone).id} is selected in one of the two versions only; select by strategy, "
            "for example -k resnet-sptq-edge"
        )


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


def cell_of(item: pytest.Item) -> PlannedTrial | None:
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


def _restricted(marker: pytest.Mark | None, session: MeasuringSession) -> tuple[Selection, int]:
    """The selection and replicates of the session, as far as a marker lets them."""
    from pytest_edgeai.errors import SettingsError, unknown
    from pytest_edgeai.matrix.names import parse_placements, select
    from pytest_edgeai.partition.cut_numbers import family_of
    from pytest_edgeai.selection import Selection

    chosen, replicates = session.selection, session.settings.measurement.replicates
    if marker is None:
        return chosen, replicates
    if marker.args:
        raise SettingsError("the marker edgeai takes no positional arguments")
    for key in marker.kwargs:
        if key not in _MARKER_KEYS:
            raise SettingsError(f"the marker edgeai: {unknown('argument', key, _MARKER_KEYS)}")
    given = marker.kwargs
    for key in ("models", "operators", "tiers"):
        value = given.get(key)
        if value is not None and not (isinstance(value, Sequence) and not isinstance(value, str)):
            raise SettingsError(f"the marker edgeai: {key} has to be a list of names (got {value!r})")
    if "replicates" in given and not (isinstance(given["replicates"], int) and given["replicates"] >= 1):
        raise SettingsError(f"the marker edgeai: replicates has to be 1 or more (got {given['replicates']!r})")
    registered, placements = session.registered, chosen.placements
    models = select("model", "the marker edgeai", given.get("models"), tuple(registered.subjects))
    operators = select("operator", "the marker edgeai", given.get("operators"), tuple(registered.operators))
    if given.get("tiers") is not None:
        placements = parse_placements("the marker edgeai", given["tiers"], session.settings.topology)
    return Selection(
        tuple(name for name in chosen.models if name in models),
        tuple(name for name in chosen.operators if name in operators or family_of(name) in operators),
        tuple(placement for placement in chosen.placements if placement in placements),
    ), int(given.get("replicates", replicates))


def _progress(config: pytest.Config, session: MeasuringSession) -> Callable[[Progress], None]:
    """Where to tell about work that collection has to wait for; workers of pytest-xdist have no terminal."""
    from pytest_edgeai.reporting.progress import ProgressLines

    told = not hasattr(config, "workerinput") and not config.option.edgeai_hand_over
    verbosity = config.option.verbose if told else -1
    return ProgressLines(config.get_terminal_writer(), verbosity, session, {}).cuts


def _against(config: pytest.Config, root: Path) -> Commit | None:
    """The commit that is to be measured beside the working copy; preparing artifacts is not measuring."""
    wanted = config.getoption("edgeai_against")
    if wanted is None or config.getoption("edgeai_prepare"):
        return None
    from pytest_edgeai.errors import SettingsError
    from pytest_edgeai.versions.checkouts import find_commit

    if config.getoption("edgeai_compare") is not None:
        raise SettingsError("--edgeai-against and --edgeai-compare: a session is compared with one version")
    try:
        return find_commit(wanted, root)
    except SettingsError as error:
        raise SettingsError(f"--edgeai-against: {error}") from None


def _folders(config: pytest.Config) -> list[Path]:
    """Where settings are looked for: the root folder, that of the call, and those of the tests.

    The root folder alone would not do: pytest takes any existing path among the options for a place of tests, also the
    one in `--edgeai-store ../store`, and chooses the root folder by it.
    """
    places = [config.invocation_params.dir / argument.partition("::")[0] for argument in config.args]
    tests = [place if place.is_dir() else place.parent for place in places if place.exists()]
    return [config.rootpath, config.invocation_params.dir, *tests]


def _overrides(config: pytest.Config) -> dict[str, Any]:
    """Settings that the command line gives."""
    overrides: dict[str, Any] = {}
    for name in ("models", "operators", "tiers"):
        text = config.getoption(f"edgeai_{name}")
        if text is not None:
            overrides[name] = tuple(word.strip() for word in text.split(",") if word.strip())
    for name in ("profile", "backend", "report", "store", "replicates", "scale"):
        value = config.getoption(f"edgeai_{name}")
        if value is not None:
            overrides[name] = value
    if config.getoption("edgeai_weights") is not None:
        overrides["weights"] = {"default": config.getoption("edgeai_weights")}
    return overrides
