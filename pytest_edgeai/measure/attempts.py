"""The attempts at trials: which of them counts, which is measured again, and how many retries a strategy has left.

No pytest and no files: the session keeps one of these, and asks it what becomes of an attempt that is invalid.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

from pytest_edgeai.matrix.strategies import PlannedTrial

if TYPE_CHECKING:
    from pytest_edgeai.measure.records import TrialRecord

Fate: TypeAlias = Literal["again", "set aside", "failed"]
"""Of an invalid attempt: it is measured again, its strategy does without it, or the strategy cannot be judged."""


ENOUGH: Final = 3
"""Valid trials by which a strategy is judged when the host has spoiled the others at every try."""


@dataclass(frozen=True, slots=True)
class InvalidTrial:
    """A trial without numbers.

    Parameters
    ----------
    reason
        A sentence.
    cause
        `host` where it says nothing about the product; anything else voids the strategy.
    """

    reason: str
    cause: str = "product"


def void_strategy(invalid: Sequence[InvalidTrial], valid: int) -> bool:
    """Whether a strategy cannot be judged, given its invalid trials and how many are valid."""
    return bool(invalid) and (valid < ENOUGH or any(one.cause != "host" for one in invalid))


class TrialLog(Protocol):
    """Keeps the requests of trials where they outlive this process."""

    def append(self, record: TrialRecord) -> None:
        """Keep those of a trial, all or none.

        Raises
        ------
        ReportError
            They cannot be kept.
        """

    def remove(self, record: TrialRecord) -> None:
        """Remove those of a trial that is repeated."""


@dataclass
class Attempts:
    """The attempts of a session.

    Parameters
    ----------
    retries
        How often a strategy's trials may be measured again, as a multiple of how many there are.
    """

    retries: int
    records: dict[PlannedTrial, TrialRecord] = field(default_factory=dict)
    """The attempt that counts, by trial: the last one."""
    earlier: list[TrialRecord] = field(default_factory=list)
    """Attempts that were invalid and measured again."""
    waiting: set[PlannedTrial] = field(default_factory=set)
    """Trials that are to be measured again and have not been yet."""
    _begun: PlannedTrial | None = None
    _made: int = 0

    def __iter__(self) -> Iterator[TrialRecord]:
        """Every attempt, in the order in which they were made."""
        return iter(sorted((*self.earlier, *self.records.values()), key=lambda record: record.order))

    def begin(self, trial: PlannedTrial) -> None:
        """Expect the outcome of an attempt, whatever is known of the trial so far."""
        self._begun = trial

    def is_over(self, trial: PlannedTrial) -> bool:
        """Whether the outcome of the trial's latest attempt is known."""
        return trial in self.records and self._begun != trial

    def add(self, record: TrialRecord) -> tuple[TrialRecord, TrialRecord | None]:
        """Keep the outcome of an attempt.

        Returns
        -------
        tuple
            The record with its number and place, and the record that it replaces for good: a test that another
            plugin runs again repeats its trial, and only the last run of it counts.
        """
        trial, number, replaced = record.trial, 0, None
        before = self.records.get(trial)
        if before is not None and trial in self.waiting:
            self.earlier.append(before)
            number = before.attempt + 1
        elif before is not None:
            replaced, number = before, before.attempt
        self.waiting.discard(trial)
        self._begun = None
        record = replace(record, attempt=number, order=self._made)
        self._made += 1
        self.records[trial] = record
        return record, replaced

    def take_back(self, trial: PlannedTrial, reason: str) -> TrialRecord:
        """Make a valid attempt invalid: the host turns out to have spoiled it. The record as it was."""
        before = self.records[trial]
        self.records[trial] = replace(before, status="invalid", reason=reason, cause="host", measurements=())
        return before

    def settle(self, trial: PlannedTrial, planned: Collection[PlannedTrial]) -> Fate:
        """What becomes of an invalid attempt.

        Parameters
        ----------
        trial
            The trial; its latest attempt is invalid.
        planned
            All trials of the session.
        """
        if self.records[trial].cause != "host":
            return "failed"
        alike = [one for one in planned if _budget(one) == _budget(trial)]
        if self._used(trial) < self.retries * len(alike):
            self.waiting.add(trial)
            return "again"
        possible = sum(one != trial and self._may_be_valid(one) for one in alike)
        return "set aside" if possible >= ENOUGH else "failed"

    def _used(self, trial: PlannedTrial) -> int:
        granted = (*(record.trial for record in self.earlier), *self.waiting)
        return sum(_budget(one) == _budget(trial) for one in granted)

    def _may_be_valid(self, trial: PlannedTrial) -> bool:
        return trial not in self.records or trial in self.waiting or self.records[trial].status == "valid"


def _budget(trial: PlannedTrial) -> tuple[object, ...]:
    """What trials share their retries by: each version of a strategy has its own."""
    return trial.strategy, trial.version
