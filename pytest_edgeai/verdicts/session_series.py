"""The values of strategies by session, and what each of them is judged against: the controls."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.stats.apart import FEWEST_SESSIONS, Shifts, shifts_apart
from pytest_edgeai.stats.trimmed import trimmed
from pytest_edgeai.verdicts.views import trial_values
from pytest_edgeai.versions.components import COMPUTING, UNHINDERED
from pytest_edgeai.versions.recording import RecordedStrategy, Recording

LATENCY: Final = "latency"
_MORE_WAITING: Final = math.log(1.1)
"""By how much a session has to have waited more than others, in the logarithm, to be unlike them."""
EVERYTHING: Final = "everything"
"""The name of the mean of all strategies that did not change, as a series of its own."""
_REFERENCES: Final = {LATENCY: "compute", UNHINDERED: "cpu", "compute": "compute", "cpu": "cpu"}
"""What of the reference computation tells about a component: waiting makes its wall time longer, not its CPU time."""


def comparable(session: Recording, newest: Recording, names: Sequence[str]) -> dict[str, RecordedStrategy]:
    """The strategies of a session that have the newest one's artifact and inputs."""
    return {
        name: session.strategies[name]
        for name in names
        if name in session.strategies
        and len(session.strategies[name].latencies_s)
        and session.strategies[name].inputs == newest.strategies[name].inputs
        and session.strategies[name].latencies_s.shape[1:] == newest.strategies[name].latencies_s.shape[1:]
        and content_of(session, name) == content_of(newest, name)
    }


def tells_compute(sessions: Sequence[Mapping[str, RecordedStrategy]], after: Recording, name: str) -> bool:
    """Whether enough sessions tell the compute of a strategy; those that were saved before it was kept do not."""
    return any(
        component in after.strategies[name].components
        and sum(name in one and component in one[name].components for one in sessions) >= FEWEST_SESSIONS
        for component in COMPUTING
    )


def content_of(session: Recording, name: str) -> str:
    """The hash of a strategy's artifact; empty where it is not known."""
    artifact = session.artifacts.get(session.artifact_of.get(name, ""))
    return "" if artifact is None else artifact.content


def unchanged_in(window: Sequence[Recording], after: Recording, names: Sequence[str]) -> frozenset[str]:
    """The strategies whose artifact is one and the same in all sessions."""
    return frozenset(
        name
        for name in names
        if content_of(after, name) and {content_of(one, name) for one in window} == {content_of(after, name)}
    )


