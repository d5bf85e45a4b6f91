"""Whether a tier has the limits that it was given: what it says of itself against what was asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_edgeai.tiers.allotment import Allotment
from pytest_edgeai.tiers.backend import CUDA, TierError, TierState


def own_cpus() -> list[int]:
    """The cores of this host that may be used."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]


def prove(
    tier: str,
    allotment: Allotment,
    limits: Mapping[str, Any],
    *,
    cpus: Sequence[int] | None,
    memory: bool,
    turns: bool = False,
    quota_cores: float | None = None,
) -> TierState:
    """The state of a tier whose limits are as they should be.

    Parameters
    ----------
    tier
        Its name.
    allotment
        What it was given.
    limits
        What it says.
    cpus
        The cores that it was given, or None where it could not be given any.
    memory
        Whether its memory was limited.
    turns
        Whether it is to compute in turn with other nodes.
    quota_cores
        Its CPU quota, or None where it has none.

    Raises
    ------
    TierError
        It has something else than it was given.
    """
    expected: dict[str, object] = {"threads": allotment.threads, "compute_scale": allotment.compute_scale}
    expected["takes_turns"] = turns
    unproven = []
    if cpus is None:
        unproven.append("cores")
    else:
        expected["cpus"] = list(cpus)
    if quota_cores is not None:
        expected["cpu_quota_cores"] = quota_cores
    for key, value in expected.items():
        if limits[key] != value:
            raise TierError(f"tier {tier} was given {key} {value} and has {limits[key]}")
    if allotment.gpu != "no":
        ran = list(dict.fromkeys(name for names in limits["providers"].values() for name in names))
        if limits["providers"] and CUDA not in ran:
            if allotment.gpu == "require":
                raise TierError(f"tier {tier} requires a GPU, and its models run on {', '.join(ran)}")
            unproven.append(f"GPU (its models run on {', '.join(ran)})")
    if not memory:
        unproven.append("memory")
    else:
        page = os.sysconf("SC_PAGE_SIZE")  # to which the kernel rounds
        given, has = allotment.memory_bytes, limits["memory_bytes"]
        if has is None or abs(has - given) >= page:
            raise TierError(f"tier {tier} was given {given} bytes of memory and has {has or 'no limit'}")
    return TierState(tier, limits, tuple(unproven))
