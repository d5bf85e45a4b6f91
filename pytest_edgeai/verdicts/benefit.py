"""Whether an operator that promises speed keeps its promise: its compute against the baseline's on the same tier."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pytest_edgeai.verdicts import Verdict
from pytest_edgeai.verdicts.latency import CONFIDENCE, median_interval, trials_needed


def judge_benefit(
    compute_s: Mapping[int, float], baseline_compute_s: Mapping[int, float], *, min_change: float
) -> Verdict:
    """Judge by the compute span alone: links are the same for both, and latency has budgets of its own.

    Parameters
    ----------
    compute_s
        Median compute span of each valid trial, by its replicate.
    baseline_compute_s
        The baseline's, in the same session on the same tier; nothing is said where it was not measured.
    min_change
        The relative difference below which nothing is faster or slower.

    Returns
    -------
    Verdict
        `no benefit` where computing takes longer than the baseline's, pass without a reason where it takes less time,
        and pass with one where the trials do not decide it. None of them is red: whether the artifact is fast enough
        is for latency budgets to say.

    Notes
    -----
    A replicate is a block: its two trials are compared with each other, and the order-statistic interval of the median
    of their ratios (`median_interval`) has to lie on one side of 1.
    """
    shared = sorted(compute_s.keys() & baseline_compute_s.keys())
    if not shared:
        return Verdict("pass")
    ratios = [compute_s[replicate] / baseline_compute_s[replicate] for replicate in shared]
    low, high = median_interval(ratios)
    middle = float(np.median(ratios))
    if high < 1 and middle <= 1 / (1 + min_change):
        return Verdict("pass")
    sentence = f"computing takes × {middle:.2f} of the baseline's time"
    if low > 1 and middle >= 1 + min_change:
        return Verdict("no benefit", f"{sentence} (× {low:.2f} to × {high:.2f} over {len(ratios)} trials)")
    if len(ratios) < trials_needed():
        return Verdict(
            "pass",
            f"whether it computes faster is inconclusive: {len(ratios)} trials cannot show it, {trials_needed()} can",
        )
    return Verdict(
        "pass",
        f"whether it computes faster is inconclusive: {sentence}, with {100 * CONFIDENCE:g} % confidence × {low:.2f} "
        f"to × {high:.2f}, and less than {min_change:.0%} counts as nothing",
    )
