"""Whether a chain of parts computes what the whole graph does, on calibration samples, with the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.partition.graph import PartitionError
from pytest_edgeai.partition.running import open_session, run_chain

FLOAT_TOLERANCE = 1e-3
"""Of the size of the outputs: kernels and layouts are chosen graph by graph, so sums are added up in another order."""

INT8_TOLERANCE = 0.1
"""Of the size of the outputs: a float that rounds to the next integer moves everything after it by a step."""


@dataclass(frozen=True, slots=True)
class Equivalence:
    """How far a chain of parts is from the whole.

    Parameters
    ----------
    samples
        How many samples were compared.
    basic_difference
        Largest absolute difference of an output at ONNX Runtime's optimisation level BASIC.
    difference
        The same at ALL, relative to the largest absolute value of the outputs.
    same_predictions
        Fraction of the samples whose largest output is the same at ALL.
    """

    samples: int
    basic_difference: float
    difference: float
    same_predictions: float

    def as_json(self) -> dict[str, float]:
        """A JSON object."""
        return asdict(self)

    def check(self, *, quantized: bool) -> None:
        """Refuse what is not equivalent.

        Parameters
        ----------
        quantized
            Whether the graph computes in integers: then predictions have to be the same and outputs near.

        Raises
        ------
        PartitionError
            Says by how much the parts differ.
        """
        tolerance = INT8_TOLERANCE if quantized else FLOAT_TOLERANCE
        reasons = []
        if self.basic_difference != 0:  # also where it is not a number
            reasons.append(f"by {self.basic_difference:.2g} at optimisation level BASIC, where they should be equal")
        if not self.difference <= tolerance:
            reasons.append(f"by {self.difference:.2g} of the outputs' size at ALL, more than {tolerance:g}")
        if self.same_predictions < 1:
            reasons.append(f"in {1 - self.same_predictions:.1%} of {self.samples} predictions")
        if reasons:
            raise PartitionError(f"the parts differ from the whole {' and '.join(reasons)}")


def compare(whole: Path, parts: Sequence[Path], batches: Sequence[Mapping[str, Array]]) -> Equivalence:
    """Compare a chain of parts with the whole.

    Parameters
    ----------
    whole, parts
        The graphs' files.
    batches
        Inputs of the whole, each a batch of one.
    """
    first = batches[0]
    expected, got = _outputs([whole], [first], "basic"), _outputs(parts, [first], "basic")
    basic = max(_distance(one, two) for one, two in zip(expected, got, strict=True))
    expected, got = _outputs([whole], batches, "all"), _outputs(parts, batches, "all")
    size = max([1e-6, *(float(np.abs(one).max(initial=0)) for one in expected if one.dtype.kind == "f")])
    difference = max(_distance(one, two) for one, two in zip(expected, got, strict=True)) / size
    count = len(expected) // len(batches)
    same = [
        np.array_equal(_prediction(one), _prediction(two))
        for one, two in zip(expected[::count], got[::count], strict=True)
    ]
    return Equivalence(len(batches), basic, difference, sum(same) / len(same))


def _outputs(graphs: Sequence[Path], batches: Sequence[Mapping[str, Array]], level: str) -> list[Array]:
    sessions = [open_session(path, "basic" if level == "basic" else "all") for path in graphs]
    names = None
    values: list[Array] = []
    for batch in batches:
        outputs = run_chain(sessions, batch)
        names = names or sorted(outputs)
        values += [outputs[name] for name in names]
    return values


def _distance(one: Array, two: Array) -> float:
    if one.shape != two.shape or one.dtype != two.dtype:
        return float("inf")
    if np.array_equal(one, two, equal_nan=one.dtype.kind == "f"):
        return 0.0
    return float(np.abs(one.astype(np.float64) - two.astype(np.float64)).max())


def _prediction(output: Array) -> Array:
    found: Array = output.argmax(axis=-1) if output.ndim else output
    return found
