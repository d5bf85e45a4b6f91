"""From a report and what is to be different to a prediction."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pytest_edgeai.commands.reports import selected
from pytest_edgeai.decisions.measured_trials import MeasuredTrial, PredictionError, host_times, measured_trials
from pytest_edgeai.decisions.predicting import Change, Surroundings, best_over_rates, latency_after, predict, scale_for
from pytest_edgeai.errors import SettingsError, unknown
from pytest_edgeai.partition.cut_numbers import family_of
from pytest_edgeai.reporting.predictions import BestOf, Curve, Predicted, Prediction
from pytest_edgeai.wire.links import LinkShape

_HOLDING: Final = ("process", "docker")
_POINTS: Final = 60


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be predicted.

    Parameters
    ----------
    links
        Another rate, and another delay, by link; None leaves it.
    cores
        Other declared cores, by tier.
    payload_bytes
        Another length of requests.
    percentile
        Of latency.
    tier, model
        Only strategies of these; None is all.
    rates
        A link, and the range of its rates over which the best is to be found.
    """

    links: Mapping[str, tuple[float | None, float | None]]
    cores: Mapping[str, float]
    payload_bytes: float | None
    percentile: float
    tier: str | None
    model: str | None
    rates: tuple[str, float, float] | None


def predicted(source: str, document: Mapping[str, Any], asked: Asked) -> Prediction:
    """Predict the strategies of a report.

    Parameters
    ----------
    source
        What to call the report.
    document
        Its `results.json`.
    asked
        What is to be different.

    Raises
    ------
    SettingsError
        A link, a tier or a model is not of this report, or cores cannot be predicted.
    """
    topology = document["settings"]["topology"]
    links = {
        name: LinkShape(link["rate_bps"], link["delay_s"], link["jitter_s"], link["loss"])
        for name, link in topology["links"].items()
    }
    change = Change(_changed(links, asked), _scales(document, asked), asked.payload_bytes)
    holds = topology["shaping"] == "held" and document["backend"]["name"] in _HOLDING
    hosts = host_times(document["trials"]) if holds else {}
    rows, failures, kept = [], {}, dict[str, tuple[tuple[MeasuredTrial, ...], Surroundings]]()
    for strategy in selected(document, asked.model, asked.tier):
        placement = tuple(strategy["tier"].partition("*")[0].split("+"))
        around = Surroundings(placement, _both_ways(links), hosts)
        try:
            trials = measured_trials(strategy, document["trials"], topology["origin"])
            if not trials:
                raise PredictionError("no trial of it is valid")
            latency = predict(trials, around, _both(change), asked.percentile)
        except PredictionError as error:
            failures[strategy["id"]] = str(error)
            continue
        measured_s = float(np.percentile(np.concatenate([one.latency_s for one in trials]), asked.percentile))
        rows.append(Predicted(strategy["id"], measured_s, latency))
        kept[strategy["id"]] = trials, around
    made = Prediction(source, _words(change, asked), asked.percentile, rows, failures)
    return made if asked.rates is None else _over_rates(made, document, asked, change, links, kept)


def _changed(links: Mapping[str, LinkShape], asked: Asked) -> dict[str, LinkShape]:
    changed = {}
    for given, (rate_bps, delay_s) in asked.links.items():
        name = _link_name(given, links, "--link")
        shape = links[name]
        changed[name] = dataclasses.replace(
            shape,
            rate_bps=shape.rate_bps if rate_bps is None else rate_bps,
            delay_s=shape.delay_s if delay_s is None else delay_s,
        )
    return changed


def _link_name(given: str, links: Mapping[str, LinkShape], option: str) -> str:
    """The name of a link, which may be given from either end."""
    for name in (given, "-".join(reversed(given.split("-")))):
        if name in links:
            return name
    raise SettingsError(f"{option}: {unknown('link', given, links)} in this report")


