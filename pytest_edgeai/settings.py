"""The validated settings: from `edgeai.toml` or `[tool.edgeai]` in pyproject.toml, read once and frozen.

Command line options are applied on top by the plugin. Names of models and operators are checked where the registered
ones are known (`pytest_edgeai.matrix.strategies`).
"""

from __future__ import annotations

import itertools
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PrivateAttr, ValidationError, ValidationInfo, field_validator, model_validator

from pytest_edgeai.decisions.asked import Decide
from pytest_edgeai.errors import SettingsError, unknown, wrong_value
from pytest_edgeai.settings_files import Origins, find_settings
from pytest_edgeai.settings_tables import PROFILES, Budgets, Data, DeclaredSubject, Gate, Profile, Tolerances
from pytest_edgeai.tiers.specs import ImageSpec, Spec, Topology, paper_topology

if TYPE_CHECKING:
    from pytest_edgeai.stats.looks import Looks

_PATHS = ("store", "report")


class Settings(Spec):
    """All settings of a session.

    Parameters
    ----------
    models, operators, tiers
        What the matrix is made of; None is every registered model, the operators `identity` and `sptq`, and the
        topology's tiers with the chains that the operators make parts for. Tiers may be chains (`mobile+edge`).
    baseline
        The operator that accuracy drops are measured against.
    profiles
        `quick`, `paper` and those of the user; a user's entry may also change some values of a known one.
    profile
        Name of an entry of `profiles`.
    replicates
        Trials of each strategy, or None for as many as the profile says.
    topology
        Tiers and links.
    backend
        What runs the tiers.
    store
        Folder of the artifact store, or None for the user's cache folder.
    build_idle_s
        How long the process that builds artifacts may give no sign of progress: no message, no use of the processor.
    training_seed
        Of everything random in a build: the order of training examples, new weights of a student.
    report
        Folder in which each session's folder of reports is made.
    alpha
        Significance level of the statistics.
    p_adjust
        How the p-values of a table's pairs are adjusted.
    image
        What the tier image of the `docker` backend is made from.
    budgets, gate, tolerances
        What is asserted.
    decide
        Which strategy is to be chosen at the end, or None for no choice.
    operator_parameters
        Values for operators' parameters, by operator.
    scale
        Which set of subject models the project registers: `small`, or `paper` for the study's own at full size.
    weights
        Where the weights of full-size subject models come from, by model, or `default` for all others: `hub` (also
        where nothing is said), a path, or `random`.
    data
        Where data sets are.
    subjects
        Subject models that are ONNX files, by name, beside those of the hook.
    """

    models: tuple[str, ...] | None = None
    operators: tuple[str, ...] = ("identity", "sptq")
    tiers: tuple[str, ...] | None = None
    baseline: str = "identity"
    profiles: Mapping[str, Profile] = Field(default=PROFILES, validate_default=True)
    profile: str = "quick"
    replicates: int | None = Field(default=None, ge=1, le=1000)
    topology: Topology = Field(default_factory=lambda: Topology.model_validate(paper_topology()))
    backend: str = "auto"
    store: Path | None = None
    build_idle_s: float = Field(default=600.0, gt=0)
    training_seed: int = Field(default=0, ge=0, lt=2**32)
    report: Path = Path("reports")
    alpha: float = Field(default=0.05, gt=0, lt=1)
    p_adjust: str = "holm"
    image: ImageSpec = ImageSpec()
    budgets: Budgets = Budgets()
    gate: Gate = Gate()
    tolerances: Tolerances = Tolerances()
    decide: Decide | None = None
    operator_parameters: Mapping[str, Mapping[str, Any]] = {}
    scale: Literal["small", "paper"] = "small"
    weights: Mapping[str, str] = {}
    data: Data = Data()
    subjects: Mapping[str, DeclaredSubject] = {}
    _origins: Origins = PrivateAttr(default=Origins())

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

    def model_post_init(self, context: Any) -> None:
        """Remember where the settings come from.

        Parameters
        ----------
        context
            Of the validation.
        """
        if isinstance(context, Origins):
            self._origins = context

    @field_validator("profile")
    @classmethod
    def _check_profile(cls, name: str, info: ValidationInfo) -> str:
        profiles = info.data.get("profiles", (name,))  # missing where one of them is wrong, which is said already
        if name not in profiles:
            raise ValueError(unknown("profile", name, profiles))
        return name

    @field_validator("p_adjust")
    @classmethod
    def _check_adjustment(cls, name: str) -> str:
        from pytest_edgeai.stats import adjust

        try:
            return adjust.check_method(name)
        except ValueError:
            raise ValueError(unknown("adjustment", name, adjust.P_ADJUST_METHODS)) from None

    @field_validator("decide")
    @classmethod
    def _check_decide(cls, decide: Decide | None, info: ValidationInfo) -> Decide | None:
        topology = info.data.get("topology")  # missing where it is wrong, which is said already
        if decide is not None and topology is not None:
            for tier in decide.tiers:
                if tier not in topology.tiers:
                    raise ValueError(unknown("tier", tier, topology.tiers))
        return decide

    @property
    def origins(self) -> Origins:
        """Where the settings come from."""
        return self._origins

    @property
    def measurement(self) -> Profile:
        """The profile that is in force."""
        profile = self.profiles[self.profile]
        return profile if self.replicates is None else profile.model_copy(update={"replicates": self.replicates})

    def tail_looks(self, strategy: str, planned: int) -> Looks | None:
        """The looks at the tail budgets of a strategy, or None where none of its percentiles is limited.

        Parameters
        ----------
        strategy
            Its id.
        planned
            Its trials that are made in any case.
        """
        from pytest_edgeai.stats.looks import plan_looks

        ranks = self.budgets.tail_ranks(strategy)
        if not ranks:
            return None
        return plan_looks(planned, self.measurement.requests, ranks, self.budgets.max_tail_requests)

    def most_further_trials(self, planned: Mapping[str, int]) -> int:
        """How many trials tail budgets may ask for beyond the planned ones.

        Parameters
        ----------
        planned
            Trials by the id of a strategy.
        """
        looks = {strategy: self.tail_looks(strategy, count) for strategy, count in planned.items()}
        return sum(one.trials[-1] - planned[name] for name, one in looks.items() if one is not None)

    @property
    def operator_names(self) -> Mapping[str, str]:
        """The operators, and chains of them, that any setting names, each with the setting."""
        named = dict.fromkeys(self.operators, "operators")
        named.setdefault(self.baseline, "baseline")
        for setting, table in self.budgets.by_operator.items():
            for name in itertools.chain(table.operators, *table.models.values()):
                named.setdefault(name, setting)
        for budget in self.budgets.relative:
            named.setdefault(budget.max_ratio_to, "budgets.relative")
        return named


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
    origins = Origins(path, frozenset(content), frozenset(overrides))
    given = {key: Path(value).absolute() if key in _PATHS else value for key, value in overrides.items()}
    try:
        settings = Settings.model_validate({**defaults, **content, **given}, context=origins)
    except ValidationError as error:
        raise SettingsError("\n".join(_describe(origins, detail, Settings) for detail in error.errors())) from None
    unused = _unused(settings)
    if unused:
        raise SettingsError("\n".join(unused))
    return settings


def _unused(settings: Settings) -> list[str]:
    """A sentence for each setting of full-size models, where the session has others."""
    if settings.scale != "small":
        return []
    given = [f"data.{name}" for name in settings.data.model_fields_set]
    given += [f"weights.{name}" for name in settings.weights]
    return [
        f"{settings.origins.of(name)}: no subject model of the scale 'small' uses it, those at full size do: set "
        'scale = "paper" (--edgeai-scale paper), or leave it out'
        for name in sorted(given)
    ]


def _describe(origins: Origins, detail: Any, root: type[Spec]) -> str:
    where = origins.of(".".join(str(part) for part in detail["loc"]))
    if detail["type"] != "extra_forbidden":
        return f"{where}: {wrong_value(detail)}"
    known = _known_keys(root, detail["loc"][:-1])
    return f"{where}: {unknown('setting', str(detail['loc'][-1]), known)}"


def _known_keys(root: type[Spec], path: Sequence[int | str]) -> list[str]:
    """The keys that a table of the settings may have."""
    table: type[Spec] | None = root
    annotation: Any = root
    for part in path:
        if table is not None:
            annotation = _fields(table).get(str(part))
            optional = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else ()
            table = next((one for one in (annotation, *optional) if _is_spec(one)), None)
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
