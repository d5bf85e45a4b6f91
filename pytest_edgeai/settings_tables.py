"""The tables of the settings: profiles, budgets, the gate, tolerances and data sets, each a frozen model.

`settings` has them as its fields, and reads and checks them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pytest_edgeai.partition.cut_numbers import family_of
from pytest_edgeai.settings_budgets import RelativeBudget, ResourceBudget, Seconds
from pytest_edgeai.tiers.specs import Spec

T = TypeVar("T")


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
        `binary`, `json`, or `base64` for JSON bodies as the study's servers had them. Where a profile says nothing,
        remote servers that do not announce the binary extension get JSON.
    probe_s
        How long the larger message of the link probe should take.
    """

    replicates: int = Field(ge=1, le=1000)
    retries: int = Field(default=2, ge=0, le=100)
    warmup: int = Field(ge=0, le=100_000)
    inputs: int = Field(ge=1, le=100_000)
    passes: int = Field(ge=1, le=10_000)
    session: Literal["per_deployment", "per_request"] = "per_deployment"
    wire: Literal["binary", "json", "base64"] = "binary"
    probe_s: float = Field(default=0.02, gt=0, le=60)

    @property
    def requests(self) -> int:
        """Measured requests a trial."""
        return self.inputs * self.passes

    @property
    def chosen_wire(self) -> Literal["binary", "json", "base64"] | None:
        """What the profile says of `wire`; None where it says nothing."""
        return self.wire if "wire" in self.model_fields_set else None


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


class ByOperator(Spec, Generic[T]):
    """One value for each operator on each model.

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

    default: T
    operators: Mapping[str, T] = {}
    models: Mapping[str, Mapping[str, T]] = {}

    def of(self, model: str, operator: str) -> T:
        """What holds for an operator on a model."""
        own = self.own(model, operator)
        return self.default if own is None else own

    def own(self, model: str, operator: str) -> T | None:
        """The entry for model and operator, else for the operator; None where only the default holds."""
        by_model, family = self.models.get(model, {}), family_of(operator)
        tables = ((by_model, operator), (by_model, family), (self.operators, operator), (self.operators, family))
        return next((entries[name] for entries, name in tables if name in entries), None)


Points: TypeAlias = Annotated[float, Field(ge=0, le=100)]
Finite: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]


class AccuracyBudgets(ByOperator[Points]):
    """How far accuracy may drop, in percentage points below the baseline operator."""

    default: Points = 2.0


class AccuracyFloors(ByOperator[Finite | None]):
    """What accuracy has to reach whatever the baseline operator reaches; none where nothing is said.

    In the unit of the model's first metric; of one that is better when lower, what it must not exceed.
    """

    default: Finite | None = None


class Allowance(NamedTuple):
    """How much worse than the baseline a metric may be: in its own unit, or as a share of the baseline's value."""

    amount: float
    is_share: bool = False

    def of(self, baseline_value: float) -> float:
        """The largest drop allowed, in the metric's unit."""
        return self.amount * abs(baseline_value) if self.is_share else self.amount


def _read_drop(given: Any) -> Any:
    """A drop as a number in the metric's unit, or `"1 %"` of the baseline's value."""
    if isinstance(given, str):
        number, sign, rest = given.partition("%")
        if not sign or rest.strip():
            raise ValueError('a drop is a number in the unit of the metric, or a share of the baseline such as "1 %"')
        return Allowance(float(number) / 100, is_share=True)
    if isinstance(given, int | float) and not isinstance(given, bool):
        return Allowance(float(given))
    return given


def _check_drop(drop: Allowance) -> Allowance:
    if not 0 <= drop.amount < math.inf:
        raise ValueError("a drop is not negative")
    return drop


Drop: TypeAlias = Annotated[Allowance, BeforeValidator(_read_drop), AfterValidator(_check_drop)]


class MetricDrops(ByOperator[Drop]):
    """How much worse than the baseline operator a metric may be, for metrics that are not percentages.

    A number is in the metric's own unit, `"1 %"` a share of the baseline's value. An entry for an operator or model
    holds for percentages as well.
    """

    default: Drop = Allowance(0.02, is_share=True)


class LatencyBudget(Spec):
    """How long a request may take on the strategies that a pattern names.

    Parameters
    ----------
    strategies
        A pattern of strategy ids, for example `bert-*-edge`.
    max_median_s
        Limit of the median latency, in seconds or written `"40 ms"`; at least one limit is given.
    max_p95_s, max_p99_s
        Limits of the 95th and of the 99th percentile, written likewise.
    """

    strategies: str
    max_median_s: Seconds | None = Field(default=None, gt=0)
    max_p95_s: Seconds | None = Field(default=None, gt=0)
    max_p99_s: Seconds | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _limits_something(self) -> LatencyBudget:
        if self.max_median_s is None and not self.tails_s:
            raise ValueError("it has no limit: give max_median_s, max_p95_s or max_p99_s")
        return self

    @property
    def tails_s(self) -> dict[int, float]:
        """The limits of percentiles."""
        return {rank: limit for rank, limit in ((95, self.max_p95_s), (99, self.max_p99_s)) if limit is not None}


