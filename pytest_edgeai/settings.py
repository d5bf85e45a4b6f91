"""The validated settings: from `edgeai.toml` or `[tool.edgeai]` in pyproject.toml, read once and frozen.

Command line options are applied on top by the plugin. Names of models and operators are checked where the registered
ones are known (`pytest_edgeai.matrix.strategies`).
"""

from __future__ import annotations

import itertools
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from pytest_edgeai.errors import SettingsError, unknown
from pytest_edgeai.partition.cut_numbers import family_of
from pytest_edgeai.settings_files import find_settings
from pytest_edgeai.tiers.specs import ImageSpec, Spec, Topology, paper_topology

_PATHS = ("store", "report")


class Profile(Spec):
    """How much is measured.

    Parameters
    ----------
    replicates
        Trials of each strategy, each in a fresh deployment.
    retries
        How often trials that the host has spoiled may be measured again in a session, as a multiple of the trials of
        their strategy.
    warmup
        Requests before the measured ones.
    inputs
        Distinct samples that are sent: the largest of the validation set.
    passes
        How often each is sent.
    session
        `per_deployment` creates the ONNX Runtime session once; `per_request` for every request, as the study's
        servers did.
    wire
        `binary`, or `base64` for JSON bodies as the study's servers had them.
    probe_s
        How long the larger message of the link probe should take.
    """

    replicates: int = Field(ge=1, le=1000)
    retries: int = Field(default=2, ge=0, le=100)
    warmup: int = Field(ge=0, le=100_000)
    inputs: int = Field(ge=1, le=100_000)
    passes: int = Field(ge=1, le=10_000)
    session: Literal["per_deployment", "per_request"] = "per_deployment"
    wire: Literal["binary", "base64"] = "binary"
    probe_s: float = Field(default=0.02, gt=0, le=60)

    @property
    def requests(self) -> int:
        """Measured requests a trial."""
        return self.inputs * self.passes


PROFILES: Mapping[str, Mapping[str, Any]] = {
    "quick": {"replicates": 5, "warmup": 2, "inputs": 10, "passes": 1},
    "paper": {
        "replicates": 1,
        "warmup": 100,
        "inputs": 100,
        "passes": 5,
        "session": "per_request",
        "wire": "base64",
        "probe_s": 0.2,
    },
}


class AccuracyBudgets(Spec):
    """How far accuracy may drop, in percentage points below the baseline operator.

    The most specific entry holds: that of model and operator, then that of the operator, then the default. An entry
    for `partition` holds for `partition.3` as well.

    Parameters
    ----------
    default
        For every operator.
    operators
        By operator.
    models
        By model, then operator.
    """

    default: float = Field(default=2.0, ge=0, le=100)
    operators: Mapping[str, float] = {}
    models: Mapping[str, Mapping[str, float]] = {}

    def budget_pp(self, model: str, operator: str) -> float:
        """The budget of an operator on a model, in percentage points."""
        specific = _most_specific(self.models, self.operators, model, operator)
        return self.default if specific is None else specific


class AccuracyFloors(Spec):
    """What accuracy has to reach, in percent, whatever the baseline operator reaches; none where nothing is said.

    The most specific entry holds, as in `AccuracyBudgets`.

    Parameters
    ----------
    default
        For every operator, or None.
    operators
        By operator.
    models
        By model, then operator.
    """

    default: float | None = Field(default=None, ge=0, le=100)
    operators: Mapping[str, Annotated[float, Field(ge=0, le=100)]] = {}
    models: Mapping[str, Mapping[str, Annotated[float, Field(ge=0, le=100)]]] = {}

    def floor_percent(self, model: str, operator: str) -> float | None:
        """The floor of an operator on a model, in percent, or None."""
        specific = _most_specific(self.models, self.operators, model, operator)
        return self.default if specific is None else specific


def _most_specific(
    models: Mapping[str, Mapping[str, float]], operators: Mapping[str, float], model: str, operator: str
) -> float | None:
    """The entry of model and operator, else of the operator; one for `partition` holds for `partition.3` as well."""
    by_model, family = models.get(model, {}), family_of(operator)
    for entries, name in ((by_model, operator), (by_model, family), (operators, operator), (operators, family)):
        if name in entries:
            return entries[name]
    return None


class LatencyBudget(Spec):
    """How long a request may take on the strategies that a pattern names.

    Parameters
    ----------
    strategies
        A pattern of strategy ids, for example `bert-*-edge`.
    max_median_s
        Limit of the median latency.
    """

    strategies: str
    max_median_s: float = Field(gt=0)


class Budgets(Spec):
    """What must hold for a green verdict."""

    accuracy_drop_pp: AccuracyBudgets = AccuracyBudgets()
    accuracy_floor: AccuracyFloors = AccuracyFloors()
    latency: tuple[LatencyBudget, ...] = ()


