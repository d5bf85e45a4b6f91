"""Whether an operator that promises speed keeps its promise: its compute against the baseline's on the same tier."""

from __future__ import annotations

import math

from pytest_edgeai.verdicts import Verdict


def judge_benefit(compute_s: float, baseline_compute_s: float) -> Verdict:
    """Judge by the compute span alone: links are the same for both, and latency has budgets of its own.

    Parameters
    ----------
    compute_s
        Median compute span of a request.
    baseline_compute_s
        The baseline's, in the same session on the same tier. NaN where it was not measured: then nothing is said.

    Returns
    -------
    Verdict
        `no benefit` where computing takes as long as the baseline's or longer, else pass. It is not red: whether the
        artifact is fast enough is for latency budgets to say.
    """
    if math.isnan(compute_s) or math.isnan(baseline_compute_s) or compute_s < baseline_compute_s:
        return Verdict("pass")
    return Verdict(
        "no benefit",
        f"computing takes {compute_s * 1e3:.2f} ms, the baseline's {baseline_compute_s * 1e3:.2f} ms "
        f"(× {compute_s / baseline_compute_s:.2f})",
    )
