"""What of a trial is compared between two versions: its faster requests, all of them, its slowest, and each input.

A slowdown of every request shows best in the faster ones, because what else a machine does only ever adds time, and
seldom to all of a trial. A slowdown of some requests does not show there at all: it does in the mean of all, in the
slowest quarter, or in the inputs that it is about.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from pytest_edgeai.arrays import Array

Name: TypeAlias = Literal["typical", "all requests", "slowest quarter", "input"]

_FASTER = 0.4
_SLOWEST = 0.25
# Of the level; what is about single inputs shares its part among them. Constant slowdowns are most of what happens.
_WEIGHTS: Final[dict[Name, float]] = {"typical": 0.5, "all requests": 0.2, "slowest quarter": 0.2, "input": 0.1}


@dataclass(frozen=True, slots=True)
class View:
    """One way to look at a trial.

    Parameters
    ----------
    name
        What of the trial it is.
    weight
        Its part of the level of significance; those of a strategy add up to 1.
    input
        The place of the input that it is about, from 0, or None.
    """

    name: Name
    weight: float
    input: int | None = None

    @property
    def words(self) -> str:
        """The name in sentences."""
        return self.name if self.input is None else f"input {self.input + 1}"


def views_of(inputs: int) -> tuple[View, ...]:
    """The views of trials with so many inputs."""
    shared: tuple[Name, ...] = ("typical", "all requests", "slowest quarter")
    single = [View("input", _WEIGHTS["input"] / inputs, place) for place in range(inputs)]
    return (*(View(name, _WEIGHTS[name]) for name in shared), *single)


def trial_values(latencies_s: Array) -> Array:
    """How slow trials were in each view.

    Parameters
    ----------
    latencies_s
        Of all trials that are compared, shape (trials, inputs, passes).

    Returns
    -------
    array
        Mean over the view's requests of log latency against that input's mean over all trials, shape (trials, views)
        in the order of `views_of`.
    """
    residuals = residuals_of(latencies_s)
    ordered = np.sort(residuals.reshape(len(residuals), -1), axis=1)
    requests = ordered.shape[1]
    faster = ordered[:, : math.ceil(_FASTER * requests)].mean(axis=1)
    slowest = ordered[:, -math.ceil(_SLOWEST * requests) :].mean(axis=1)
    values: Array = np.column_stack([faster, ordered.mean(axis=1), slowest, residuals.mean(axis=2)])
    return values


def residuals_of(latencies_s: Array) -> Array:
    """Log latency against each input's mean over all trials and passes, shape (trials, inputs, passes)."""
    logs = np.log(latencies_s)
    residuals: Array = logs - logs.mean(axis=(0, 2), keepdims=True)
    return residuals
