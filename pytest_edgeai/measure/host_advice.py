"""What measurements of a host mean for measuring on it, and what to change. Pure functions."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from pytest_edgeai.measure.findings import Finding
from pytest_edgeai.measure.host_checks import LINKS, HeldLink, HostChecks

_SLOW_WAKE_UP_S = 0.3e-3
_LINK_ERROR_S, _LINK_ERROR = 0.3e-3, 0.01
_OVERSLEPT_S = 0.3e-3
_SPREAD, _DRIFT, _SIDE_BY_SIDE = 0.25, 0.10, 1.3
_FOREIGN_CORES = 0.5
_STOLEN = 0.02


def advise(checks: HostChecks) -> Iterator[Finding]:
    """A finding for each thing that was measured."""
    yield _waking(checks)
    yield _loopback(checks)
    yield _links(checks)
    yield _sleeping(checks)
    yield from _computing(checks)
    yield _others(checks)


def _waking(checks: HostChecks) -> Finding:
    figures = {"rested_s": checks.rested_s, "awake_s": checks.awake_s}
    words = (
        f"4 kB to another process and back take {_ms(checks.rested_s)} after a rest of 50 ms, "
        f"{_ms(checks.awake_s)} without"
    )
    if checks.rested_s <= _SLOW_WAKE_UP_S:
        return Finding("waking up", "fine", words, figures)
    return Finding(
        "waking up",
        "limited",
        f"{words}: cores are slow to wake up, which counts where requests are short; {_wake_advice(checks)}",
        figures,
    )


def _wake_advice(checks: HostChecks) -> str:
    if checks.governor and checks.governor != "performance":
        return (
            f"the clock rate's governor is {checks.governor}: set it to performance (cpupower frequency-set -g "
            "performance), and power saving off"
        )
    if checks.idle_driver == "haltpoll":
        return (
            "on this virtual machine, have idle cores poll for longer "
            "(/sys/module/haltpoll/parameters/guest_halt_poll_ns), or use a host of your own"
        )
    return "forbid deep idle states (cpupower idle-set -D 10), or use a host that saves less power"


def _loopback(checks: HostChecks) -> Finding:
    words = ", ".join(f"{_bytes(size)} {_ms(seconds)}" for size, seconds in checks.loopback_s.items())
    largest = max(checks.loopback_s)
    rate_bps = largest * 8 / checks.loopback_s[largest]
    figures = {f"{size}_bytes_s": seconds for size, seconds in checks.loopback_s.items()}
    return Finding("loopback", "fine", f"{words}, which is {rate_bps / 1e9:.1f} Gbit/s", figures)


def _links(checks: HostChecks) -> Finding:
    words = ", ".join(
        f"{_bytes(link.size_bytes)} at {link.rate_bps / 1e6:g} Mbit/s {link.error_s * 1e3:+.2f} ms of "
        f"{link.ideal_s * 1e3:.3g}"
        for link in checks.links
    )
    figures = {f"{link.size_bytes}_bytes_at_{link.rate_bps:.0f}_bps_error_s": link.error_s for link in checks.links}
    missed = [link for link in checks.links if _misses(link)]
    if not missed:
        return Finding("links", "fine", f"messages are held to within 0.3 ms or 1 %: {words}", figures)
    named = " and ".join(sorted({f"{link.rate_bps / 1e6:g} Mbit/s" for link in missed}))
    return Finding("links", "limited", f"{len(missed)} of {len(LINKS)} are late by more, at {named}: {words}", figures)


def _misses(link: HeldLink) -> bool:
    return abs(link.error_s) > max(_LINK_ERROR_S, _LINK_ERROR * link.ideal_s)


def _sleeping(checks: HostChecks) -> Finding:
    *_, late = statistics.quantiles(checks.overslept_s, n=20)
    median = statistics.median(checks.overslept_s)
    words = f"a sleep of 1 ms ends {_ms(median)} late, one of twenty {_ms(late)}"
    figures = {"median_s": median, "p95_s": late}
    return Finding("sleeping", "fine" if late <= _OVERSLEPT_S else "limited", words, figures)


def _computing(checks: HostChecks) -> Iterator[Finding]:
    runs = checks.computed_s
    low, *_, high = statistics.quantiles(runs, n=10)
    median, half = statistics.median(runs), len(runs) // 2
    spread = (high - low) / median
    drift = statistics.median(runs[half:]) / statistics.median(runs[:half]) - 1
    words = (
        f"a fixed computation takes {_ms(median)}, eight of ten between {_ms(low)} and {_ms(high)}; the second half "
        f"took {drift:+.0%} of the first".replace("%", " %")
    )
    figures = {"median_s": median, "p10_s": low, "p90_s": high, "drift": drift}
    if spread <= _SPREAD and abs(drift) <= _DRIFT:
        yield Finding("computing", "fine", words, figures)
    else:
        yield Finding(
            "computing",
            "limited",
            f"{words}: the host is noisy, so trials will be measured again or differ; end other processes, "
            "and on a virtual machine ask for cores of your own",
            figures,
        )
    if len(checks.side_by_side_s) > 1:
        factor = max(checks.side_by_side_s) / median
        cores = len(checks.side_by_side_s)
        words = f"on all {cores} cores at the same time it takes {factor:.2g} times as long"
        if factor <= _SIDE_BY_SIDE:
            yield Finding("side by side", "fine", words, {"factor": factor})
        else:
            yield Finding(
                "side by side",
                "limited",
                f"{words}: cores share what they compute with (two threads of one core, caches, memory); give tiers "
                "fewer cores (topology.tiers.*.cores), or turn simultaneous multithreading off",
                {"factor": factor},
            )


def _others(checks: HostChecks) -> Finding:
    foreign, stolen = checks.foreign, checks.stolen_share or 0.0
    figures = {"load_average": checks.load_average}
    if checks.stolen_share is not None:
        figures["stolen_share"] = checks.stolen_share
    if foreign is None:
        return Finding("others", "limited", "this system does not tell what other processes take", figures)
    figures["foreign_cores"] = foreign.cores
    words = f"other processes take {foreign.cores:.1f} of {foreign.of} cores, load {checks.load_average:.1f}"
    troubles = []
    if foreign.cores > _FOREIGN_CORES:
        troubles.append(f"{foreign.sentence}: end it, or measure when it has ended")
    if stolen > _STOLEN:
        troubles.append(f"the hypervisor gives {stolen:.0%} to others".replace("%", " %"))
    return Finding("others", "limited" if troubles else "fine", "; ".join([words, *troubles]), figures)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2g} ms" if seconds < 0.1 else f"{seconds * 1e3:.0f} ms"


def _bytes(size: int) -> str:
    return f"{size / 1e6:g} MB" if size >= 1e6 else f"{size / 1e3:g} kB"
