"""The control of a comparison: the plugin's own reference computation, by which the machine is told from the code."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pytest_edgeai.versions.recording import RecordedStrategy


def control_shifts(before: Mapping[str, RecordedStrategy], after: Mapping[str, RecordedStrategy]) -> dict[str, float]:
    """By strategy, by how much the logarithm of the reference computation on its tiers changed; the largest change.

    All trials of a session tell about a tier, whatever the strategy. A strategy of which a tier was not measured in
    both sessions is left out.
    """
    was, now = _medians_s(before.values()), _medians_s(after.values())
    shifts = {tier: math.log(now[tier] / was[tier]) for tier in now if tier in was}
    found = {}
    for name, strategy in after.items():
        tiers = {tier for trial in strategy.reference_s for tier in trial}
        if tiers and tiers <= shifts.keys():
            found[name] = max((shifts[tier] for tier in sorted(tiers)), key=abs)
    return found


def _medians_s(strategies: Iterable[RecordedStrategy]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for strategy in strategies:
        for trial in strategy.reference_s:
            for tier, seconds in trial.items():
                values.setdefault(tier, []).append(seconds)
    return {tier: float(np.median(seconds)) for tier, seconds in values.items()}