class Gate(Spec):
    """What counts as worse than an earlier session.

    Parameters
    ----------
    min_change
        Relative change of latency below which nothing is a regression.
    must_see
        Relative change that the trials have to be able to show, else the verdict is inconclusive.
    trial_spread, session_spread
        How much latency differs between trials, at the least, and between two sessions of one version: standard
        deviations of its logarithm.
    accuracy_drop_pp
        Largest drop of accuracy, in percentage points.
    size_growth, memory_growth
        Largest relative growth of an artifact, and of the peak memory of its server.
    inconclusive
        What becomes of a strategy that is slower by more than `min_change` where the trials cannot decide it: `fail`
        or `pass`.
    replicates
        Trials a side of strategies that `--edgeai-against` measures in both versions, if no number is asked for.
    max_replicates
        Up to how many trials a side it goes for strategies that are not decided by then; as many as `replicates` or
        fewer for no more.
    measure_same
        Whether it measures strategies twice whose artifact is the same in both versions.
    """

    min_change: float = Field(default=0.03, gt=0, lt=10)
    must_see: float = Field(default=0.10, gt=0, lt=10)
    trial_spread: float = Field(default=0.01, gt=0, lt=10)
    session_spread: float = Field(default=0.025, ge=0, lt=10)
    accuracy_drop_pp: float = Field(default=0.5, ge=0, le=100)
    size_growth: float = Field(default=0.02, ge=0)
    memory_growth: float = Field(default=0.10, ge=0)
    inconclusive: Literal["fail", "pass"] = "fail"
    replicates: int = Field(default=10, ge=1, le=1000)
    max_replicates: int = Field(default=30, ge=1, le=1000)
    measure_same: bool = False


class Tolerances(Spec):
    """How far a proof may be off before a trial is invalid.

    Parameters
    ----------
    link_share
        By how much links may have changed a trial's latency, as a share of it.
    score
        Difference between a score through the tiers and the same score computed locally.
    cpu_wait
        Share of a request's latency that its computation may have waited for a core; a request that waited longer is
        marked.
    waiting_requests
        Share of a trial's requests that may be marked.
    foreign_cores
        How many of the cores that the tiers and the client need other processes may have taken during the requests.
    slow_host
        How much slower than in the fastest quarter of the session's trials the host may have computed the reference.
    """

    link_share: float = Field(default=0.02, gt=0, lt=1)
    score: float = Field(default=1e-3, gt=0)
    cpu_wait: float = Field(default=0.10, gt=0)
    waiting_requests: float = Field(default=0.2, ge=0, le=1)
    foreign_cores: float = Field(default=0.5, gt=0)
    slow_host: float = Field(default=0.5, gt=0)


class Data(Spec):
    """Where data sets are that subject models of full size are judged on.

    Relative paths start at the folder of the settings file. Each may also be `generated`: samples of realistic size
    without meaning, for runs that measure latency only.

    Parameters
    ----------
    ilsvrc
        Folder of the ILSVRC 2012 validation images.
    ilsvrc_train
        Folder of training images, for operators that train.
    images
        How many validation images, drawn by a fixed seed, accuracy is evaluated on; None is all.
    mrpc
        Folder of GLUE's MRPC.
    """

    ilsvrc: Path | None = None
    ilsvrc_train: Path | None = None
    images: int | None = Field(default=None, ge=100)
    mrpc: Path | None = None


