"""What an artifact was made by and what that cost: the steps of its chain one by one, and all together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pytest_edgeai.operators import Operator

_OF_STEPS = "steps"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a step cost.

    Parameters
    ----------
    build_s
        Wall-clock time of the operator's work, without verification.
    cpu_s
        Processor time of it, which tells more where other work shares the processor.
    peak_memory_bytes
        Largest resident size of the building process.
    training_samples
        How many samples were learned from, counted again each time they came up.
    """

    build_s: float
    cpu_s: float
    peak_memory_bytes: int
    training_samples: int


def of_step(
    operator: Operator[Any],
    libraries: Mapping[str, str | None],
    told: Mapping[str, Any],
    cost: Cost,
    found: Mapping[str, Any],
    before: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The provenance of what a step made.

    Parameters
    ----------
    operator
        Whose step it is.
    libraries
        The versions of the libraries that decided it.
    told
        What its `build` returned.
    cost
        What it cost.
    found
        What was counted in the graph it made; empty for a network.
    before
        The provenance of what it started from.

    Returns
    -------
    dict
        What all steps told, the later ones first where they contradict; durations and training samples of all steps
        together, their largest memory, their engines; and under `steps` each by itself.
    """
    earlier: Sequence[Mapping[str, Any]] = () if before is None else before[_OF_STEPS]
    step = {
        **told,
        **asdict(cost),
        "operator": operator.name,
        "parameters_of_operator": operator.parameters.model_dump(mode="json"),
        "libraries": dict(libraries),
        "promises_speed": operator.promises_speed,
    }
    steps = [*earlier, step]
    merged: dict[str, Any] = {}
    for one in steps:
        merged.update({key: value for key, value in one.items() if key not in ("operator", "parameters_of_operator")})
    return {
        **merged,
        **found,
        "engine": _engines(steps),
        "build_s": sum(one["build_s"] for one in steps),
        "cpu_s": sum(one["cpu_s"] for one in steps),
        "peak_memory_bytes": max(one["peak_memory_bytes"] for one in steps),
        "training_samples": sum(one["training_samples"] for one in steps),
        "promises_speed": any(one["promises_speed"] for one in steps),
        "libraries": {name: version for one in steps for name, version in one["libraries"].items()},
        _OF_STEPS: steps,
    }


def _engines(steps: Sequence[Mapping[str, Any]]) -> str:
    """The libraries that did the work, without the export wherever there was more to do."""
    names = [one["engine"] for one in steps]
    working = [name for name, one in zip(names, steps, strict=True) if one["operator"] != "identity"]
    return " > ".join(dict.fromkeys(working or names))
