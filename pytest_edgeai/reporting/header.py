"""What is going to be measured, and how: the lines under pytest's header."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pytest_edgeai.partition.cut_numbers import abbreviated

if TYPE_CHECKING:
    from pytest_edgeai.matrix.strategies import PlannedTrial
    from pytest_edgeai.measured import OtherVersion, SessionPlan
    from pytest_edgeai.operators.preparation import Prepared
    from pytest_edgeai.tiers.placements import Placement
    from pytest_edgeai.tiers.specs import Topology


def header_lines(plan: SessionPlan) -> list[str]:
    """The lines, without colours."""
    settings = plan.settings
    profile = settings.measurement
    placements = ", ".join(map(str, plan.placements))
    tiers = ", ".join(
        f"{name} {given.cores} core{'s' if given.cores > 1 else ''}"
        + (f" × scale {given.compute_scale:g}" if given.compute_scale != 1 else "")
        + (", which its nodes take one after the other" if given.takes_turns else "")
        for name, given in plan.allotments.items()
    )
    remote = {name: spec.url for name, spec in settings.topology.tiers.items() if spec.url is not None}
    tiers = ", ".join(
        [*([tiers] if tiers else []), *(f"{name} at {url}, its link as it is" for name, url in remote.items())]
    )
    shaped = _shaped(settings.topology, plan.placements)
    rates = ", ".join(
        f"{name} {_rate(link.rate_bps)}" + (f" + {link.delay_s * 1e3:g} ms" if link.delay_s else "")
        for name, link in settings.topology.links.items()
        if frozenset(name.split("-")) in shaped
    )
    links = f"links {rates}; " if rates else ""
    return [
        f"edgeai: settings {plan.settings_file or 'by default, as there is no edgeai.toml and no [tool.edgeai]'}",
        f"edgeai: {', '.join(plan.models)} × {', '.join(abbreviated(plan.operators))} × {placements}: "
        f"{len(plan.strategies)} strategies, {_trials(plan)}",
        f"edgeai: profile {settings.profile}: {profile.replicates} replicates of {profile.warmup} warm-up and "
        f"{profile.inputs} × {profile.passes} requests, order by seed {plan.seed}",
        f"edgeai: tiers {tiers}; {links}host {plan.host.cores} cores, {plan.host.processor}",
        *([f"edgeai: backend {plan.backend}: {plan.backend_description}"] if plan.backend is not None else []),
    ]


def _shaped(topology: Topology, placements: Iterable[Placement]) -> set[frozenset[str]]:
    """The links, by the tiers at their ends, that are made for placements; to a remote server none is."""
    shaped = set()
    for placement in placements:
        if any(topology.tiers[tier].url is not None for tier in placement.tiers):
            continue
        alone = placement.nodes == 1
        hops = topology.way(placement.tiers) if alone else topology.way_to_node(placement.tiers[0], 0)
        shaped |= {frozenset(hop.tiers.split("-")) for hop in hops}
    return shaped


def _trials(plan: SessionPlan) -> str:
    if plan.against is None:
        further = plan.settings.most_further_trials(Counter(trial.strategy.id for trial in plan.trials))
        more = f", and up to {further} more where a percentile is undecided" if further else ""
        return f"{len(plan.trials)} trials{more}"
    replicates = plan.settings.measurement.replicates
    usual = plan.usual_replicates or replicates
    return f"{usual} trials of each, and where {plan.against.label} differs {replicates} of each version"


def against_line(
    plan: SessionPlan,
    other: OtherVersion,
    baseline_trials: Iterable[PlannedTrial],
    prepared: Mapping[tuple[str, str], Prepared],
) -> str:
    """Which strategies are measured in both versions.

    Parameters
    ----------
    plan, prepared
        Of this version.
    other, baseline_trials
        The other version, and its planned trials.
    """
    twice = {trial.strategy for trial in baseline_trials}
    same = sum(
        other.is_same(strategy.artifact, prepared[strategy.artifact])
        for strategy in plan.strategies
        if strategy.artifact in prepared
    )
    return (
        f"against {other.commit.label}: {len(twice)} of {len(plan.strategies)} strategies are measured in "
        f"both versions, {same} have the same artifact"
    )


def _rate(rate_bps: float) -> str:
    return f"{rate_bps / 1e6:g} Mbit/s" if rate_bps >= 1e6 else f"{rate_bps / 1e3:g} kbit/s"