class Series:
    """Values of strategies by session, the last row being the session that is judged.

    Parameters
    ----------
    sessions
        Strategies of the earlier sessions.
    after
        The session that is judged.
    names
        The strategies.
    unchanged
        Those whose artifact is the same in all sessions.
    """

    def __init__(
        self,
        sessions: Sequence[Mapping[str, RecordedStrategy]],
        after: Recording,
        names: Sequence[str],
        unchanged: frozenset[str],
    ) -> None:
        self._sessions = [*sessions, {name: after.strategies[name] for name in names}]
        self._placements = {name: name.removeprefix(after.artifact_of.get(name, "")) for name in names}
        self._strategies = list(names)
        self.unchanged = unchanged
        self.names = [*names, EVERYTHING] if unchanged else [*names]
        """Of the columns."""
        self._found: dict[tuple[str, int], Shifts] = {}
        self._beside: dict[tuple[str, str], Array] = {}

    def has(self, component: str) -> bool:
        """Whether the judged session and enough others have a component of some strategy."""
        return any(
            _of(self._sessions[-1][name], component) is not None
            and sum(name in one and _of(one[name], component) is not None for one in self._sessions[:-1])
            >= FEWEST_SESSIONS
            for name in self._strategies
        )

    def shifts(self, component: str, view: int, least_sd: float) -> Shifts:
        """The shifts of all strategies in a component, in one view of the requests.

        A strategy is judged against the reference computation on its tiers and all others in its place that did not
        change; these together against the reference alone, so that what makes everything slower is not hidden.
        """
        if (component, view) not in self._found:
            self._found[component, view] = self._shifts(component, view, least_sd)
        return self._found[component, view]

    def _shifts(self, component: str, view: int, least_sd: float) -> Shifts:
        values = {name: self._values(name, component, view) for name in self._strategies}
        references = {name: self._references(name, component) for name in self._strategies}
        centred = {name: _centred(one) for name, one in values.items()}
        controls = {
            name: _mean(
                [centred[one] for one in self._others(name)] + references[name],
                len(values[name]),
            )
            for name in self._strategies
        }
        if self.unchanged:
            length = len(self._sessions)
            beside = [row for name in self.unchanged for row in references[name]]
            together = [centred[name] for name in sorted(self.unchanged)] if beside else []
            values[EVERYTHING], controls[EVERYTHING] = _mean(together, length), _mean(beside, length)
        columns = [np.column_stack([one[name] for name in self.names]) for one in (values, controls)]
        return shifts_apart(columns[0], columns[1], least_sd=least_sd, noise=self._noise())

    def waited_longest(self) -> bool:
        """Whether computing threads waited for cores longer, in the session that is judged, than in all others."""
        waits = [_waiting(one.values()) for one in self._sessions]
        return waits[-1] > max(waits[:-1]) + _MORE_WAITING

    def _others(self, name: str) -> list[str]:
        """The unchanged strategies in the place of one."""
        return [one for one in sorted(self.unchanged - {name}) if self._placements[one] == self._placements[name]]

    def _values(self, name: str, component: str, view: int) -> Array:
        found = [_of(one[name], component) if name in one else None for one in self._sessions]
        if all(one is None for one in found):
            return np.full(len(found), np.nan)
        values = trial_values(np.vstack([one for one in found if one is not None]))[:, view]
        ends = np.cumsum([0 if one is None else len(one) for one in found])[:-1]
        means = [trimmed(one).means if len(one) else np.nan for one in np.split(values, ends)]
        return np.array(means, dtype=float)

    def _references(self, name: str, component: str) -> list[Array]:
        """The reference computation on each tier of a strategy, centred; of what it has nothing to tell, none."""
        key = _REFERENCES.get(component, "")
        tiers = {tier for trial in self._sessions[-1][name].reference_components.get(key, ()) for tier in trial}
        return [row for row in (self._reference(key, tier) for tier in sorted(tiers)) if np.isfinite(row[:-1]).any()]

    def _reference(self, key: str, tier: str) -> Array:
        if (key, tier) not in self._beside:
            row = np.array([_reference(one.values(), key, tier) for one in self._sessions])
            self._beside[key, tier] = _centred(row)
        return self._beside[key, tier]

    def _noise(self) -> Array:
        """How many times the variance of an earlier session the judged one may have, for its trials are fewer."""
        ratios = []
        for name in self._strategies:
            before = [len(one[name].latencies_s) for one in self._sessions[:-1] if name in one]
            now = len(self._sessions[-1][name].latencies_s)
            ratios.append(max(1.0, float(np.mean(before)) / now) if before and now else 1.0)
        return np.array([*ratios, *[1.0] * (len(self.names) - len(ratios))])


def _of(strategy: RecordedStrategy, component: str) -> Array | None:
    return strategy.latencies_s if component == LATENCY else strategy.components.get(component)


def _waiting(strategies: Iterable[RecordedStrategy]) -> float:
    """The logarithm of how many times its CPU time compute takes, at the median; 0 where that is not known."""
    logs = [
        float(np.median(np.log(one.components["compute"] / one.components["cpu"])))
        for one in strategies
        if "compute" in one.components and "cpu" in one.components
    ]
    return float(np.median(logs)) if logs else 0.0


def _reference(strategies: Iterable[RecordedStrategy], component: str, tier: str) -> float:
    """The median of all that trials of a session say of a tier."""
    found = [
        trial[tier] for one in strategies for trial in one.reference_components.get(component, ()) if tier in trial
    ]
    return math.log(float(np.median(found))) if found else math.nan


def _centred(values: Array) -> Array:
    """Values less the mean of the earlier sessions."""
    known = values[:-1][np.isfinite(values[:-1])]
    centred: Array = values - (known.mean() if known.size else np.nan)
    return centred


def _mean(rows: Sequence[Array], length: int) -> Array:
    """The mean of what there is; NaN where there is nothing."""
    if not rows:
        return np.full(length, np.nan)
    stacked = np.vstack(rows)
    counts = np.count_nonzero(np.isfinite(stacked), axis=0)
    mean: Array = np.nansum(stacked, axis=0) / np.where(counts, counts, np.nan)
    return mean
