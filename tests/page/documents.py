"""Results of sessions that nobody ran, of any size, with true statistics: what the page is tested with."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pytest_edgeai.measure.host import this_host
from pytest_edgeai.reporting.files import finite
from pytest_edgeai.settings import Settings
from pytest_edgeai.stats import analyze

TIERS = ("mobile", "edge", "cloud")
SPANS = ("preprocess", "compute", "stretch", "postprocess", "transmit mobile-edge")


def document(
    models: Sequence[str] = ("bert", "resnet"),
    operators: Sequence[str] = ("identity", "sptq", "partition"),
    tiers: Sequence[str] = TIERS,
    *,
    replicates: int = 3,
    requests: int = 10,
    changes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of a `results.json`.

    Parameters
    ----------
    models, operators, tiers
        The axes of the matrix; `identity` has to be among the operators.
    replicates, requests
        Trials of each strategy, and requests of each trial.
    changes
        Further keys, which replace those that are there.
    """
    chance = np.random.default_rng(3)
    names = list(itertools.product(models, operators, tiers))
    chance.shuffle(names)
    trials = [
        _trial((model, operator, tier), replicate, place, _latencies(chance, (model, operator, tier), requests))
        for place, (replicate, (model, operator, tier)) in enumerate(itertools.product(range(replicates), names))
    ]
    strategies = [
        _strategy(name, [trial for trial in trials if (trial["model"], trial["operator"], trial["tier"]) == name])
        for name in itertools.product(models, operators, tiers)
    ]
    rows = [
        (trial["model"], trial["operator"], trial["tier"], trial["replicate"] * requests + run, latency_s)
        for trial in trials
        for run, latency_s in enumerate(trial["latency_s"])
    ]
    model, operator, tier, run, latency_s = zip(*rows, strict=True)
    settings = Settings(models=list(models), operators=list(operators), tiers=list(tiers))
    return {
        "format": 1,
        "version": "0.1.0",
        "green": False,
        "interrupted": None,
        "remarks": ["unproven on tier cloud: memory"],
        "seed": 11,
        "arguments": ["suites/", "--benchmark-only", "-k", "bert or resnet"],
        "backend": {"name": "process", "description": "server processes"},
        "host": json.loads(json.dumps(this_host().as_json())),
        "libraries": {"onnxruntime": "1.31.0", "numpy": "1.26.4"},
        "settings": settings.model_dump(mode="json"),
        "tiers": {
            name: {"cores": 1, "threads": 1, "compute_scale": 2.0, "memory_bytes": 2**30, "gpu": "no"}
            for name in dict.fromkeys(place.split("*")[0].split("+")[0] for place in tiers)
        },
        "artifacts": [_artifact(*name) for name in itertools.product(models, operators)],
        "failures": [],
        "strategies": strategies,
        "comparison": None,
        "decisions": [],
        "statistics": analyze(model, operator, tier, latency_s, run=run, inputs=requests).as_json(),
        "accuracy_statistics": {"caveat": "", "pairs": []},
        "trials": trials,
        "against": None,
        **(changes or {}),
    }


def comparison(strategies: Sequence[str]) -> dict[str, Any]:
    """A comparison in which the second strategy got slower and the others did not."""
    rows = []
    slowest = {"view": "slowest quarter", "change": 0.4, "p_adjusted": 0.02, "delta": 1.0}
    for number, name in enumerate(strategies):
        slower = number == 1
        before = [0.020 + 0.0001 * trial for trial in range(5)]
        after = [value * (1.3 if slower else 1.0) for value in before]
        rows.append(
            {
                "strategy": name,
                "outcome": "regression" if slower else "pass",
                "reasons": ["latency is 30 % longer"] if slower else [],
                "median_s": [before[2], after[2]],
                "trial_medians_s": [before, after],
                "latency": {
                    "outcome": "regression" if slower else "pass",
                    "reason": "is 30 % longer" if slower else "",
                    "change": 0.3 if slower else 0.0,
                    "low": 0.25 if slower else -0.02,
                    "high": 0.35 if slower else 0.02,
                    "p": 0.01,
                    "p_adjusted": 0.02,
                    "delta": 1.0 if slower else 0.0,
                    "detectable": 0.05,
                    "trials": [5, 5],
                    "trials_needed": None,
                    "views": [slowest] if slower else [],
                },
                "accuracy_gain": 0.0,
                "accuracy_unit": "%",
                "size": 0.0,
                "memory": None,
                "same_artifact": False,
                "reference": None,
                "fails": slower,
            }
        )
    return {
        "before": "main (0123456789)",
        "after": "this version",
        "green": False,
        "fails": True,
        "differences": [],
        "remarks": [],
        "strategies": rows,
    }


def decision(model: str, choice: str | None, reason: str) -> dict[str, Any]:
    """A decision without the strategies that it was made among."""
    return {
        "model": model,
        "objective": "latency",
        "percentile": 50.0,
        "confidence": 0.95,
        "limits": {"max_latency_s": 0.05},
        "choice": choice,
        "reason": reason,
        "ties": [],
        "strategies": [],
        "excluded": [],
        "relaxations": [],
        "trials_needed": None,
    }


def _latencies(chance: np.random.Generator, name: tuple[str, str, str], requests: int) -> list[float]:
    usual = 0.02 + 0.01 * (sum(map(ord, "".join(name))) % 13)
    found: list[float] = (usual * chance.lognormal(0.0, 0.1, requests)).tolist()
    return found