def _scales(document: Mapping[str, Any], asked: Asked) -> dict[str, float]:
    scales = {}
    for tier, cores in asked.cores.items():
        declared = document["settings"]["topology"]["tiers"]
        if tier not in declared:
            raise SettingsError(f"--cores: {unknown('tier', tier, declared)} in this report")
        given = document["tiers"].get(tier)
        if given is None or given["gpu"] != "no":
            raise SettingsError(
                f"--cores: {tier} is a server or a GPU, whose speed its cores do not tell: measure it as it is to be"
            )
        if declared[tier]["compute_scale"] is not None:
            raise SettingsError(
                f"--cores: the compute scale of {tier} is set in the settings (compute_scale), so that its cores do "
                "not decide how fast it is"
            )
        if given["cores"] > 1 or given["threads"] > 1:
            raise SettingsError(
                f"--cores: {tier} was measured on {given['cores']} cores with {given['threads']} threads, and how its "
                f"compute depends on their number is not known: measure with topology.tiers.{tier}.cores = {cores:g}"
            )
        try:
            scales[tier] = scale_for(tier, cores, declared[tier]["cores"], given["compute_scale"])
        except PredictionError as error:
            raise SettingsError(f"--cores: {error}") from None
    return scales


def _both_ways(links: Mapping[str, LinkShape]) -> dict[str, LinkShape]:
    """Links by the names of the hops in either direction."""
    turned = {"-".join(reversed(name.split("-"))): shape for name, shape in links.items()}
    return {**turned, **links}


def _both(change: Change) -> Change:
    return dataclasses.replace(change, links=_both_ways(change.links))


def _words(change: Change, asked: Asked) -> list[str]:
    words = [
        f"{name}: {shape.rate_bps / 1e6:g} Mbit/s, {shape.delay_s * 1e3:g} ms one way"
        for name, shape in change.links.items()
    ]
    words += [f"{tier}: {asked.cores[tier]:g} cores, compute scale {scale:g}" for tier, scale in change.scales.items()]
    if change.payload_bytes is not None:
        words.append(
            f"requests of {change.payload_bytes:g} bytes where the input crosses a link; that what computes takes as "
            "long for them is assumed"
        )
    return words or ["nothing is different"]


def _over_rates(
    made: Prediction,
    document: Mapping[str, Any],
    asked: Asked,
    change: Change,
    links: Mapping[str, LinkShape],
    kept: Mapping[str, tuple[tuple[MeasuredTrial, ...], Surroundings]],
) -> Prediction:
    assert asked.rates is not None
    given, low_bps, high_bps = asked.rates
    link = _link_name(given, links, "--rates")
    shape = change.links.get(link, links[link])

    def latency_s(strategy: str, rate_bps: float) -> float:
        trials, around = kept[strategy]
        at = dataclasses.replace(change, links={**change.links, link: dataclasses.replace(shape, rate_bps=rate_bps)})
        return latency_after(trials, around, _both(at), asked.percentile)

    groups: dict[str, list[str]] = {}
    models = {one["id"]: one["model"] for one in document["strategies"]}
    for one in document["strategies"]:
        if one["id"] in kept:
            groups.setdefault(one["model"], []).append(one["id"])
            groups.setdefault(f"{one['model']}-{family_of(one['operator'])}", []).append(one["id"])
    step = (high_bps / low_bps) ** (1 / (_POINTS - 1))
    rates = [low_bps * step**number for number in range(_POINTS)]
    return dataclasses.replace(
        made,
        link=link,
        curves=[Curve(models[name], name, rates, [latency_s(name, rate) for rate in rates]) for name in kept],
        bests=[
            BestOf(
                among,
                best_over_rates(
                    {name: functools.partial(latency_s, name) for name in names},
                    low_bps,
                    high_bps,
                    points=_POINTS,
                ),
            )
            for among, names in groups.items()
            if len(names) > 1
        ],
    )
