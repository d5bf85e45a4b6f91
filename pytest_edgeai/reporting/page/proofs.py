"""Proofs: what tiers were given and what they made of it, how exact the links were, and who else used the host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pytest_edgeai.reporting.cells import number, percent
from pytest_edgeai.reporting.page.parts import Row, Section, Table
from pytest_edgeai.reporting.page.results import Document, Results, keys_of, name_of
from pytest_edgeai.tiers.specs import tier_of

_MIB = 2**20
_INTRODUCTION = (
    "Limits are read back from inside the tiers before and after the requests, links are probed before them, and the "
    "host is watched meanwhile. Unproven is what was asked for and could not be read back."
)


def proofs(results: Results) -> Section:
    """Tiers, links and the host, from every valid trial."""
    valid = [trial for trials in results.valid_trials.values() for trial in trials]
    tables = [_tiers(results, valid), _links(valid), _link_errors(results), _host(results)]
    return Section("proofs", "Proofs", (_INTRODUCTION,), [table for table in tables if table.rows])


def _tiers(results: Results, valid: Sequence[Document]) -> Table:
    said: dict[str, list[Mapping[str, Any]]] = {}
    unproven: dict[str, dict[str, None]] = {}
    for trial in valid:
        for place, both in trial["tiers"].items():
            said.setdefault(tier_of(place), []).append(both)
        for sentence in trial["unproven"]:
            place, _, what = sentence.partition(": ")
            unproven.setdefault(tier_of(place), {})[what] = None
    asked, given = results.document["settings"]["topology"]["tiers"], results.document["tiers"]
    rows = []
    for tier, found in said.items():
        got = given.get(tier, {})
        after = [both["after"] for both in found]
        peaks = [one["peak_memory_bytes"] for one in after if one.get("peak_memory_bytes")]
        limits = sorted({one["memory_bytes"] for one in after if one.get("memory_bytes")})
        cores = sorted({len(one["cpus"]) for one in after if one.get("cpus")})
        stops = [_grown(both, "nr_throttled") for both in found if both["after"].get("nr_throttled") is not None]
        stopped_s = [_grown(both, "throttled_s") for both in found if both["after"].get("throttled_s") is not None]
        rows.append(
            Row(
                (
                    tier,
                    f"{asked[tier]['cores']:g}" if tier in asked else "–",
                    str(got.get("cores", "–")),
                    ", ".join(map(str, cores)) or "–",
                    f"{got['compute_scale']:g}" if "compute_scale" in got else "–",
                    ", ".join(f"{size / _MIB:.0f} MiB" for size in limits) or "–",
                    f"{max(peaks) / _MIB:.0f} MiB" if peaks else "–",
                    f"{sum(stops):g} times, {sum(stopped_s):.3f} s" if stops else "–",
                    ", ".join(unproven.get(tier, ())) or "nothing",
                ),
                state="inconclusive" if tier in unproven else "",
            )
        )
    headings = (
        "tier",
        "cores declared",
        "cores given",
        "cores read back",
        "compute scale",
        "memory limit read back",
        "peak memory",
        "throttled",
        "unproven",
    )
    return Table("tiers", "What each tier was given and what was read back, over all valid trials", headings, rows)


def _grown(both: Mapping[str, Mapping[str, Any]], key: str) -> float:
    return float(both["after"][key] - both["before"].get(key, 0))


def _links(valid: Sequence[Document]) -> Table:
    probes: dict[tuple[str, str], list[Document]] = {}
    for trial in valid:
        for probe in trial["probes"]:
            probes.setdefault((probe["link"], probe["direction"]), []).append(probe)
    rows = []
    for (link, direction), found in probes.items():
        rates = [one["rate_bps"] for one in found if one["rate_bps"]]
        rows.append(
            Row(
                (
                    f"{link} {direction}",
                    f"{rates[0] / 1e6:g} Mbit/s" if rates else "–",
                    str(len(found)),
                    _range([number(one["rate_error"]) for one in found], percent),
                    _range([number(one["small_error_s"]) for one in found], _microseconds),
                )
            )
        )
    headings = ("link", "declared rate", "probes", "error of the rate", "error of a small message")
    return Table("links", "What probes found of the links: smallest, median and largest", headings, rows)


def _link_errors(results: Results) -> Table:
    rows = []
    for one in results.strategies:
        trials = results.valid_trials.get(name_of(one), ())
        errors = [trial["link_errors"] for trial in trials if trial["link_errors"] is not None]
        if not errors or one["median_s"] is None:
            continue
        worst = one["link_error_s"]
        rows.append(
            Row(
                (
                    one["id"],
                    *(
                        _range([number(error[key]) for error in errors], _microseconds)
                        for key in ("probed_s", "requests_s", "late_s")
                    ),
                    "–" if worst is None else percent(worst / one["median_s"]),
                ),
                keys_of(name_of(one)),
            )
        )
    headings = ("strategy", "as probes say", "as the requests say", "lateness of answers", "largest, of the median")
    return Table("link-errors", "By how much links could have changed latencies", headings, rows)


def _host(results: Results) -> Table:
    """Contention, strategy by strategy."""
    shown = (
        ("load_average", "load average", lambda value: f"{value:.2f}"),
        ("foreign_cores", "cores that others took", lambda value: f"{value:.2f}"),
        ("stolen_s", "stolen CPU time", lambda value: f"{value:.3f} s"),
        ("pressure_s", "something waited for a core", lambda value: f"{value:.3f} s"),
        ("throttled_s", "throttled", lambda value: f"{value:.3f} s"),
        ("marked_requests", "marked requests", lambda value: f"{value:g}"),
    )
    rows = []
    for name, trials in results.valid_trials.items():
        hosts = [trial["host"] for trial in trials]
        cells = [_range([number(host.get(key)) for host in hosts], words) for key, _, words in shown]
        waited = [
            value / latency_s
            for trial in trials
            for value, latency_s in zip(trial["waited_s"], trial["latency_s"], strict=True)
            if value is not None
        ]
        cells.append(percent(float(np.median(waited))) if waited else "–")
        rows.append(Row(("-".join(name), *cells), keys_of(name)))
    headings = ("strategy", *(heading for _, heading, _ in shown), "waited for a core, of the latency")
    return Table("host-watch", "What else used the host during trials: smallest, median and largest", headings, rows)


def _microseconds(value_s: float) -> str:
    return f"{value_s * 1e6:.0f} µs"


def _range(values: Iterable[float], words: Any) -> str:
    """Smallest, median and largest; one value where they read the same."""
    known = sorted(value for value in values if value == value)
    if not known:
        return "–"
    said = [words(value) for value in (known[0], float(np.median(known)), known[-1])]
    return str(said[0]) if len(set(said)) == 1 else " · ".join(said)
