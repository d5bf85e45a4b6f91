"""Saved sessions made up for tests and benchmarks: documents as pytest-benchmark writes them, with our part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from pytest_edgeai.versions.checksum import sign

MACHINE = "Linux-CPython-3.11-64bit"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
SPANS = ("preprocess", "compute", "postprocess", "serialize", "transmit mobile-edge")


def commit_of(number: int) -> str:
    """The name of the commit of this number."""
    return hashlib.sha1(str(number).encode()).hexdigest()


def session(
    number: int,
    strategies: Mapping[str, float],
    *,
    accuracy: float = 95.0,
    trials: int = 2,
    requests: int = 3,
    changes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The document of a session, signed.

    Parameters
    ----------
    number
        Of its commit, and of the day on which it was made.
    strategies
        The median latency of each in seconds, by its id. Half of it is compute, and most of the rest is transmission.
    accuracy
        Of all artifacts.
    trials, requests
        Of each strategy and each trial.
    changes
        Keys of the document that are different.
    """
    rng = np.random.default_rng(number)
    moment = BEGAN + timedelta(days=number)
    benchmarks, recorded, artifacts = [], {}, {}
    for name, latency_s in strategies.items():
        model, operator, tier = name.split("-")
        made = []
        for replicate in range(trials):
            latencies_s = latency_s * np.exp(0.01 * rng.normal(size=requests))
            shares = (0.02, 0.5, 0.01, 0.01, 0.46)
            trial = {"input": list(range(requests)), "latency_s": latencies_s.tolist()}
            made.append({**trial, "peak_memory_bytes": 70_000_000, "reference_s": {tier: 0.002}})
            details = {
                "id": f"{name}-r{replicate}",
                "model": model,
                "operator": operator,
                "tier": tier,
                "replicate": replicate,
                "status": "valid",
                "load_s": {tier: 0.1},
                "input": trial["input"],
                "run": trial["input"],
                "spans_s": {span: (share * latencies_s).tolist() for span, share in zip(SPANS, shares, strict=True)},
                "cpu_s": latencies_s.tolist(),
                "waited_s": latencies_s.tolist(),
            }
            benchmarks.append(
                {
                    "fullname": f"test_suite.py::test_strategy[{name}-r{replicate}]",
                    "extra_info": {"edgeai": details},
                    "stats": {"data": trial["latency_s"]},
                }
            )
        recorded[name] = {"artifact": f"{model}-{operator}", "trials": made}
        artifacts[f"{model}-{operator}"] = {
            "content": hashlib.sha256(f"{number} {model}-{operator}".encode()).hexdigest(),
            "size_bytes": 2_000_000,
            "metrics": {"top1": accuracy},
            "kinds": {"top1": ["%", True]},
            "correct": "01" * 500,
        }
    return sign(
        {
            "machine_info": {"node": "somewhere"},
            "commit_info": {
                "id": commit_of(number),
                "time": moment.isoformat(),
                "dirty": False,
                "branch": "main",
                "project": "toys",
            },
            "benchmarks": benchmarks,
            "datetime": (moment + timedelta(minutes=5)).isoformat(),
            "version": "5.3.1",
            "edgeai": {
                "format": 1,
                "code": "0" * 64,
                "conditions": {"scale": "small", "host": {"processor": "any"}, "backend": "process"},
                "artifacts": artifacts,
                "strategies": recorded,
            },
            **(changes or {}),
        }
    )


def save(folder: Path, document: Mapping[str, Any], number: int) -> Path:
    """Write a session where pytest-benchmark would; its file."""
    path = folder / MACHINE / f"{number:04d}_{document['commit_info']['id']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=4), encoding="utf-8")
    return path


def twelve(folder: Path) -> Sequence[Path]:
    """Twelve commits, of which the sixth makes one strategy slower and the tenth makes every artifact worse."""
    rng = np.random.default_rng(1)
    made = []
    for number in range(12):
        noise = np.exp(0.01 * rng.normal(size=2))
        slower = 1.3 if number >= 5 else 1.0
        latencies_s = {"bert-sptq-edge": 0.02 * slower * noise[0], "bert-identity-cloud": 0.1 * noise[1]}
        document = session(number, latencies_s, accuracy=95.0 if number < 9 else 91.0)
        made.append(save(folder, document, number + 1))
    return made
