"""What a measured strategy would take on other links, on tiers of other speed, or with other payloads.

A request keeps what was measured of it, and only what the change concerns is put in the place of what it was: the time
on links by their rate, delay and the lengths of messages, and the stretch of compute by the compute scale.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.decisions.measured_trials import HostTimes, MeasuredTrial, PredictionError
from pytest_edgeai.decisions.quantiles import Interval, percentile_interval
from pytest_edgeai.wire.links import LinkShape
from pytest_edgeai.wire.round_trips import Exchange, round_trip_s


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be different.

    Parameters
    ----------
    links
        Other links, by hop.
    scales
        Other compute scales, by tier.
    payload_bytes
        The length of requests on the way to the first tier that computes, heads included; None leaves it.
    """

    links: Mapping[str, LinkShape] = field(default_factory=dict)
    scales: Mapping[str, float] = field(default_factory=dict)
    payload_bytes: float | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Under what a strategy was measured.

    Parameters
    ----------
    placement
        Where it runs: tiers in the order of its parts.
    links
        The links, by hop.
    hosts
        What the host takes on each hop by itself; empty where links do not hide it.
    """

    placement: tuple[str, ...]
    links: Mapping[str, LinkShape]
    hosts: Mapping[str, HostTimes] = field(default_factory=dict)


def predict(
    trials: Sequence[MeasuredTrial], around: Surroundings, change: Change, percentile: float = 50.0
) -> Interval:
    """The percentile of latency after a change.

    Parameters
    ----------
    trials
        The measured trials of the strategy.
    around
        Under what they were measured.
    change
        What is different.
    percentile
        Of latency.

    Returns
    -------
    Interval
        By the spread of the trials (`percentile_interval`), and at either end by the error that probes show the model
        of each changed link to have.

    Raises
    ------
    PredictionError
        The change cannot be predicted from these trials.
    """
    predicted = percentile_interval([_requests(trial, around, change) for trial in trials], percentile)
    return predicted.widened(_error_s(trials, around, change))


def latency_after(
    trials: Sequence[MeasuredTrial], around: Surroundings, change: Change, percentile: float = 50.0
) -> float:
    """As `predict`, without the interval, which takes longer."""
    return float(np.percentile(np.concatenate([_requests(trial, around, change) for trial in trials]), percentile))


def _requests(trial: MeasuredTrial, around: Surroundings, change: Change) -> Array:
    """The latency of each request after the change."""
    latency_s = trial.latency_s
    for tier, scale in change.scales.items():
        if tier in trial.computed_s:
            if tier not in trial.scales:
                raise PredictionError(f"tier {tier} does not tell by how much its compute was stretched")
            latency_s = latency_s + trial.computed_s[tier] * (scale - trial.scales[tier])
    if change.links or change.payload_bytes is not None:
        carries = _carrying(trial, around.placement)
        before, after = (_exchanges(trial, around, one, carries) for one in (Change(), change))
        latency_s = latency_s + round_trip_s(after) - round_trip_s(before)
    return latency_s


def _carrying(trial: MeasuredTrial, placement: Sequence[str]) -> frozenset[str]:
    """The hops that the input crosses: those on the way to the first tier that computes."""
    hops = list(trial.sent_bytes)
    for number, hop in enumerate(hops):
        if hop.split("-")[1] == placement[0]:
            return frozenset(hops[: number + 1])
    return frozenset()


def _exchanges(trial: MeasuredTrial, around: Surroundings, change: Change, carries: frozenset[str]) -> list[Exchange]:
    """What the requests do on each of their hops."""
    exchanges = []
    for hop, sent_bytes in trial.sent_bytes.items():
        if hop in carries and change.payload_bytes is not None:
            sent_bytes = np.full_like(sent_bytes, change.payload_bytes)
        received_bytes, host = trial.received_bytes[hop], around.hosts.get(hop, HostTimes())
        shape = change.links.get(hop, around.links[hop])
        exchanges.append(
            Exchange(shape, sent_bytes, received_bytes, host.up.of(sent_bytes), host.down.of(received_bytes))
        )
    return exchanges


def _error_s(trials: Sequence[MeasuredTrial], around: Surroundings, change: Change) -> float:
    """The error of the model of all links that change and that these requests cross."""
    crossed = {hop for trial in trials for hop in trial.sent_bytes}
    changed = crossed if change.payload_bytes is not None else crossed & change.links.keys()
    return sum(around.hosts[hop].up.error_s + around.hosts[hop].down.error_s for hop in changed if hop in around.hosts)


def scale_for(tier: str, cores: float, declared_cores: float, scale: float) -> float:
    """The compute scale that a tier would have with another number of declared cores.

    The scale stands for the ratio of declared cores to those that it has of the host: compute takes longer by as much
    as the cores are fewer, and all of a tier's cores are used equally well.

    Parameters
    ----------
    tier
        Its name.
    cores
        How many it is to have.
    declared_cores, scale
        As it was measured.

    Raises
    ------
    PredictionError
        It would be faster than the core that it was measured on.
    """
    wanted = scale * declared_cores / cores
    if wanted < 1:
        raise PredictionError(
            f"{tier} with {cores:g} cores cannot be predicted: it would be {1 / wanted:.3g} times as fast as the "
            "host's cores that it was measured on; measure it with these cores"
        )
    return wanted


@dataclass(frozen=True, slots=True)
class Best:
    """The best of several strategies over a range of values, for example of rates.

    Parameters
    ----------
    name
        Which.
    low, high
        Where it is the best.
    """

    name: str
    low: float
    high: float


def best_over_rates(
    predicted: Mapping[str, Callable[[float], float]], low_bps: float, high_bps: float, *, points: int = 200
) -> tuple[Best, ...]:
    """Which strategy is predicted to be the fastest over a range of rates, and where another one becomes it.

    Parameters
    ----------
    predicted
        The latency of each strategy at a rate.
    low_bps, high_bps
        The range.
    points
        At how many rates, evenly spaced on a logarithmic scale, they are compared; where the best changes between two,
        the crossing is found by bisection.

    Returns
    -------
    tuple of Best
        From the lowest rate to the highest; each begins where the one before ends. Equal strategies: the first by name.
    """
    rates = np.geomspace(low_bps, high_bps, points)
    rates[0], rates[-1] = low_bps, high_bps

    def best_at(rate_bps: float) -> str:
        return min(sorted(predicted), key=lambda name: predicted[name](rate_bps))

    found = [Best(best_at(low_bps), low_bps, low_bps)]
    for before, after in itertools.pairwise(rates):
        _extend(found, best_at, float(before), float(after), best_at(float(after)))
    return tuple(found)


def _extend(found: list[Best], best_at: Callable[[float], str], low: float, high: float, name: str) -> None:
    """Add what is the best from the last rate so far to a higher one, at which it is this one."""
    last = found[-1]
    if name == last.name:
        found[-1] = Best(name, last.low, high)
        return
    left, right, there = low, high, name
    while right - left > 1e-9 * right:
        middle = (left * right) ** 0.5
        if not left < middle < right:
            break
        now = best_at(middle)
        if now == last.name:
            left = middle
        else:
            right, there = middle, now
    found[-1] = Best(last.name, last.low, right)
    found.append(Best(there, right, right))
    _extend(found, best_at, right, high, name)