class Settings(Spec):
    """All settings of a session.

    Parameters
    ----------
    models, operators, tiers
        What the matrix is made of; None is every registered model, the operators `identity` and `sptq`, and the
        topology's tiers with the chains that the operators make parts for. Tiers may be chains (`mobile+edge`).
    baseline
        The operator that accuracy drops are measured against.
    profile
        Name of an entry of `profiles`.
    replicates
        Trials of each strategy, or None for as many as the profile says.
    profiles
        `quick`, `paper` and those of the user; a user's entry may also change some values of a known one.
    topology
        Tiers and links.
    backend
        What runs the tiers.
    image
        What the tier image of the `docker` backend is made from.
    store
        Folder of the artifact store, or None for the user's cache folder.
    build_idle_s
        How long the process that builds artifacts may give no sign of progress: no message, no use of the processor.
    report
        Folder in which each session's folder of reports is made.
    alpha
        Significance level of the statistics.
    p_adjust
        How the p-values of a table's pairs are adjusted.
    budgets, gate, tolerances
        What is asserted.
    operator_parameters
        Values for operators' parameters, by operator.
    scale
        Which set of subject models the project registers: `small`, or `paper` for the study's own at full size.
    weights
        Where the weights of full-size subject models come from, by model, or `default` for all others: `hub` (also
        where nothing is said), a path, or `random`.
    data
        Where data sets are.
    """

    models: tuple[str, ...] | None = None
    operators: tuple[str, ...] = ("identity", "sptq")
    tiers: tuple[str, ...] | None = None
    baseline: str = "identity"
    profile: str = "quick"
    replicates: int | None = Field(default=None, ge=1, le=1000)
    profiles: Mapping[str, Profile] = Field(default=PROFILES, validate_default=True)
    topology: Topology = Field(default_factory=lambda: Topology.model_validate(paper_topology()))
    backend: str = "auto"
    store: Path | None = None
    build_idle_s: float = Field(default=600.0, gt=0)
    report: Path = Path("reports")
    alpha: float = Field(default=0.05, gt=0, lt=1)
    p_adjust: str = "holm"
    image: ImageSpec = ImageSpec()
    budgets: Budgets = Budgets()
    gate: Gate = Gate()
    tolerances: Tolerances = Tolerances()
    operator_parameters: Mapping[str, Mapping[str, Any]] = {}
    scale: Literal["small", "paper"] = "small"
    weights: Mapping[str, str] = {}
    data: Data = Data()

    @model_validator(mode="before")
    @classmethod
    def _merge_defaults(cls, given: Any) -> Any:
        """Let a table change single values of a known profile or of the study's topology.

        A topology with tiers of other names stands for itself.
        """
        if not isinstance(given, dict):
            return given
        merged = dict(given)
        if isinstance(given.get("profiles"), dict):
            merged["profiles"] = _merge(PROFILES, given["profiles"])
        topology, known = given.get("topology"), paper_topology()
        if isinstance(topology, dict) and set(topology.get("tiers", ())) <= set(known["tiers"]):
            merged["topology"] = _merge(known, topology)
        return merged

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.profile not in self.profiles:
            raise ValueError(f"profile: {unknown('profile', self.profile, self.profiles)}")
        return self

    @property
    def measurement(self) -> Profile:
        """The profile that is in force."""
        profile = self.profiles[self.profile]
        return profile if self.replicates is None else profile.model_copy(update={"replicates": self.replicates})

    @property
    def operator_names(self) -> tuple[str, ...]:
        """The operators, and chains of them, that any setting names."""
        drops, floors = self.budgets.accuracy_drop_pp, self.budgets.accuracy_floor
        budgeted = itertools.chain(drops.operators, *drops.models.values(), floors.operators, *floors.models.values())
        return tuple(dict.fromkeys((*self.operators, self.baseline, *budgeted)))


def load_settings(root: Path, overrides: Mapping[str, Any]) -> Settings:
    """Find, read and validate a project's settings.

    Parameters
    ----------
    root
        The project's folder.
    overrides
        As for `validated`.

    Raises
    ------
    SettingsError
        A setting is unknown or wrong; the message has one line for each.
    """
    return validated(*find_settings(root), overrides)


def validated(
    path: Path | None,
    content: Mapping[str, Any],
    overrides: Mapping[str, Any],
    topology: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings that a file and the command line give.

    Parameters
    ----------
    path, content
        The settings file and what it holds (`find_settings`).
    overrides
        Top-level settings from the command line; they win. Relative paths among them start at the current folder.
    topology
        The topology where the settings file has none.

    Raises
    ------
    SettingsError
        A setting is unknown or wrong; the message has one line for each.
    """
    defaults = {} if topology is None else {"topology": topology}
    given = {key: Path(value).absolute() if key in _PATHS else value for key, value in overrides.items()}
    try:
        return Settings.model_validate({**defaults, **content, **given})
    except ValidationError as error:
        where = str(path) if path is not None else "settings"
        raise SettingsError("\n".join(_describe(where, detail, Settings) for detail in error.errors())) from None


def _describe(where: str, detail: Any, root: type[Spec]) -> str:
    location = ".".join(str(part) for part in detail["loc"])
    if detail["type"] != "extra_forbidden":
        message = detail["msg"].removeprefix("Value error, ")
        given = "" if detail["type"] in ("missing", "value_error") else f" (got {detail['input']!r})"
        return f"{where}: {location + ': ' if location else ''}{message}{given}"
    known = _known_keys(root, detail["loc"][:-1])
    return f"{where}: {location}: {unknown('setting', str(detail['loc'][-1]), known)}"


def _known_keys(root: type[Spec], path: Sequence[int | str]) -> list[str]:
    """The keys that a table of the settings may have."""
    table: type[Spec] | None = root
    annotation: Any = root
    for part in path:
        if table is not None:
            annotation = _fields(table).get(str(part))
            table = annotation if _is_spec(annotation) else None
        else:  # the key of a mapping or the number of an entry: its annotation names the type
            table = next((inner for inner in typing.get_args(annotation) if _is_spec(inner)), None)
    return list(_fields(table)) if table is not None else []


def _fields(table: type[Spec]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in table.model_fields.items()}


def _is_spec(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Spec)


def _merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        known = merged.get(key)
        merged[key] = _merge(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return merged
