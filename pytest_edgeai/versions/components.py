"""What a saved session has of its requests beside latencies: spans, CPU time, instructions, and the time of loading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from pytest_edgeai.arrays import Array

if TYPE_CHECKING:
    from pytest_edgeai.measure.records import MeasuredRequest, TrialRecord

ComponentName: TypeAlias = Literal["compute", "cpu", "instructions", "unhindered", "transmit", "load"]
COMPUTING: Final[tuple[ComponentName, ...]] = ("compute", "cpu", "instructions")
"""The same work by three measures: wall time, CPU time, and instructions retired."""
UNHINDERED: Final[ComponentName] = "unhindered"
"""The latency less the time in which computing threads waited for a core."""

_KEYS: Final[Mapping[ComponentName, str]] = {
    "compute": "compute_s",
    "cpu": "cpu_s",
    "instructions": "instructions",
    "unhindered": "unhindered_s",
    "transmit": "transmit_s",
    "load": "load_s",
}
_DIGITS: Final = 7
"""Of seconds, so that a file of many requests stays small: a tenth of a microsecond."""


def components_of(record: TrialRecord) -> dict[str, Any]:
    """What a document has of a trial's components; those that are not known of every request are left out."""
    rows = [dict(_components(one)) for one in record.measurements]
    found: dict[str, Any] = {
        _KEYS[name]: [row[name] for row in rows]
        for name in dict.fromkeys(name for row in rows for name in row)
        if all(name in row for row in rows)
    }
    if record.load_s:
        found[_KEYS["load"]] = round(sum(record.load_s.values()), _DIGITS)
    return found


def _components(one: MeasuredRequest) -> Iterator[tuple[ComponentName, float]]:
    transmits_s = [value for name, value in one.spans_s.items() if name.startswith("transmit")]
    if "compute" in one.spans_s:
        yield "compute", round(one.spans_s["compute"], _DIGITS)
    if one.cpu_s is not None:
        yield "cpu", round(one.cpu_s, _DIGITS)
    if one.instructions is not None:
        yield "instructions", one.instructions
    if one.waited_s is not None:
        compute_s = one.spans_s.get("compute", 0.0)
        stretched = 1 + one.spans_s.get("stretch", 0.0) / compute_s if compute_s > 0 else 1.0
        yield "unhindered", round(one.latency_s - stretched * one.waited_s, _DIGITS)
    if transmits_s:
        yield "transmit", round(sum(transmits_s), _DIGITS)


def read_components(strategy: str, trials: Sequence[Mapping[str, Any]], inputs: Sequence[int]) -> dict[str, Array]:
    """The components of a strategy's valid trials, of shape (trials, inputs, passes), and `load` of (trials, 1, 1).

    What some of the trials do not have, or what is 0 somewhere and has no logarithm, is left out.

    Parameters
    ----------
    strategy
        Its id, for messages.
    trials
        As the document has them; their inputs are known to be the same.
    inputs
        In the order of the result.

    Raises
    ------
    ValueError
        A component has another number of values than the trial has requests.
    """
    found: dict[str, Array] = {}
    for name, key in _KEYS.items():
        if not trials or any(one.get(key) is None for one in trials):
            continue
        rows = [_row(strategy, key, one, inputs) for one in trials]
        values = np.array(rows, dtype=float)
        if (np.isfinite(values) & (values > 0)).all():
            found[name] = values
    return found


def _row(strategy: str, key: str, trial: Mapping[str, Any], inputs: Sequence[int]) -> Array:
    if key == _KEYS["load"]:
        return np.array([[float(trial[key])]])
    numbers, values = np.array(trial["input"]), np.array(trial[key], dtype=float)
    if numbers.shape != values.shape:
        raise ValueError(f"{strategy}: {key} has {values.size} values for {numbers.size} requests")
    return np.array([values[numbers == number] for number in inputs])
