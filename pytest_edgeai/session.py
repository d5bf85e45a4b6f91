"""The state of one measuring session: what was asked for, what is prepared, what was measured.

It knows the stages and hands the plain value of one to the next; it knows no pytest. The plugin creates it when the
first test asks for the matrix, so that a run of other tests never pays for it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pytest_edgeai.backends import Backends
from pytest_edgeai.errors import ReportError
from pytest_edgeai.matrix.schedule import place_again, schedule
from pytest_edgeai.matrix.strategies import PlannedTrial, Strategy
from pytest_edgeai.measure.attempts import Attempts, Fate, TrialLog
from pytest_edgeai.measure.host import Host, this_host
from pytest_edgeai.measured import ArtifactName, Commit, Measured, OtherVersion, SessionPlan, lacking_artifact
from pytest_edgeai.selection import Registered, Selection
from pytest_edgeai.settings import Settings
from pytest_edgeai.store import default_root
from pytest_edgeai.tiers.allotment import Allotment, allot
from pytest_edgeai.tiers.backend import DeploymentSpec
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.sharing import share_among_nodes

if TYPE_CHECKING:
    from pytest_edgeai.measure.records import TrialRecord
    from pytest_edgeai.operators.preparation import Plan, Prepared
    from pytest_edgeai.operators.worker import Failure, Progress
    from pytest_edgeai.stats.looks import Looks
    from pytest_edgeai.tiers.backend import Cause

Held = TypeVar("Held")


@dataclass
class MeasuringSession:
    """One session.

    Parameters
    ----------
    settings
        What is asked for.
    registered
        What there is.
    seed
        Of the order of trials.
    root
        The project's folder: that of its settings file, or pytest's root folder. Reports are made there.
    """

    settings: Settings
    registered: Registered
    seed: int
    root: Path
    settings_file: Path | None = None
    """Where the settings come from, or None where there are only defaults and options."""
    selection: Selection = field(init=False)
    host: Host = field(init=False)
    allotments: Mapping[str, Allotment] = field(init=False)
    trials: tuple[PlannedTrial, ...] = ()
    """The planned trials of this version, in their order."""
    skipped: tuple[Strategy, ...] = ()
    """The strategies that were selected, where every trial is marked to be skipped."""
    placements: tuple[Placement, ...] = ()
    """Where something is to be deployed."""
    artifacts: tuple[tuple[str, str], ...] = ()
    """Models and operators whose artifact is needed."""
    attempts: Attempts = field(init=False)
    """The trials that were made, and what became of those that are invalid."""
    suppliers: list[Callable[[MeasuringSession], Iterable[PlannedTrial]]] = field(default_factory=list)
    """Asked for further trials when all planned ones are over: the first until it names none, then the next."""
    looks: dict[Strategy, Looks] = field(default_factory=dict)
    """How often the tail budgets of strategies are judged while trials are added."""
    prepared: dict[tuple[str, str], Prepared] = field(default_factory=dict)
    """Artifacts by model and operator."""
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    """Why an artifact could not be made."""
    against: Commit | None = None
    """The commit that is measured in this session, too, and compared with."""
    with_servers: bool = False
    """Whether the servers and tiers of that commit run its trials."""
    baseline_trials: tuple[PlannedTrial, ...] = ()
    """The planned trials of that commit's artifacts."""
    other: OtherVersion | None = None
    """What that commit has, once its artifacts are ready."""
    usual_replicates: int | None = None
    """Trials of a strategy that is not measured in both versions, where these are fewer."""
    is_whole: bool = False
    """Whether all that the settings ask for was selected, so that what another version has in addition is missing."""
    arguments: tuple[str, ...] = ()
    """What pytest was called with."""
    log: TrialLog | None = None
    """Where the requests of each trial are kept as soon as it is over."""
    backends: Backends = field(init=False)
    _chance: random.Random = field(init=False)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.selection = Selection.from_settings(self.settings, self.registered)
        self.attempts = Attempts(self.settings.measurement.retries)
        self._chance = random.Random(self.seed)
        self.host = this_host()
        topology = self.settings.topology
        alone = allot(topology.tiers, self.host.cores, self.host.memory_bytes)
        self.allotments = share_among_nodes(alone, self.selection.placements, topology, self.host.cores)
        operators = self.registered.operators.items()
        bound = {name: operator.bind(topology, self.allotments) for name, operator in operators}
        self.registered = replace(self.registered, operators=bound)
        self.backends = Backends(self.settings, self.registered.backends, self._stack)

    @property
    def records(self) -> dict[PlannedTrial, TrialRecord]:
        """The trials that were made, each by its last attempt."""
        return self.attempts.records

    @property
    def strategies(self) -> tuple[Strategy, ...]:
        """The strategies that are to be measured, in the order of reports."""
        return self.selection.in_order({trial.strategy for trial in self.trials})

    @property
    def plan(self) -> Plan:
        """How artifacts are found and built."""
        from pytest_edgeai.operators.preparation import Plan

        store = self.settings.store
        root = self.root / store if store is not None else default_root()
        registered, seed, idle_s = self.registered, self.settings.training_seed, self.settings.build_idle_s
        return Plan(root, registered.subjects, registered.operators, self.host, seed, idle_s)

    def hold(self, context: AbstractContextManager[Held]) -> Held:
        """Enter a context that is left when the session is closed."""
        return self._stack.enter_context(context)

    @property
    def wanted(self) -> tuple[tuple[str, str], ...]:
        """Artifacts to make ready, in order: those needed, and the baselines that drops are measured against."""
        baselines = ((model, self.settings.baseline) for model, _ in self.artifacts)
        return self.registered.in_order({*baselines, *self.artifacts})

    def prepare_one(self, wanted: tuple[str, str], report: Callable[[Progress], None]) -> Prepared | Failure:
        """Make one artifact ready."""
        from pytest_edgeai.operators.worker import Failure, prepare_all

        result = prepare_all(self.plan, [wanted], report, self.failures)[wanted]
        if isinstance(result, Failure):
            self.failures[wanted] = result.sentence
        return result

    def prepare(self, report: Callable[[Progress], None]) -> None:
        """Make the artifacts ready, and the baselines that drops are measured against.

        Parameters
        ----------
        report
            Is told about progress.
        """
        from pytest_edgeai.operators.worker import Failure, prepare_all

        for one, result in prepare_all(self.plan, self.wanted, report).items():
            if isinstance(result, Failure):
                self.failures[one] = result.sentence
            else:
                self.prepared[one] = result

    @property
    def unmade_trials(self) -> tuple[PlannedTrial, ...]:
        """Planned trials for which an artifact could not be made, that of the strategy or the baseline's."""
        lacking = {
            artifact: lacking_artifact(artifact, self.settings.baseline, self.failures)
            for artifact in {trial.strategy.artifact for trial in self.trials}
        }
        every = (*self.trials, *self.baseline_trials)
        return tuple(trial for trial in every if lacking.get(trial.strategy.artifact) is not None)

    def keep_comparable(self, other: OtherVersion) -> None:
        """Know what the other version has, and keep the trials that can tell the versions apart."""
        self.other = other
        measure_same = self.settings.gate.measure_same

        def is_comparable(wanted: ArtifactName) -> bool:
            return other.is_comparable(wanted, self.prepared.get(wanted), measure_same=measure_same)

        self.baseline_trials = tuple(trial for trial in self.baseline_trials if is_comparable(trial.strategy.artifact))
        if self.usual_replicates is not None:
            twice = {trial.strategy for trial in self.baseline_trials}
            enough = self.usual_replicates
            self.trials = tuple(trial for trial in self.trials if trial.strategy in twice or trial.replicate < enough)

    def artifact(self, wanted: tuple[str, str], version: str = "") -> Prepared:
        """An artifact that is ready.

        Parameters
        ----------
        wanted
            Model and operator.
        version
            Empty, or the revision whose artifact it is.

        Raises
        ------
        BuildError
            It could not be made; says why.
        """
        from pytest_edgeai.operators import BuildError
        from pytest_edgeai.operators.worker import unmade

        if version:
            assert self.other is not None
            return self.other.prepared[wanted]
        if wanted in self.failures:
            reason = ": see the verdicts" if self.trials else f": {self.failures[wanted]}"
            raise BuildError(f"{unmade(wanted)}{reason}")
        return self.prepared[wanted]

    def deployment_spec(self, strategy: Strategy, version: str = "") -> DeploymentSpec:
        """What to deploy for a strategy."""
        artifact = self.artifact(strategy.artifact, version).artifact
        profile = self.settings.measurement
        return DeploymentSpec(
            artifact.name,
            artifact.entry.folder,
            strategy.placement,
            profile.session,
            profile.wire,
            model=artifact.model,
            operator=artifact.operator,
        )

    def add(self, record: TrialRecord) -> TrialRecord:
        """Keep the outcome of a trial's attempt, on disk at once; what cannot be written was not measured."""
        from pytest_edgeai.measure.records import TrialRecord

        record, replaced = self.attempts.add(record)
        if self.log is not None:
            try:
                if replaced is not None:
                    self.log.remove(replaced)
                self.log.append(record)
            except ReportError as error:
                reason = f"its samples were not kept: {error}"
                record = TrialRecord(record.trial, "invalid", reason, "product", record.attempt, record.order)
                self.attempts.records[record.trial] = record
        return record

    def invalidate(
        self,
        trial: PlannedTrial,
        reason: str,
        cause: Cause = "product",
        host: Mapping[str, float | None] | None = None,
        reference: Mapping[str, Mapping[str, float]] | None = None,
    ) -> Fate:
        """Keep why a trial's attempt has no numbers, and say what becomes of it; what is over already stays so."""
        from pytest_edgeai.measure.records import TrialRecord

        if self.attempts.is_over(trial):
            return "failed"
        self.add(TrialRecord(trial, "invalid", reason, cause, host=host or {}, reference=reference or {}))
        return self.attempts.settle(trial, (*self.trials, *self.baseline_trials))

    def take_back_slow_trials(self) -> dict[PlannedTrial, Fate]:
        """Make trials invalid in which the host computed slowly, by all that is known by now; what becomes of each."""
        from pytest_edgeai.measure.contention import judge_speeds

        references = {trial: record.reference for trial, record in self.records.items()}
        fates: dict[PlannedTrial, Fate] = {}
        for trial, reason in judge_speeds(references, self.settings.tolerances.slow_host).items():
            if self.records[trial].status == "valid":
                before = self.attempts.take_back(trial, reason)
                if self.log is not None:
                    self.log.remove(before)
                fates[trial] = self.attempts.settle(trial, (*self.trials, *self.baseline_trials))
        return fates

    def place_again(self, remaining: Sequence[PlannedTrial | None]) -> int:
        """Before which of the remaining tests a trial is put that is to be measured again; None is no trial."""
        together = [None if trial is None else (trial.replicate, trial.strategy) for trial in remaining]
        return place_again(together, self._chance)

    def further_trials(self) -> list[PlannedTrial]:
        """Trials that suppliers want beyond the planned ones, in the order in which to make them; now planned, too.

        Raises
        ------
        ValueError
            A supplier wants a trial that was planned already.
        """
        while self.suppliers:
            wanted = tuple(dict.fromkeys(self.suppliers[0](self)))
            known = set(wanted).intersection((*self.trials, *self.baseline_trials))
            if known:
                raise ValueError(f"{min(known).id} was planned already: further trials have further replicates")
            if wanted:
                self.trials += tuple(trial for trial in wanted if not trial.version)
                self.baseline_trials += tuple(trial for trial in wanted if trial.version)
                seed = self._chance.getrandbits(32)
                return schedule([(trial.replicate, trial.strategy, trial) for trial in wanted], seed)
            del self.suppliers[0]
        return []

    def describe(self) -> SessionPlan:
        """What is to be measured, and how, as known by now."""
        backend = self.backends.own
        return SessionPlan(
            settings=self.settings,
            settings_file=self.settings_file,
            seed=self.seed,
            host=self.host,
            backend=None if backend is None else backend.name,
            backend_description="" if backend is None else backend.describe(),
            allotments=self.allotments,
            models=self.selection.models,
            operators=self.selection.operators,
            placements=self.selection.placements,
            strategies=self.strategies,
            trials=self.trials,
            against=self.against,
            usual_replicates=self.usual_replicates,
            is_whole=self.is_whole,
            arguments=self.arguments,
        )

    def measured(self, interrupted: str = "") -> Measured:
        """What was measured by now.

        Parameters
        ----------
        interrupted
            What ended the session before its last trial, or empty.
        """
        return Measured(
            plan=self.describe(),
            baseline_trials=self.baseline_trials,
            records=dict(self.records),
            attempts=tuple(self.attempts),
            waiting=frozenset(self.attempts.waiting),
            prepared=dict(self.prepared),
            failures=dict(self.failures),
            other=self.other,
            looks=dict(self.looks),
            interrupted=interrupted,
        )

    def close(self) -> None:
        """End what the backend holds."""
        self._stack.close()
