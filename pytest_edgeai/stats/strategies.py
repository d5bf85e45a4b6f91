"""Tidy columns taken apart: the latencies of each strategy, and the input each of them was measured on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_edgeai.stats.samples import FloatArray, StatisticsInputError, as_latencies, at_least

Names = Sequence[str] | npt.NDArray[np.str_]
# Model, operator, tier or chain of tiers.
Strategy = tuple[str, str, str]


@dataclass(frozen=True)
class Measured:
    """Latencies in seconds of each strategy, in order of appearance, and their inputs where known."""

    latencies: Mapping[Strategy, FloatArray]
    inputs: Mapping[Strategy, npt.NDArray[np.int64]]


def name_of(strategy: Strategy) -> str:
    """Return what a strategy is called, in errors as in the ids of tests.

    Parameters
    ----------
    strategy : tuple of str
        Model, operator and tier.

    Returns
    -------
    str
        Such as `bert-sptq-edge`.
    """
    return "-".join(strategy)


def split_columns(
    model: Names,
    operator: Names,
    tier: Names,
    latency_s: npt.ArrayLike,
    *,
    run: npt.ArrayLike | None = None,
    inputs: int | None = None,
) -> Measured:
    """Group the rows by strategy and check each group.

    Parameters
    ----------
    model, operator, tier : sequence of str, shape (n,)
        The strategy of each row, in any order of rows.
    latency_s : array_like, shape (n,)
        Latencies in seconds.
    run : array_like of int, shape (n,), optional
        Number of the measurement within its strategy.
    inputs : int, optional
        How many inputs a repetition has, where a run is repetition times `inputs` plus input. None: runs of one
        number were measured on one input.

    Returns
    -------
    Measured
        Every strategy's latencies in the order of its rows.

    Raises
    ------
    StatisticsInputError
        If the columns differ in length or are empty, `run` is not of whole numbers, or a strategy's latencies
        are not fit for a table (see `as_latencies`).
    ValueError
        If `inputs` is below 2, or given without `run`.
    """
    names = [list(column) if isinstance(column, Sequence) else column.tolist() for column in (model, operator, tier)]
    try:
        latencies = np.asarray(latency_s, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise StatisticsInputError(f"latency_s holds something that is not a number: {error}.") from error
    lengths = [len(column) for column in names] + [latencies.size]
    if latencies.ndim != 1 or len(set(lengths)) != 1 or not lengths[0]:
        raise StatisticsInputError(f"the columns must have one length above 0, not {lengths}.")
    input_of_row = _input_of_row(run, inputs, latencies.size)

    rows: dict[Strategy, list[int]] = {}
    for index, strategy in enumerate(zip(names[0], names[1], names[2], strict=True)):
        rows.setdefault(strategy, []).append(index)
    return Measured(
        {strategy: as_latencies(latencies[own], f"strategy {name_of(strategy)}") for strategy, own in rows.items()},
        {} if input_of_row is None else {strategy: input_of_row[own] for strategy, own in rows.items()},
    )


def _input_of_row(run: npt.ArrayLike | None, inputs: int | None, length: int) -> npt.NDArray[np.int64] | None:
    if inputs is not None:
        at_least(2, inputs, "inputs")
    if run is None:
        if inputs is not None:
            raise ValueError("inputs says how runs repeat, so it needs the column run as well.")
        return None
    runs = np.asarray(run)
    if runs.shape != (length,) or runs.dtype.kind not in "iu":
        raise StatisticsInputError(f"the column run must hold {length} whole numbers.")
    return np.asarray(runs if inputs is None else runs % inputs, dtype=np.int64)