def _trial(name: tuple[str, str, str], replicate: int, place: int, latencies_s: list[float]) -> dict[str, Any]:
    model, operator, tier = name
    shares = (0.05, 0.5, 0.2, 0.05, 0.2)
    limits = {"cpus": [0], "memory_bytes": 2**30, "peak_memory_bytes": 2**27, "nr_throttled": 0, "throttled_s": 0.0}
    point = {"size_bytes": 1000, "took_s": 0.001, "ideal_s": 0.001, "host_s": 0.0001, "spread_s": 0.0}
    return {
        "id": f"{model}-{operator}-{tier}-r{replicate}",
        "model": model,
        "operator": operator,
        "tier": tier,
        "replicate": replicate,
        "status": "valid",
        "reason": "",
        "cause": "",
        "attempt": 0,
        "order": place,
        "probes": [
            {
                "link": "mobile-edge",
                "direction": "up",
                "rate_bps": 2e8,
                "small": point,
                "large": point,
                "tries": 1,
                "rate_error": 0.01,
                "small_error_s": 1e-5,
            }
        ],
        "link_errors": {"probed_s": 1e-5, "requests_s": 2e-5, "late_s": 0.0, "ideal_s": 0.001},
        "remarks": [],
        "tiers": {tier: {"before": limits, "after": limits}},
        "unproven": ["cloud: memory"] if tier == "cloud" else [],
        "load_s": {tier: 0.1},
        "cold_start_s": 0.15,
        "energy": {"request_j": 0.5, "source": "RAPL package-0", "unknown": ""},
        "started_at": 1.7e9 + place,
        "duration_s": 0.9,
        "host": {"load_average": 0.5, "foreign_cores": 0.01},
        "reference": {tier: {"cpu_s": 0.001, "wall_s": 0.001, "before_cpu_s": 0.001, "after_cpu_s": 0.001}},
        "run": list(range(len(latencies_s))),
        "input": list(range(len(latencies_s))),
        "latency_s": latencies_s,
        "late_s": [0.0] * len(latencies_s),
        "spans_s": {
            span: [share * latency_s for latency_s in latencies_s] for span, share in zip(SPANS, shares, strict=True)
        },
        "cpu_s": [0.5 * latency_s for latency_s in latencies_s],
        "waited_s": [0.0] * len(latencies_s),
        "computed_s": {tier: [0.5 * latency_s for latency_s in latencies_s]},
        "sent_bytes": {},
        "received_bytes": {},
    }


def _strategy(name: tuple[str, str, str], trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    model, operator, tier = name
    latencies_s = np.concatenate([trial["latency_s"] for trial in trials])
    drop = 0.0 if operator == "identity" else 0.1 * (sum(map(ord, operator)) % 17)
    broken = drop > 1
    accuracy = {
        "metric": "top1",
        "unit": "%",
        "higher_is_better": True,
        "value": 95 - drop,
        "baseline": "identity",
        "baseline_value": 95.0,
        "drop": drop,
        "drop_low": drop - 0.2,
        "drop_high": drop + 0.2,
        "confidence": 0.95,
        "limit": 1.0,
        "budget": "broken" if broken else "kept",
        "mcnemar": {"only_baseline_right": 3, "only_operator_right": 1, "p": 0.6},
    }
    found: dict[str, Any] = finite(
        {
            "id": "-".join(name),
            "model": model,
            "operator": operator,
            "tier": tier,
            "verdict": "fail" if broken else "pass",
            "reason": f"accuracy: top-1 drops by {drop:.2f} pp, the budget is 1 pp" if broken else "",
            "trials": len(trials),
            "valid_trials": len(trials),
            "tries": len(trials),
            "median_s": float(np.median(latencies_s)),
            "p95_s": float(np.percentile(latencies_s, 95)),
            "iqr_s": float(np.subtract(*np.percentile(latencies_s, [75, 25]))),
            "load_s": 0.1,
            "cold_start_s": 0.15,
            "peak_memory_bytes": 2**27,
            "energy_j": 0.5,
            "energy_source": "RAPL package-0",
            "spans_s": {span: float(np.median(latencies_s)) / 5 for span in SPANS},
            "link_error_s": 2e-5,
            "size_bytes": 2_000_000,
            "metrics": {"top1": 95 - drop},
            "accuracy": accuracy,
            "accuracy_not_measured": None,
            "accuracy_drop": drop,
            "accuracy_limit": 1.0,
            "budgets": [
                {
                    "name": "max_load_s",
                    "unit": "s",
                    "limit": 0.2,
                    "value": 0.1,
                    "low": 0.09,
                    "high": None,
                    "outcome": "pass",
                    "reason": "",
                }
            ],
        }
    )
    return found


def _artifact(model: str, operator: str) -> dict[str, Any]:
    provenance: dict[str, Any] = {"engine": "onnx", "parameters": 1000, "sparsity": 0.0, "macs": 3e6, "build_s": 1.0}
    combinations: list[dict[str, Any]] = []
    if operator == "variants":
        provenance["nodes"] = [{"parameters": 100, "macs": macs, "size_bytes": 5000} for macs in (600_000, 300_000)]
        values = {(0,): 80.0, (1,): 70.0, (0, 1): 90.0}
        combinations = [{"nodes": list(nodes), "value": value} for nodes, value in values.items()]
    if operator == "partition":
        provenance |= {
            "cut": ["conv_7"],
            "crossing": [["conv_7"]],
            "crossing_bytes": [4096],
            "part_macs": [1_000_000, 2_000_000],
            "part_parameters": [400, 600],
        }
    return {
        "model": model,
        "operator": operator,
        "digest": "ab" * 32,
        "content": "cd" * 32,
        "size_bytes": 2_000_000,
        "metrics": {"top1": 95.0},
        "provenance": provenance,
        "combinations": combinations,
    }