class Budgets(Spec):
    """What must hold for a green verdict.

    Parameters
    ----------
    accuracy_drop_pp, metric_drop, accuracy_floor
        Of accuracy, by operator and model.
    latency, resources, relative
        Of the strategies that each names.
    max_tail_requests
        Up to how many requests of a strategy are measured while budgets of percentiles are undecided; as many as the
        profile has, or fewer, for no more than those.
    """

    accuracy_drop_pp: AccuracyBudgets = AccuracyBudgets()
    metric_drop: MetricDrops = MetricDrops()
    accuracy_floor: AccuracyFloors = AccuracyFloors()
    latency: tuple[LatencyBudget, ...] = ()
    resources: tuple[ResourceBudget, ...] = ()
    relative: tuple[RelativeBudget, ...] = ()
    max_tail_requests: int = Field(default=2000, ge=0, le=1_000_000)

    @property
    def by_operator(self) -> Mapping[str, ByOperator[Any]]:
        """The tables whose entries are by model and operator, by the names of the settings."""
        return {
            "budgets.accuracy_drop_pp": self.accuracy_drop_pp,
            "budgets.metric_drop": self.metric_drop,
            "budgets.accuracy_floor": self.accuracy_floor,
        }

    @property
    def by_pattern(self) -> Mapping[str, tuple[LatencyBudget | ResourceBudget | RelativeBudget, ...]]:
        """The budgets that name strategies by patterns, by the names of the settings."""
        return {
            "budgets.latency": self.latency,
            "budgets.resources": self.resources,
            "budgets.relative": self.relative,
        }

    def tail_ranks(self, strategy: str) -> tuple[int, ...]:
        """The percentiles of latency that are limited for a strategy, given its id."""
        found = [rank for one in self.latency if fnmatchcase(strategy, one.strategies) for rank in one.tails_s]
        return tuple(dict.fromkeys(found))

    def allowance(self, model: str, operator: str, is_percent: bool) -> Allowance:  # one of two kinds
        """How much worse than the baseline's the first metric of an artifact may be."""
        own = self.metric_drop.own(model, operator)
        if own is not None:
            return own
        return Allowance(self.accuracy_drop_pp.of(model, operator)) if is_percent else self.metric_drop.default


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
    metric_drop
        Largest drop of a metric that is no percentage, as a share of its value before.
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
    metric_drop: float = Field(default=0.005, ge=0)
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
    link_floor_s
        By how many seconds they may have changed it whatever share that is. A probe takes a message that is right to
        50 µs for right, and a request and its answer are two messages, so that less cannot be told from no error.
    score
        Difference between a score through the tiers and the same score computed locally.
    output
        Difference between an output of the graph through the tiers and locally, as a share of its largest value (or of
        1 where that is less), for models without post-processing.
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
    link_floor_s: float = Field(default=1e-4, ge=0, le=1)
    score: float = Field(default=1e-3, gt=0)
    output: float = Field(default=1e-3, gt=0)
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


class DeclaredSubject(Spec):
    """A subject model that is an ONNX file, declared without Python.

    Relative paths start at the folder of the settings file.

    Parameters
    ----------
    graph
        The ONNX file; its weights may lie beside it.
    examples
        `.npz`: arrays [n, ...] by the name of the graph's input, and `reference` [n, ...]. `.csv`: the columns `file`
        (an image, from the file's own folder) and `reference`. `.jsonl`: an object for each example, with `text` (a
        sentence, or a list of two) and `reference`, or with `inputs` (nested lists by the name of the graph's input).
    calibration
        A file of the same kind for calibration; else every fourth example is taken for it, and not for validation.
    preprocess, postprocess
        Steps of the pipeline, as `pipeline.json` has them; none by default.
    assets
        Files that the pipeline names.
    metrics
        By name; budgets are about the first.
    task
        What the model does, in a few words; appears in reports.
    """

    graph: Path
    examples: Path
    calibration: Path | None = None
    preprocess: Mapping[str, Any] | None = None
    postprocess: Mapping[str, Any] | None = None
    assets: tuple[Path, ...] = ()
    metrics: tuple[str, ...] = Field(min_length=1)
    task: str = ""
