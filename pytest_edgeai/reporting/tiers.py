"""What tiers were given and what they made of it, trial after trial: the rows of a report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pytest_edgeai.measure.records import TrialRecord
from pytest_edgeai.serving.processor import sums_are_wide
from pytest_edgeai.tiers.allotment import Allotment
from pytest_edgeai.tiers.specs import TierSpec, tier_of

if TYPE_CHECKING:
    from pytest_edgeai.operators.preparation import Prepared

HEADINGS = (
    "tier",
    "where",
    "cores",
    "threads",
    "compute scale",
    "memory",
    "peak memory",
    "throttled",
    "runs on",
    "unproven",
)


def tier_rows(
    tiers: Mapping[str, TierSpec], allotments: Mapping[str, Allotment], records: Iterable[TrialRecord]
) -> list[tuple[str, ...]]:
    """A row for each tier that took part in a trial, with all of its nodes.

    Parameters
    ----------
    tiers, allotments
        What was asked for, and what of it was given.
    records
        The trials.
    """
    records = tuple(records)
    said: dict[str, list[Mapping[str, Mapping[str, Any]]]] = {}
    for record in records:
        for place, before_and_after in record.tiers.items():
            said.setdefault(tier_of(place), []).append(before_and_after)
    unproven = _unproven(records)
    return [
        (tier, _where(spec), *_given(allotments.get(tier)), *_made_of_it(said[tier]), ", ".join(unproven.get(tier, ())))
        for tier, spec in tiers.items()
        if tier in said
    ]


def unproven_sentences(records: Iterable[TrialRecord]) -> list[str]:
    """What was asked of tiers and could not be read back, each once."""
    return [f"unproven on tier {tier}: {', '.join(what)}" for tier, what in _unproven(records).items()]


def saturation_sentences(records: Iterable[TrialRecord], prepared: Mapping[tuple[str, str], Prepared]) -> list[str]:
    """Which int8 artifacts take all of their 8 bits on a tier whose processor sums two of their products in 16.

    Parameters
    ----------
    records
        The trials.
    prepared
        Artifacts by model and operator.
    """
    found: dict[str, dict[str, None]] = {}
    for record in records:
        artifact = prepared.get(record.trial.strategy.artifact)
        if artifact is None or artifact.artifact.entry.provenance.get("reduce_range") is not False:
            continue
        for place, said in record.tiers.items():
            runs = bool(said["after"].get("load_s"))  # others only hand requests on
            if runs and sums_are_wide(said["after"].get("instructions", ())) is False:
                found.setdefault(tier_of(place), {})[artifact.artifact.name] = None
    return [
        f"int8 on tier {tier}: sums may saturate, since its processor has no int8 dot products and {', '.join(names)} "
        "use all 8 bits; set reduce_range = true in operator_parameters"
        for tier, names in found.items()
    ]


def _unproven(records: Iterable[TrialRecord]) -> dict[str, list[str]]:
    """What, by tier."""
    by_tier: dict[str, list[str]] = {}
    for place, what in dict.fromkeys(one for record in records for one in record.unproven):
        known = by_tier.setdefault(tier_of(place), [])
        known += [what] if what not in known else []
    return by_tier


def _where(spec: TierSpec) -> str:
    return spec.url or (str(spec.engine) if spec.is_remote else "here")


def _given(allotment: Allotment | None) -> tuple[str, ...]:
    if allotment is None:
        return "", "", "", ""
    memory = f"{allotment.memory_bytes / 2**20:.0f} MiB"
    return str(allotment.cores), str(allotment.threads), f"{allotment.compute_scale:g}", memory


def _made_of_it(said: list[Mapping[str, Mapping[str, Any]]]) -> tuple[str, ...]:
    after = [one["after"] for one in said]
    peaks = [limits["peak_memory_bytes"] for limits in after if limits.get("peak_memory_bytes")]
    stops = [_grew(one, "nr_throttled") for one in said if one["after"].get("nr_throttled") is not None]
    stopped_s = [_grew(one, "throttled_s") for one in said if one["after"].get("throttled_s") is not None]
    providers = {name: None for limits in after for names in limits.get("providers", {}).values() for name in names}
    return (
        f"{max(peaks) / 2**20:.0f} MiB" if peaks else "",
        f"{sum(stops):g} times, {sum(stopped_s):.3f} s" if stops else "",
        ", ".join(name.removesuffix("ExecutionProvider") for name in providers),
    )


def _grew(one: Mapping[str, Mapping[str, Any]], key: str) -> float:
    """By how much a counter of a tier grew between the two times it was read."""
    return float(one["after"][key] - one["before"].get(key, 0))
