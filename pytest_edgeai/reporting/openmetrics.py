"""`metrics.txt`: each strategy's figures in OpenMetrics text, for GitLab's metrics reports and for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_edgeai.verdicts import is_green

_FAMILIES: Final = (
    ("latency_median_seconds", "seconds", "Median latency of the requests of valid trials.", "median_s"),
    ("latency_p95_seconds", "seconds", "95th percentile of the same requests.", "p95_s"),
    ("load_seconds", "seconds", "Median time until the artifact was loaded.", "load_s"),
    (
        "cold_start_seconds",
        "seconds",
        "Median time until the artifact was loaded and the first request answered.",
        "cold_start_s",
    ),
    ("energy_joules", "joules", "Median energy of a request.", "energy_j"),
    ("peak_memory_bytes", "bytes", "Highest peak memory of a tier that computes.", "peak_memory_bytes"),
    ("size_bytes", "bytes", "Size of the artifact's graphs.", "size_bytes"),
    ("accuracy_drop", "", "How much worse than the baseline, in points or the metric's unit.", "accuracy_drop"),
)


def openmetrics(document: Mapping[str, Any]) -> str:
    """The figures of all strategies; what was not measured has no line.

    Parameters
    ----------
    document
        The content of `results.json`.
    """
    lines: list[str] = []
    for name, unit, what, key in _FAMILIES:
        lines += _family(name, unit, what)
        lines += [
            f"edgeai_{name}{_labels(one)} {float(one[key])!r}"
            for one in document["strategies"]
            if one.get(key) is not None  # older reports lack some
        ]
    lines += _family("accuracy", "", "Accuracy of the exported artifact, in the unit of the metric.")
    lines += [
        f"edgeai_accuracy{_labels(one, metric=metric)} {float(value)!r}"
        for one in document["strategies"]
        for metric, value in one["metrics"].items()
        if value is not None
    ]
    lines += _family("green", "", "1 where the verdict of the strategy is green, else 0.")
    lines += [f"edgeai_green{_labels(one)} {int(is_green(one['verdict']))}" for one in document["strategies"]]
    return "\n".join([*lines, "# EOF"]) + "\n"


def _family(name: str, unit: str, what: str) -> list[str]:
    described = [f"# TYPE edgeai_{name} gauge", f"# HELP edgeai_{name} {what}"]
    return [described[0], f"# UNIT edgeai_{name} {unit}", described[1]] if unit else described


def _labels(strategy: Mapping[str, Any], **more: str) -> str:
    labels = {name: str(strategy[name]) for name in ("model", "operator", "tier")} | more
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
