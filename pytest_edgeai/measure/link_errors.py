"""By how much links could have changed the requests of a trial. Pure functions.

Two independent ways lead to the same figure. The probes tell how far each link is off for messages as long as these
requests and answers; and the requests themselves were as long on the way as they were, against what rate and delay give
for their own bytes. Where the links are held, each answer also says by how much it was late.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from pytest_edgeai.tiers.probe import Probe, net_error_s
from pytest_edgeai.wire.links import LinkShape

UNTOLD_S = 0.3e-3
"""What a tier may take on each hop that none of its spans tells: reading heads, handing on, caches that have cooled."""
REMARKABLE_RATE_ERROR = 0.03
"""A link that is off by more than this share of its rate is remarked upon, though it changes nothing."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """What one request did on one hop.

    Parameters
    ----------
    hop
        The hop's name.
    duration_s
        Its `transmit` span in seconds.
    sent_bytes, received_bytes
        The lengths of the request and of the answer, heads included.
    """

    hop: str
    duration_s: float
    sent_bytes: int
    received_bytes: int


@dataclass(frozen=True, slots=True)
class LinkErrors:
    """By how many seconds links changed the requests of a trial; positive is too slow.

    Parameters
    ----------
    probed_s
        As the probes say: the sum over all links and directions, without regard to their signs.
    requests_s
        As the requests themselves say: the median over requests of what they were longer on the way than the links
        should take, net of what the host itself costs and of what tiers do between their spans (`UNTOLD_S`).
    late_s
        As answers over held links say: their median lateness, net of what the host itself costs.
    ideal_s
        What rate, delay and bytes give for a request and its answer, on all links: the median.
    """

    probed_s: float
    requests_s: float
    late_s: float
    ideal_s: float = 0.0

    @property
    def largest_s(self) -> float:
        """The one that is farthest from none."""
        return max((self.probed_s, self.requests_s, self.late_s), key=abs)


def estimate_link_errors(
    requests: Sequence[Sequence[Crossing]],
    late_s: Iterable[float],
    shapes: Mapping[str, LinkShape],
    probes: Iterable[Probe],
) -> LinkErrors | None:
    """Estimate by how much links changed the requests of a trial.

    Parameters
    ----------
    requests
        The hops of each request.
    late_s
        By how many seconds each answer was late.
    shapes
        The links as declared, by hop.
    probes
        What the probes found.

    Returns
    -------
    LinkErrors or None
        None where requests cross no link, or the lengths of messages are not told.
    """
    crossings = [[one for one in hops if one.hop in shapes] for hops in requests]
    if not crossings or not all(crossings):
        return None
    found: dict[str, list[Probe]] = {}
    for probe in probes:
        found.setdefault(probe.link, []).append(probe)
    probed_s, net_s, ideals_s, lates_s = [], [], [], []
    for hops, one_late_s in zip(crossings, late_s, strict=True):
        error_s = host_s = spread_s = on_the_way_s = ideal_s = 0.0
        for one in hops:
            shape = shapes[one.hop]
            on_the_way_s += one.duration_s
            ideal_s += shape.ideal_s(one.sent_bytes) + shape.ideal_s(one.received_bytes)
            for probe in found.get(one.hop, ()):
                is_up = probe.direction == "up"
                size_bytes = one.sent_bytes if is_up else one.received_bytes
                error_s += abs(probe.error_s(size_bytes))
                # An exchange costs the host something once; the longer answer only what it is longer.
                host_s += probe.host_s(size_bytes) if is_up else max(0.0, probe.host_s(size_bytes) - probe.small.host_s)
                spread_s += probe.small.spread_s
        probed_s.append(error_s)
        net_s.append(net_error_s(on_the_way_s - ideal_s, host_s + UNTOLD_S * len(hops), spread_s))
        lates_s.append(net_error_s(one_late_s, host_s))
        ideals_s.append(ideal_s)
    return LinkErrors(median(probed_s), median(net_s), median(lates_s), median(ideals_s))


def judge_link_errors(
    errors: LinkErrors, latency_s: float, tolerance: float, floor_s: float, probes: Sequence[Probe]
) -> tuple[str, tuple[str, ...]]:
    """Whether links could have changed a trial's latency by more than is tolerated.

    Parameters
    ----------
    errors
        What links did to the requests.
    latency_s
        The trial's median latency.
    tolerance
        The share of it that is tolerated.
    floor_s
        The seconds that are tolerated whatever their share: links cannot be probed any better.
    probes
        What the probes found, for the sentences.

    Returns
    -------
    reason, remarks
        Why the trial is invalid, or empty; and sentences about links that are off without changing anything.
    """
    share = errors.largest_s / latency_s
    tolerated_s = max(tolerance * latency_s, floor_s)
    off = [probe for probe in probes if abs(probe.rate_error) > REMARKABLE_RATE_ERROR]
    if abs(errors.largest_s) > tolerated_s:
        more = "".join(f"; {probe.sentence()}" for probe in off)
        how = "longer" if share > 0 else "shorter"
        return (
            f"the links made requests {abs(errors.largest_s) * 1e3:.3g} ms {how}, {abs(share):.1%} of their latency, "
            f"where {_tolerance_words(tolerance, floor_s, latency_s)}{more}",
            (),
        )
    if abs(share) > tolerance:
        remark = (
            f"links contribute up to {abs(errors.largest_s) * 1e3:.2g} ms to its latency, {abs(share):.1%}, which is "
            f"within the {floor_s * 1e3:g} ms that links cannot be probed better than (tolerances.link_floor_s)"
        )
        return "", (remark,)
    return "", tuple(
        f"{probe.sentence()}; that changes these requests by {abs(share):.1%}, which is tolerated" for probe in off
    )


def _tolerance_words(tolerance: float, floor_s: float, latency_s: float) -> str:
    """What is tolerated, and which setting says it."""
    if floor_s > tolerance * latency_s:
        return f"{floor_s * 1e3:g} ms are tolerated (tolerances.link_floor_s)"
    return f"{tolerance:.1%} are tolerated (tolerances.link_share)"


def floor_remark(shares: Mapping[str, tuple[float, float]], tolerance: float) -> str:
    """A sentence about strategies that are so fast that links may be a large part of what they differ by; or empty.

    Parameters
    ----------
    shares
        Of each strategy, the largest error of links in a valid trial, in seconds and as a share of that latency.
    tolerance
        The share that is tolerated of longer latencies.
    """
    short = {name: one for name, one in shares.items() if one[1] > tolerance}
    if not short:
        return ""
    name, (seconds, share) = max(short.items(), key=lambda one: one[1][1])
    return (
        f"links contribute up to {seconds * 1e3:.2g} ms to the latency of {', '.join(sorted(short))}, {share:.1%} of "
        f"the median of {name}: differences from other tiers or versions that are smaller than that are not proven"
    )


def link_remarks(trials: Sequence[tuple[Sequence[Probe], float]]) -> tuple[str, ...]:
    """Sentences about links that were off in trials in which that changed next to nothing.

    Parameters
    ----------
    trials
        What the probes of each valid trial found, and by what share links may have changed its latency.
    """
    off: dict[tuple[str, str], list[tuple[Probe, float]]] = {}
    for probes, share in trials:
        for probe in probes:
            if abs(probe.rate_error) > REMARKABLE_RATE_ERROR:
                off.setdefault((probe.link, probe.direction), []).append((probe, abs(share)))
    remarks = []
    for (link, direction), found in off.items():
        worst = max((probe for probe, _ in found), key=lambda probe: abs(probe.rate_error))
        how = "slow" if worst.rate_error > 0 else "fast"
        remarks.append(
            f"link {link} {direction} was up to {abs(worst.rate_error):.1%} too {how} in {len(found)} of {len(trials)} "
            f"valid trials; that changed their latencies by {max(share for _, share in found):.1%} at most"
        )
    return tuple(remarks)
