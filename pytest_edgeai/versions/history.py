"""The history of strategies over commits: sessions in order, series of quantities, and where their level changed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

import numpy as np

from pytest_edgeai.errors import VersionError, unknown
from pytest_edgeai.stats.samples import FloatArray
from pytest_edgeai.stats.steps import Step, find_steps
from pytest_edgeai.subjects.metrics import PERCENT
from pytest_edgeai.versions.summaries import CPU, LATENCY, SIZE, Quantity, Summary, moment

_COMPUTE = "compute"
_TRANSMIT = "transmit"


@dataclass(frozen=True, slots=True)
class Least:
    """The smallest changes that are of interest.

    Parameters
    ----------
    change
        Of latency and spans, as a share.
    points
        Of metrics in percent, in percentage points.
    share
        Of sizes and of other metrics, as a share.
    """

    change: float = 0.05
    points: float = 0.5
    share: float = 0.01


@dataclass(frozen=True, slots=True)
class Change:
    """A step of a quantity of a strategy.

    Parameters
    ----------
    last, first
        Numbers of the last session before and of the first one behind it.
    before, after
        The medians of the sessions on either side, up to the next step.
    change, low, high
        By how much, with its interval: a share where `is_relative`, else in the quantity's unit.
    is_relative
        See there.
    is_unchanged
        Whether artifact and measuring code are known to be the same on both sides, so that the commit is not to blame
        for a time.
    """

    strategy: str
    quantity: Quantity
    last: int
    first: int
    before: float
    after: float
    change: float
    low: float
    high: float
    is_relative: bool
    is_unchanged: bool = False

    @property
    def is_worse(self) -> bool:
        """Whether it went the wrong way, and the host alone is not to blame."""
        return (self.change < 0) == self.quantity.higher_is_better and not self.is_unchanged

    @property
    def is_better(self) -> bool:
        """Likewise the right way."""
        return (self.change < 0) != self.quantity.higher_is_better and not self.is_unchanged


@dataclass(frozen=True, slots=True)
class Series:
    """A quantity of a strategy.

    Parameters
    ----------
    places
        Numbers of the sessions that have it.
    values
        Of these sessions, shape (sessions,).
    changes
        Its steps, in their order; none where it is not watched.
    """

    strategy: str
    quantity: Quantity
    places: tuple[int, ...]
    values: FloatArray
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class History:
    """What happened over commits.

    Parameters
    ----------
    sessions
        In the order of their commits; those of one commit in the order in which they were measured.
    series
        By strategy, quantities in the order of a session.
    remarks
        What was left out, and what else has to be known.
    """

    sessions: tuple[Summary, ...]
    series: tuple[Series, ...]
    remarks: tuple[str, ...] = ()

    @cached_property
    def strategies(self) -> tuple[str, ...]:
        """In the order of the newest session, then those that it has no more."""
        return tuple(dict.fromkeys(one.strategy for one in self.series))

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        """All changes, the newest first."""
        every = [change for one in self.series for change in one.changes]
        return tuple(sorted(every, key=lambda change: -change.first))

    def of(self, strategy: str) -> dict[str, Series]:
        """The series of a strategy by quantity."""
        return {one.quantity.name: one for one in self.series if one.strategy == strategy}

    def keys(self, strategy: str) -> tuple[str, str, str] | None:
        """Model, operator and placement of a strategy, where a session says them."""
        return next((one.keys[strategy] for one in reversed(self.sessions) if strategy in one.keys), None)

    def between(self, change: Change) -> str:
        """Where a change is, for example `between 1a2b3c4d and 5e6f7a8b`."""
        last, first = self.sessions[change.last], self.sessions[change.first]
        if last.commit and last.commit == first.commit:
            return f"between two sessions of {first.short}"
        return f"between {last.short} and {first.short}"


def in_order(sessions: Iterable[Summary]) -> list[Summary]:
    """Sessions by the time of their commit, then by when they were measured; without a commit, by the latter alone."""
    return sorted(sessions, key=lambda one: (moment(one.committed_at or one.saved_at), moment(one.saved_at), one.file))


def make_history(
    sessions: Iterable[Summary],
    *,
    strategies: Sequence[str] = (),
    branch: str | None = None,
    last: int | None = None,
    least: Least | None = None,
) -> History:
    """The history of what can be compared with the newest session.

    Parameters
    ----------
    sessions
        In any order.
    strategies
        Patterns such as `bert-*-edge`; none is all.
    branch
        Only sessions of this branch.
    last
        Only so many of the newest sessions.
    least
        The smallest changes of interest.

    Raises
    ------
    VersionError
        Nothing is left.
    """
    ordered = in_order(sessions)
    if branch is not None:
        branches = dict.fromkeys(one.branch for one in ordered if one.branch)
        ordered = [one for one in ordered if one.branch == branch]
        if not ordered:
            raise VersionError(f"--branch: {unknown('saved session of branch', branch, branches)}")
    if not ordered:
        raise VersionError("there is no saved session of pytest-edgeai: save one by pytest … --benchmark-autosave")
    alike = [one for one in ordered if one.conditions == ordered[-1].conditions]
    remarks = list(_remarks(ordered, alike))
    alike = alike if last is None else alike[-last:]
    names = list(dict.fromkeys(name for one in reversed(alike) for name in one.values))
    chosen = [name for name in names if not strategies or any(fnmatchcase(name, one) for one in strategies)]
    if not chosen:
        wanted = " or ".join(map(repr, strategies))
        raise VersionError(f"--strategy: no saved session has a strategy like {wanted} (known: {', '.join(names)})")
    series = [one for name in chosen for one in _series(alike, name, least or Least())]
    return History(tuple(alike), tuple(series), tuple(remarks))


def is_watched(quantity: Quantity) -> bool:
    """Whether changes of it are looked for: latency, compute, CPU time, transmission, size and metrics.

    Other spans are fractions of a millisecond that the host decides, and so are times of loading.
    """
    name = quantity.name
    return name in (LATENCY, _COMPUTE, CPU, SIZE) or name.startswith(_TRANSMIT) or quantity.unit not in ("s", "bytes")


def _series(sessions: Sequence[Summary], strategy: str, least: Least) -> list[Series]:
    quantities: dict[str, Quantity] = {}
    for one in reversed(sessions):
        for name in one.values.get(strategy, ()):
            quantities.setdefault(name, one.quantities[name])
    found = []
    for name, quantity in quantities.items():
        places = tuple(
            number
            for number, one in enumerate(sessions)
            if math.isfinite(one.values.get(strategy, {}).get(name, math.nan))
        )
        if not places:
            continue
        values = np.array([sessions[number].values[strategy][name] for number in places])
        changes = _changes(sessions, strategy, quantity, places, values, least) if is_watched(quantity) else ()
        found.append(Series(strategy, quantity, places, values, changes))
    return found


def _changes(
    sessions: Sequence[Summary],
    strategy: str,
    quantity: Quantity,
    places: Sequence[int],
    values: FloatArray,
    least: Least,
) -> tuple[Change, ...]:
    """Steps of times and sizes are of their logarithms, and shares; those of metrics are differences."""
    is_time = quantity.unit == "s"
    is_relative = (is_time or quantity.unit == "bytes") and bool((values > 0).all())
    if is_relative:
        steps = find_steps(np.log(values), least=math.log1p(least.change if is_time else least.share), robust=is_time)
    else:
        usual = least.share * float(np.median(np.abs(values))) or least.share
        steps = find_steps(values, least=least.points if quantity.unit == PERCENT else usual, robust=False)

    def told(step: Step) -> Change:
        level = math.exp if is_relative else float
        share = math.expm1 if is_relative else float
        last, first = (sessions[places[place]] for place in (step.place - 1, step.place))
        content = last.contents.get(strategy)
        is_same = content is not None and content == first.contents.get(strategy)
        return Change(
            strategy,
            quantity,
            places[step.place - 1],
            places[step.place],
            level(step.before),
            level(step.after),
            share(step.change),
            share(step.low),
            share(step.high),
            is_relative,
            is_unchanged=is_time and is_same and bool(last.code) and last.code == first.code,
        )

    return tuple(map(told, steps))


def _remarks(ordered: Sequence[Summary], alike: Sequence[Summary]) -> Iterable[str]:
    left = len(ordered) - len(alike)
    if left:
        yield (
            f"{left} of {len(ordered)} sessions are left out: their host, scale, backend, tiers, links or profile are "
            "not those of the newest session"
        )
    unsigned = sum(not one.signed for one in alike)
    if unsigned:
        yield (
            f"{unsigned} of {len(alike)} sessions were saved before sessions had checksums: whether they were changed "
            "since is not known"
        )
    branches = Counter(one.branch or "unknown" for one in alike)
    if len(branches) > 1:
        words = ", ".join(f"{name} ({number})" for name, number in branches.most_common())
        yield f"the sessions are of several branches: {words}; --branch takes one of them"
