"""How often a tail budget passes though the percentile is at its limit, and how often where it is well below.

    python benchmarks/tails.py --sessions 10000
    python benchmarks/tails.py --sessions 10000 --further

Sessions are simulated: latencies are log-normal, requests of a trial depend on the one before, and trials have a level
of their own. A pass at the limit is false. With `--further`, sessions get further trials while they are undecided.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.stats.looks import Looks, plan_looks
from pytest_edgeai.verdicts import Outcome
from pytest_edgeai.verdicts.tails import judge_tail

TRIALS = ((3, 200), (10, 100), (30, 50))
"""Trials, and requests of each."""
FURTHER = ((5, 10), (10, 100))
"""The same, of sessions that get further trials."""
LIMIT = 2000
"""The most requests of those."""
KINDS = {"independent": (0.0, 0.0), "autocorrelation 0.6": (0.6, 0.0), "and trials differ": (0.6, 0.3)}
"""Autocorrelation of neighbouring requests; standard deviation of the trials' levels, as a share of the requests'."""


def sessions(count: int, trials: int, requests: int, kind: str, seed: int = 0) -> Iterator[list[Array]]:
    """Simulated sessions, whose latencies all have one distribution.

    Parameters
    ----------
    count, trials, requests
        How many.
    kind
        One of `KINDS`.
    seed
        Of the random numbers.
    """
    from scipy.signal import lfilter

    random = np.random.default_rng(seed)
    correlation, spread = KINDS[kind]
    for _ in range(count):
        noise = random.standard_normal((trials, requests + 1))
        step = np.sqrt(1 - correlation**2)
        following, _ = lfilter([step], [1, -correlation], noise[:, 1:], axis=1, zi=correlation * noise[:, :1])
        levels = spread * random.standard_normal((trials, 1))
        yield list(np.exp(0.1 * (following + levels) / np.sqrt(1 + spread**2)) * 0.01)


def limit_s(share: float) -> float:
    """The latency that this share of requests exceeds."""
    from scipy import stats

    return float(np.exp(0.1 * stats.norm.isf(share)) * 0.01)


def passes(percentile: int, share: float, count: int, trials: int, requests: int, kind: str) -> float:
    """How often a budget passes whose limit this share of requests exceeds."""
    found = [
        judge_tail(session, percentile, limit_s(share)).outcome == "pass"
        for session in sessions(count, trials, requests, kind)
    ]
    return float(np.mean(found))


def judged_with_further(session: list[Array], percentile: int, limit: float, looks: Looks) -> tuple[Outcome, int]:
    """What becomes of a budget if undecided sessions get further trials, and how many requests that takes.

    Parameters
    ----------
    session
        As many trials as there may be.
    percentile, limit
        The budget, in seconds.
    looks
        At how many trials it is judged.
    """
    for made in looks.trials:
        outcome = judge_tail(session[:made], percentile, limit, looks=looks).outcome
        if outcome != "inconclusive" or looks.after(made) is None:
            return outcome, made * len(session[0])
    raise ValueError("there is no look")


def passes_with_further(
    percentile: int, share: float, count: int, planned: int, requests: int, kind: str
) -> tuple[float, float]:
    """How often a budget passes whose limit this share of requests exceeds, and the requests that a session takes."""
    looks = plan_looks(planned, requests, [percentile], LIMIT)
    every = sessions(count, max(looks.trials), requests, kind)
    found = [judged_with_further(session, percentile, limit_s(share), looks) for session in every]
    return float(np.mean([outcome == "pass" for outcome, _ in found])), float(np.mean([made for _, made in found]))


def print_further(count: int) -> None:
    """Print the table of sessions that get further trials."""
    print("| percentile | planned | requests | false passes | passes at a fifth of the share | by requests |")
    print("| --- | --- | --- | --- | --- | --- |")
    for percentile, (planned, requests), kind in itertools.product((95, 99), FURTHER, KINDS):
        share = 1 - percentile / 100
        false, _ = passes_with_further(percentile, share, count, planned, requests, kind)
        true, made = passes_with_further(percentile, share / 5, count // 10, planned, requests, kind)
        row = f"{percentile} | {planned} × {requests} | {kind} | {false:.2%} | {true:.0%} | {made:.0f}"
        print(f"| {row} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=10_000, metavar="N", help="of each row (default: %(default)s)")
    parser.add_argument("--further", action="store_true", help="with further trials of what is undecided")
    asked = parser.parse_args()
    count = asked.sessions
    if asked.further:
        print_further(count)
        return
    print("| percentile | trials × requests | requests | passes at the limit | passes at a fifth of the share |")
    print("| --- | --- | --- | --- | --- |")
    for percentile, (trials, requests), kind in itertools.product((95, 99), TRIALS, KINDS):
        share = 1 - percentile / 100
        false = passes(percentile, share, count, trials, requests, kind)
        true = passes(percentile, share / 5, count // 10, trials, requests, kind)
        print(f"| {percentile} | {trials} × {requests} | {kind} | {false:.2%} | {true:.0%} |", flush=True)


if __name__ == "__main__":
    main()
