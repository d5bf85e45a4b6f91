"""The fixtures that a test can ask for: the axes of the matrix and what is built on them.

Each axis is parametrized by the plugin. A test that asks for `artifact` runs once for each model and operator; one
that asks for `strategy`, `deployment` or `trial` once for each cell of the matrix and replicate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_edgeai.collection.state import BENCHMARK, state_of

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from pytest_edgeai.matrix.strategies import Strategy
    from pytest_edgeai.measure.records import TrialRecord
    from pytest_edgeai.operators import Operator
    from pytest_edgeai.session import MeasuringSession
    from pytest_edgeai.store import Artifact
    from pytest_edgeai.subjects import SubjectModel
    from pytest_edgeai.tiers.backend import Deployment
    from pytest_edgeai.tiers.placements import Placement


@pytest.fixture
def edgeai_model(request: pytest.FixtureRequest) -> str:
    """Name of the subject model; parametrized by the plugin."""
    return str(request.param)


@pytest.fixture
def edgeai_operator(request: pytest.FixtureRequest) -> str:
    """Name of the operator; parametrized by the plugin."""
    return str(request.param)


@pytest.fixture
def edgeai_tier(request: pytest.FixtureRequest) -> str:
    """The placement as ids write it; parametrized by the plugin."""
    return str(request.param)


@pytest.fixture
def edgeai_replicate(request: pytest.FixtureRequest) -> int:
    """Number of the replicate; parametrized by the plugin."""
    return int(request.param)


@pytest.fixture
def edgeai_version(request: pytest.FixtureRequest) -> str:
    """Empty, or the git revision whose artifact is measured (`--edgeai-against`); parametrized by the plugin."""
    return str(getattr(request, "param", ""))


@pytest.fixture
def edgeai_session(pytestconfig: pytest.Config) -> MeasuringSession:
    """Settings, host and what was prepared and measured so far."""
    session = state_of(pytestconfig).session
    assert session is not None
    return session


@pytest.fixture
def subject(edgeai_session: MeasuringSession, edgeai_model: str) -> SubjectModel:
    """A subject model: the network with its samples, pipeline and metrics."""
    return edgeai_session.registered.subjects[edgeai_model]


@pytest.fixture
def operator(edgeai_session: MeasuringSession, edgeai_operator: str) -> Operator[Any]:
    """An operator with its parameters."""
    return edgeai_session.registered.operators[edgeai_operator]


@pytest.fixture
def tier(edgeai_tier: str) -> Placement:
    """A placement: the tier, or the chain of tiers, that runs an artifact."""
    from pytest_edgeai.tiers.placements import Placement

    return Placement.parse(edgeai_tier)


@pytest.fixture
def replicate(edgeai_replicate: int) -> int:
    """The number of the replicate, from 0."""
    return edgeai_replicate


@pytest.fixture
def strategy(subject: SubjectModel, operator: Operator[Any], tier: Placement) -> Strategy:
    """One cell of the matrix: model, operator and placement."""
    from pytest_edgeai.matrix.strategies import Strategy

    return Strategy(subject.name, operator.name, tier)


@pytest.fixture
def artifact(
    edgeai_session: MeasuringSession, subject: SubjectModel, operator: Operator[Any], edgeai_version: str
) -> Artifact:
    """What the operator made of the subject model: a folder with `model.onnx`, and where it comes from."""
    from pytest_edgeai.operators import BuildError

    try:
        return edgeai_session.artifact((subject.name, operator.name), edgeai_version).artifact
    except BuildError as error:
        reason = str(error)
    pytest.fail(reason, pytrace=False)


@pytest.fixture
def deployment(
    edgeai_session: MeasuringSession,
    strategy: Strategy,
    edgeai_version: str,
    artifact: Artifact,  # noqa: ARG001  # fails first where there is no artifact
) -> Iterator[Deployment]:
    """The artifact on its tiers, freshly started, behind its links; `deployment.client()` sends requests."""
    from pytest_edgeai.tiers.backend import TierError
    from pytest_edgeai.tiers.nodes import deploy

    reason, cause = "", ""
    with ExitStack() as stack:
        try:
            running = stack.enter_context(
                deploy(
                    edgeai_session.backends.of(edgeai_version),
                    edgeai_session.deployment_spec(strategy, edgeai_version),
                )
            )
        except TierError as error:
            reason, cause = str(error), error.cause
        if reason:
            _fail(reason, cause)
        yield running


@pytest.fixture
def trial(
    request: pytest.FixtureRequest,
    edgeai_session: MeasuringSession,
    strategy: Strategy,
    replicate: int,
    edgeai_version: str,
    benchmark: BenchmarkFixture,
) -> Callable[[], TrialRecord]:
    """A function that measures one replicate of the strategy in a fresh deployment and returns its record.

    It fails the test when the trial is invalid, unless that is the host's fault and it is measured again.
    """
    from pytest_edgeai.matrix.strategies import PlannedTrial
    from pytest_edgeai.measure.contention import slower_references
    from pytest_edgeai.measure.records import TrialInvalid
    from pytest_edgeai.measure.trial import Assignment, run_trial

    if benchmark.disabled:
        pytest.fail(
            "nothing was measured: benchmarks are disabled (by -n of pytest-xdist or by --benchmark-disable)",
            pytrace=False,
        )
    before = request.node.stash.get(BENCHMARK, None)
    if before is not None:
        before.has_error = True  # what a rerun repeats is left out like what failed
    request.node.stash[BENCHMARK] = benchmark
    started = time.perf_counter()
    request.getfixturevalue("artifact")
    deployment: Deployment = request.getfixturevalue("deployment")
    prepared = edgeai_session.artifact(strategy.artifact, edgeai_version)
    assignment = Assignment(
        PlannedTrial(strategy, replicate, edgeai_version),
        prepared.artifact.name,
        edgeai_session.settings.measurement,
        edgeai_session.settings.tolerances,
        prepared.validation,
        prepared.evaluation,
        prepared.artifact.graph_digests,
        slower_references(record.reference for record in edgeai_session.records.values()),
    )

    def stopwatch(
        send: Callable[..., Any],
        arguments: Callable[[], tuple[tuple[Mapping[str, Any]], dict[str, Any]]],
        rounds: int,
        warmup_rounds: int,
    ) -> Sequence[float]:
        pedantic: Callable[..., Any] = benchmark.pedantic
        pedantic(send, setup=arguments, rounds=rounds, warmup_rounds=warmup_rounds, iterations=1)
        assert benchmark.stats is not None
        return list(benchmark.stats.stats.data)

    def measure() -> TrialRecord:
        benchmark.group = f"{strategy.model} on {strategy.placement}"
        benchmark.extra_info["edgeai"] = {}  # what says that it is a trial, also where it ends before it is measured
        spoiled: TrialInvalid | None = None
        record: TrialRecord | None = None
        try:
            record = run_trial(deployment, assignment, stopwatch, started)
        except TrialInvalid as invalid:
            spoiled = invalid
        finally:
            # pytest-benchmark then leaves it out of its files and comparisons, also after Ctrl-C in its midst.
            benchmark.has_error = record is None
        if record is None:
            assert spoiled is not None
            _fail(str(spoiled), spoiled.cause, spoiled.host, spoiled.reference)
        record = edgeai_session.add(record)
        if record.status != "valid":
            benchmark.has_error = True
            pytest.fail(record.reason, pytrace=False)
        details = record.as_json()
        del details["latency_s"]  # pytest-benchmark's own data
        benchmark.extra_info["edgeai"] = details | {"artifact": prepared.artifact.entry.digest}
        return record

    return measure


def _fail(
    reason: str,
    cause: str,
    host: Mapping[str, float | None] | None = None,
    reference: Mapping[str, Mapping[str, float]] | None = None,
) -> NoReturn:
    """Fail the test, in a way that tells whose fault it is and what is known of the host."""
    from pytest_edgeai.collection.trial_items import Spoiled

    raise Spoiled(reason, host, reference) if cause == "host" else pytest.fail.Exception(reason, pytrace=False)
