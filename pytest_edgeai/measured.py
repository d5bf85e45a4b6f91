"""What a session was to measure and what it measured: one frozen value, which all that comes after takes.

Statistics, verdicts, recordings and reports know this value and not the session that made it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_edgeai.matrix.strategies import PlannedTrial, Strategy
    from pytest_edgeai.measure.host import Host
    from pytest_edgeai.measure.records import TrialRecord
    from pytest_edgeai.operators.preparation import Prepared
    from pytest_edgeai.settings import Settings
    from pytest_edgeai.stats.looks import Looks
    from pytest_edgeai.tiers.allotment import Allotment
    from pytest_edgeai.tiers.placements import Placement
    from pytest_edgeai.tiers.specs import Topology

ArtifactName: TypeAlias = tuple[str, str]
"""Model and operator."""


def lacking_artifact(artifact: ArtifactName, baseline: str, failures: Container[ArtifactName]) -> ArtifactName | None:
    """The artifact for want of which a strategy is not measured, or None.

    Parameters
    ----------
    artifact
        The strategy's.
    baseline
        The baseline operator, whose artifact it is compared with.
    failures
        Artifacts that could not be made.
    """
    return next((one for one in (artifact, (artifact[0], baseline)) if one in failures), None)


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit of a repository.

    Parameters
    ----------
    revision
        As it was asked for.
    digest
        Its hexadecimal name.
    repository
        The top folder of the working copy that it was asked for in.
    """

    revision: str
    digest: str
    repository: Path

    @property
    def label(self) -> str:
        """What to call it: as it was asked for, and which commit that is."""
        short = self.digest[:10]
        return short if self.digest.startswith(self.revision) else f"{self.revision} ({short})"


@dataclass(frozen=True, slots=True)
class OwnServers:
    """Servers of another version that run its trials (`--edgeai-whole`).

    Parameters
    ----------
    topology, allotments
        By the other version's settings.
    code
        Digest of what runs in its servers.
    search_path
        Where that is.
    differ
        Whether code or settings are other ones than this version's.
    """

    topology: Topology
    allotments: Mapping[str, Allotment]
    code: str
    search_path: tuple[str, ...]
    differ: bool


@dataclass(frozen=True, slots=True)
class OtherVersion:
    """What another version has.

    Parameters
    ----------
    commit
        Which.
    prepared
        Its artifacts that are ready, by model and operator.
    failures
        Why others of them could not be made.
    strategies
        The ids of all that it would measure by itself.
    code
        Digest of the code that it would measure with; empty where it does not tell.
    outside
        What its artifacts do not contain, as `versions.own_servers` describes it; empty where it does not tell.
    servers
        Its own servers that run its trials, or None where this version's run them.
    """

    commit: Commit
    prepared: Mapping[ArtifactName, Prepared]
    failures: Mapping[ArtifactName, str]
    strategies: tuple[str, ...]
    code: str = ""
    outside: Mapping[str, Any] = field(default_factory=dict)
    servers: OwnServers | None = None

    def is_same(self, wanted: ArtifactName, ours: Prepared) -> bool:
        """Whether its artifact and its samples are ours, byte for byte."""
        theirs = self.prepared.get(wanted)
        same_artifact = theirs is not None and theirs.artifact.entry.content == ours.artifact.entry.content
        return same_artifact and self.has_our_samples(wanted, ours)

    def is_comparable(self, wanted: ArtifactName, ours: Prepared | None, *, measure_same: bool) -> bool:
        """Whether it is measured beside ours; what is the same in both versions is only where that is asked for."""
        if ours is None or not self.has_our_samples(wanted, ours):
            return False
        if self.servers is not None and self.servers.differ:
            return True
        return measure_same or not self.is_same(wanted, ours)

    def has_our_samples(self, wanted: ArtifactName, ours: Prepared) -> bool:
        """Whether the samples that it would be sent are ours; latencies of others are not comparable."""
        theirs = self.prepared.get(wanted)
        return theirs is not None and theirs.validation.content == ours.validation.content


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """What a session is to measure, and how.

    Parameters
    ----------
    settings, settings_file
        As used, and where they come from, or None where there are only defaults and options.
    seed
        Of the order of trials.
    host
        The machine that measures.
    backend, backend_description
        What runs the tiers, and how; None before it is open.
    allotments
        What each tier is given, by tier.
    models, operators, placements
        The axes of the matrix.
    strategies
        What is to be measured, in the order of reports.
    trials
        The planned trials of this version.
    against
        The commit that is measured in this session, too, and compared with.
    usual_replicates
        Trials of a strategy that is not measured in both versions, where these are fewer.
    is_whole
        Whether all that the settings ask for was selected, so that what another version has in addition is missing.
    arguments
        What pytest was called with.
    """

    settings: Settings
    settings_file: Path | None
    seed: int
    host: Host
    backend: str | None
    backend_description: str
    allotments: Mapping[str, Allotment]
    models: tuple[str, ...]
    operators: tuple[str, ...]
    placements: tuple[Placement, ...]
    strategies: tuple[Strategy, ...]
    trials: tuple[PlannedTrial, ...]
    against: Commit | None
    usual_replicates: int | None
    is_whole: bool
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """What a session measured.

    Parameters
    ----------
    plan
        What it was to measure.
    baseline_trials
        The planned trials of the other version.
    records
        The attempt that counts of each trial that was made.
    attempts
        Every attempt, in the order in which they were made.
    waiting
        Trials that were to be measured again when the session ended.
    prepared
        Artifacts with their evaluations, by model and operator.
    failures
        Why artifacts could not be made, by model and operator.
    other
        What the other version has.
    interrupted
        What ended the session before its last trial, as a sentence goes on, or empty.
    looks
        How often the tail budgets of strategies are judged while trials are added.
    """

    plan: SessionPlan
    baseline_trials: tuple[PlannedTrial, ...]
    records: Mapping[PlannedTrial, TrialRecord]
    attempts: tuple[TrialRecord, ...]
    waiting: frozenset[PlannedTrial]
    prepared: Mapping[ArtifactName, Prepared]
    failures: Mapping[ArtifactName, str]
    other: OtherVersion | None
    interrupted: str = ""
    looks: Mapping[Strategy, Looks] = field(default_factory=dict)

    def why_unmade(self, strategy: Strategy) -> str:
        """Which artifact the trials of a strategy were not made for want of, as a sentence goes on; else empty."""
        lacking = lacking_artifact(strategy.artifact, self.plan.settings.baseline, self.failures)
        if lacking is None:
            return ""
        role = ", its baseline," if lacking != strategy.artifact else ""
        return f"artifact {'-'.join(lacking)}{role} could not be made"

    @property
    def own_records(self) -> dict[PlannedTrial, TrialRecord]:
        """The trials that were made of this version."""
        return {trial: record for trial, record in self.records.items() if not trial.version}
