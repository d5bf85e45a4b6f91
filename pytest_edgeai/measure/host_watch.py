"""Watches the host while a trial is made: four moments, and what the tiers compute the reference in.

Everything is read between the timed requests and the proofs, never inside a request.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_edgeai.measure.contention import ForeignUse, foreign_use
from pytest_edgeai.measure.host import Moment, family_of, in_namespaces, load_average, observe, usable_cpus
from pytest_edgeai.serving.limits import whereabouts
from pytest_edgeai.tiers.backend import TierState

_CLOCKS = ("cpu_s", "wall_s")
_SHORTEST_S = 0.2
"""CPU time is told in hundredths of a second: of less time than this it says nothing."""


class HostWatch:
    """Begins when it is made."""

    def __init__(self) -> None:
        self._moments = [observe()]

    def mark(self) -> None:
        """Note a moment: before the requests, after them, and at the end."""
        self._moments.append(observe())

    def foreign_use(self, before: Sequence[TierState], after: Sequence[TierState]) -> ForeignUse | None:
        """What others took of the host during the requests, or in the whole trial where these took no time.

        Parameters
        ----------
        before, after
            What the tiers said of themselves.
        """
        first, last = self._window()
        here = whereabouts()
        states = [one for one in zip(before, after, strict=True) if one[1].limits.get("boot", "") == here["boot"]]
        cpus = {*usable_cpus(), *(cpu for _, now in states for cpu in now.limits.get("cpus", ()))}
        contained = [one for one in states if one[1].limits.get("pid_namespace") != here["pid_namespace"]]
        namespaces = {str(now.limits.get("pid_namespace")) for _, now in contained}
        family = family_of(os.getpid(), last.processes)
        found = in_namespaces(namespaces, last.processes.keys() - family)
        unlisted_s = sum(
            now.limits["cpu_s"] - then.limits["cpu_s"]
            for then, now in contained
            if now.limits.get("pid_namespace") not in found.values()
        )
        return foreign_use(first, last, cpus, family | found.keys(), unlisted_s)

    def record(self, before: Sequence[TierState], after: Sequence[TierState]) -> dict[str, float | None]:
        """What a record says of the host."""
        first, last = self._window()
        whole = (self._moments[0].stolen_s, self._moments[-1].stolen_s)
        return {
            "load_average": load_average(),
            "stolen_s": _difference(*whole),
            "pressure_s": _difference(first.pressure_s, last.pressure_s),
            "throttled_s": _summed("throttled_s", before, after),
            "nr_throttled": _summed("nr_throttled", before, after),
        }

    def _window(self) -> tuple[Moment, Moment]:
        began, ready, done, ended = self._moments
        return (ready, done) if done.at_s - ready.at_s >= _SHORTEST_S else (began, ended)


def needed_cores(states: Iterable[TierState]) -> int:
    """How many cores of this host tiers compute on at the same time, and one for the client and the links."""
    boot = whereabouts()["boot"]
    limits = [state.limits for state in states if state.limits.get("boot", "") == boot]
    cpus = {cpu for one in limits for cpu in one["cpus"]}
    return 1 + min(len(cpus), sum(one["threads"] for one in limits)) if cpus else 1


def reference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """What a record says of the reference: by tier or node, seconds of its fastest runs, and of its median ones.

    `cpu_s` and `wall_s`, and their medians, are the means of before and after the requests.
    """
    return {
        place: {
            **{key: (before[place]["fastest"][key] + last["fastest"][key]) / 2 for key in _CLOCKS},
            "before_cpu_s": before[place]["fastest"]["cpu_s"],
            "after_cpu_s": last["fastest"]["cpu_s"],
            **{f"median_{key}": (before[place]["median"][key] + last["median"][key]) / 2 for key in _CLOCKS},
        }
        for place, last in after.items()
        if place in before
    }


def _summed(key: str, before: Sequence[TierState], after: Sequence[TierState]) -> float | None:
    """By how much a count of the tiers grew; None where no tier tells it."""
    grown = [_difference(then.limits.get(key), now.limits.get(key)) for then, now in zip(before, after, strict=True)]
    known = [one for one in grown if one is not None]
    return sum(known) if known else None


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before
