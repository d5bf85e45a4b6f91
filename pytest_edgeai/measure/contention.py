"""Whether a host let a trial be measured: who else computed, how long requests waited for a core, how fast it was.

Pure functions. What they judge is read by `pytest_edgeai.measure.host` and told by the tiers with every request; what
is done about a trial that a host has spoiled is decided elsewhere.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pytest_edgeai.measure.host import Moment, Process
from pytest_edgeai.protocols import Tolerances
from pytest_edgeai.tiers.specs import tier_of

Key = TypeVar("Key", bound=Hashable)

LEAST_REFERENCES = 4
"""With fewer trials before it, nobody knows how fast a host usually is."""
_WORTH_NAMING_CORES = 0.1
_REMARKABLE_SLOWNESS = 0.2


@dataclass(frozen=True, slots=True)
class Wait:
    """What one request waited for cores, where its tiers tell it.

    Parameters
    ----------
    latency_s
        Round trip.
    computed_s
        Its spans in which waiting is known: pre-processing and compute.
    waited_s
        How much of these passed without a core.
    effect_s
        What that adds to the latency, with what the compute scale makes of it.
    """

    latency_s: float
    computed_s: float
    waited_s: float
    effect_s: float


@dataclass(frozen=True, slots=True)
class ForeignUse:
    """What processes that have nothing to do with the session took of the host.

    Parameters
    ----------
    cores
        CPU seconds a second.
    of
        How many cores were looked at.
    group
        The process group that took most, or None where that is not known.
    name
        The name of the process that took most in it.
    group_cores
        CPU seconds a second of that group.
    """

    cores: float
    of: int
    group: int | None = None
    name: str = ""
    group_cores: float = 0.0

    @property
    def sentence(self) -> str:
        """Who takes most."""
        all_of_them = f"other processes took {self.cores:.1f} of {self.of} cores"
        if self.group is None or self.group_cores < _WORTH_NAMING_CORES:
            return all_of_them
        return f"{all_of_them}, process group {self.group} ({self.name}) {self.group_cores:.1f} of them"


def foreign_use(
    before: Moment, after: Moment, cpus: Collection[int], ours: Collection[int], unlisted_s: float = 0.0
) -> ForeignUse | None:
    """What others took of some cores between two moments.

    Parameters
    ----------
    before, after
        The moments.
    cpus
        The cores that count, by number.
    ours
        Processes that belong to the session.
    unlisted_s
        CPU seconds of processes of the session that this one does not see, in containers.

    Returns
    -------
    ForeignUse or None
        None where the system does not tell.
    """
    elapsed_s = after.at_s - before.at_s
    seen = [cpu for cpu in cpus if cpu in before.unused_s and cpu in after.unused_s]
    if not seen or elapsed_s <= 0:
        return None
    used_s = sum(max(0.0, elapsed_s - (after.unused_s[cpu] - before.unused_s[cpu])) for cpu in seen)
    taken_s = {number: _taken_s(before.processes.get(number), now) for number, now in after.processes.items()}
    own_s = unlisted_s + sum(taken_s.get(number, 0.0) for number in ours)
    cores = max(0.0, used_s - own_s) / elapsed_s
    if unlisted_s:  # one of those that others seem to be may be ours
        return ForeignUse(cores, len(seen))
    groups: dict[int, float] = {}
    for number, one_s in taken_s.items():
        if number not in ours:
            group = after.processes[number].group
            groups[group] = groups.get(group, 0.0) + one_s
    if not groups:
        return ForeignUse(cores, len(seen))
    most = max(groups, key=lambda group: groups[group])
    members = [number for number in taken_s if after.processes[number].group == most and number not in ours]
    name = after.processes[max(members, key=lambda number: taken_s[number])].name
    return ForeignUse(cores, len(seen), most, name, min(float(len(seen)), groups[most] / elapsed_s))


def judge_contention(
    waits: Sequence[Wait],
    foreign: ForeignUse | None,
    needed_cores: int,
    load_average: float,
    tolerances: Tolerances,
) -> str | None:
    """Why a host was too busy for a trial, in a sentence; None where it was not.

    Parameters
    ----------
    waits
        Of the requests whose tiers tell it.
    foreign
        What others took of the host during the requests, where that is known.
    needed_cores
        How many cores the tiers compute on at the same time, and one for the client and the links.
    load_average
        Of the host.
    tolerances
        `cpu_wait`, `waiting_requests` and `foreign_cores`.

    Examples
    --------
    >>> from pytest_edgeai.settings_tables import Tolerances
    >>> waits = [Wait(latency_s=0.010, computed_s=0.010, waited_s=0.004, effect_s=0.004)] * 5
    >>> judge_contention(waits, ForeignUse(0.4, 2), 2, 2.1, Tolerances())
    'the host was busy: compute waited 40 % of its time for a core; load 2.1; other processes took 0.4 of 2 cores'
    """
    waiting = bool(waits) and marked(waits, tolerances) > tolerances.waiting_requests * len(waits)
    crowded = foreign is not None and lacking_cores(foreign, needed_cores) > tolerances.foreign_cores
    if not (waiting or crowded):
        return None
    parts = []
    if waiting:
        share = sum(one.waited_s for one in waits) / sum(one.computed_s for one in waits)
        parts.append(f"compute waited {share:.0%} of its time for a core".replace("%", " %"))
    if crowded:
        parts.append(f"{needed_cores} cores are needed for the tiers that compute, the client and the links")
    parts.append(f"load {load_average:.1f}")
    if foreign is not None and foreign.cores >= _WORTH_NAMING_CORES:
        parts.append(foreign.sentence)
    return "the host was busy: " + "; ".join(parts)


def marked(waits: Iterable[Wait], tolerances: Tolerances) -> int:
    """How many requests waited for a core more than the tolerated share of their latency."""
    return sum(one.effect_s > tolerances.cpu_wait * one.latency_s for one in waits)


def lacking_cores(foreign: ForeignUse, needed_cores: int) -> float:
    """How many of the cores that are needed others had; a host that has fewer than are needed lacks none for that."""
    return min(needed_cores, foreign.of) - (foreign.of - foreign.cores)


def judge_speed(
    reference: Mapping[str, Mapping[str, float]], earlier: Mapping[str, Sequence[float]], tolerance: float
) -> str | None:
    """Why a host computed too slowly in a trial, judged by what is known so far; None where it did not.

    Parameters
    ----------
    reference
        The trial's, by tier or node, as `TrialRecord.reference` has it.
    earlier
        Of other trials by tier: their slower references in CPU seconds, as `slower_references` makes them.
    tolerance
        How much slower than the fastest quarter of them is tolerated.
    """
    slow: list[tuple[float, str]] = []
    for tier, (here_s,) in slower_references([reference]).items():
        others_s = earlier.get(tier, ())
        if len(others_s) >= LEAST_REFERENCES:
            slow.append((here_s / _fastest_quartile(others_s), tier))
    factor, tier = max(slow, default=(0.0, ""))
    if factor <= 1 + tolerance:
        return None
    return f"the host computed {factor:.2g} times slower than in its other trials (the reference on tier {tier})"


def judge_speeds(references: Mapping[Key, Mapping[str, Mapping[str, float]]], tolerance: float) -> dict[Key, str]:
    """Judge all trials of a session once more by all that is known at its end; the sentences by trial.

    Parameters
    ----------
    references
        `TrialRecord.reference` of all trials, valid or not.
    tolerance
        How much slower than the fastest quarter of trials is tolerated.
    """
    every = slower_references(references.values())
    judged = {trial: judge_speed(reference, every, tolerance) for trial, reference in references.items()}
    return {trial: sentence for trial, sentence in judged.items() if sentence is not None}


def speed_remark(references: Sequence[Mapping[str, Mapping[str, float]]]) -> str:
    """A sentence where a host computed unevenly from trial to trial, though not too much; empty where it did not.

    Parameters
    ----------
    references
        `TrialRecord.reference` of the valid trials.
    """
    usual_s = {
        tier: _fastest_quartile(values_s)
        for tier, values_s in slower_references(references).items()
        if len(values_s) >= LEAST_REFERENCES
    }
    factors = [
        max(
            (one_s / usual_s[tier] for tier, (one_s,) in slower_references([one]).items() if tier in usual_s), default=1
        )
        for one in references
    ]
    slow = [factor for factor in factors if factor > 1 + _REMARKABLE_SLOWNESS]
    if not slow:
        return ""
    return (
        f"the host computed up to {max(slow):.2g} times slower than usual in {len(slow)} of {len(references)} valid "
        "trials (the reference computation): latencies that are mostly compute differ by as much between trials"
    )


def slower_references(references: Iterable[Mapping[str, Mapping[str, float]]]) -> dict[str, list[float]]:
    """By tier, what the fixed computation took in each trial: before or after its requests, whichever was slower.

    Of several nodes the slowest counts.
    """
    found: dict[str, list[float]] = {}
    for reference in references:
        by_tier: dict[str, float] = {}
        for place, one in reference.items():
            slower_s = max(one["before_cpu_s"], one["after_cpu_s"])
            by_tier[tier_of(place)] = max(slower_s, by_tier.get(tier_of(place), 0.0))
        for tier, slower_s in by_tier.items():
            found.setdefault(tier, []).append(slower_s)
    return found


def _fastest_quartile(values_s: Sequence[float]) -> float:
    return statistics.quantiles(values_s, n=4, method="inclusive")[0]


def _taken_s(before: Process | None, now: Process) -> float:
    """What a process took since before; of one that was not there then, all."""
    is_same = before is not None and before.started == now.started
    return now.cpu_s - before.cpu_s if is_same and before is not None else now.cpu_s
