"""Reports of sessions that nobody measured, with figures that a test knows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_edgeai.wire.links import LinkShape
from pytest_edgeai.wire.round_trips import Exchange, round_trip_s

LINKS = {"mobile-edge": LinkShape(200e6), "edge-cloud": LinkShape(1e6)}
SCALES = {"mobile": 4.0, "edge": 2.0, "cloud": 1.0}
ROUTES = {"mobile": (), "edge": ("mobile-edge",), "cloud": ("mobile-edge", "edge-cloud")}


def strategy(name: str, **changed: Any) -> dict[str, Any]:
    """A row of `strategies`; `drop` is an interval or None for no measured accuracy."""
    model, operator, tier = name.split("-")
    drop = changed.pop("drop", (0.0, 0.0, 0.0))
    accuracy = None
    if drop is not None:
        accuracy = {"unit": "%", "baseline": "identity", "drop": drop[0], "drop_low": drop[1], "drop_high": drop[2]}
    return {
        "id": name,
        "model": model,
        "operator": operator,
        "tier": tier,
        "verdict": "pass",
        "reason": "",
        "link_error_s": None,
        "size_bytes": 1_000_000,
        "accuracy": accuracy,
        **changed,
    }


def trial(
    name: str,
    latencies_s: Sequence[float],
    *,
    compute_s: Mapping[str, float] | None = None,
    sent_bytes: Mapping[str, int] | None = None,
    received_bytes: int = 400,
    probes: Sequence[Mapping[str, Any]] = (),
    **changed: Any,
) -> dict[str, Any]:
    """A row of `trials`."""
    model, operator, tier = name.split("-")
    count, sent = len(latencies_s), sent_bytes or {}
    computing = tier.partition("*")[0].split("+")
    return {
        "model": model,
        "operator": operator,
        "tier": tier,
        "status": "valid",
        "unproven": [],
        "latency_s": list(latencies_s),
        "spans_s": {"compute": [0.0] * count, **{f"transmit {hop}": [0.0] * count for hop in sent}},
        "computed_s": {place: [seconds] * count for place, seconds in (compute_s or {}).items()},
        "sent_bytes": {hop: [length] * count for hop, length in sent.items()},
        "received_bytes": {hop: [received_bytes] * count for hop in sent},
        "probes": list(probes),
        "tiers": {
            place: {"after": {"peak_memory_bytes": 50_000_000, "compute_scale": SCALES.get(place, 1.0)}}
            for place in computing
        },
        **changed,
    }


def model_latency_s(
    tier: str, compute_s: float, length: int, links: Mapping[str, LinkShape], scales: Mapping[str, float]
) -> float:
    """What a request of a whole artifact takes by rates, delays and compute scales alone."""
    exchanges = [Exchange(links[hop], length, 400) for hop in ROUTES[tier]]
    return compute_s * scales[tier] + float(round_trip_s(exchanges))


def document(
    strategies: Sequence[Mapping[str, Any]], trials: Sequence[Mapping[str, Any]], **topology: Any
) -> dict[str, Any]:
    """A `results.json` of the study's tiers and links, with what the commands read."""
    return {
        "format": 1,
        "version": "test",
        "decisions": [],
        "backend": {"name": "process"},
        "tiers": {
            tier: {"cores": 1, "threads": 1, "compute_scale": scale, "gpu": "no"} for tier, scale in SCALES.items()
        },
        "settings": {
            "topology": {
                "origin": "mobile",
                "shaping": "held",
                "tiers": {
                    tier: {"cores": cores, "compute_scale": None}
                    for tier, cores in (("mobile", 4), ("edge", 8), ("cloud", 16))
                },
                "links": {
                    name: {"rate_bps": shape.rate_bps, "delay_s": shape.delay_s, "jitter_s": 0.0, "loss": 0.0}
                    for name, shape in LINKS.items()
                },
                **topology,
            }
        },
        "strategies": list(strategies),
        "trials": list(trials),
    }


def write(folder: Path, content: Mapping[str, Any]) -> Path:
    """Write a report and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(content), encoding="utf-8")
    return folder
