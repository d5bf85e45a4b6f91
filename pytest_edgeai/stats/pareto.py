"""Which of several choices are not beaten by another one in everything that counts."""

import numpy as np
import numpy.typing as npt

from pytest_edgeai.stats.samples import StatisticsInputError


def pareto_front(costs: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Mark the rows that no other row dominates.

    Parameters
    ----------
    costs : array_like, shape (n, k)
        What each choice costs in each of `k` respects; less is better.

    Returns
    -------
    ndarray of bool, shape (n,)
        True where no other row is as good in every respect and better in one. Equal rows do not dominate each other.

    Raises
    ------
    StatisticsInputError
        If the array does not have two dimensions, or holds something that is not a finite number.
    """
    rows = np.asarray(costs, dtype=np.float64)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise StatisticsInputError("a Pareto front needs finite costs, in a row for each choice.")
    front = np.ones(len(rows), dtype=np.bool_)
    for number, row in enumerate(rows):  # a row at a time: memory stays linear in the number of choices
        front[number] = not ((rows <= row).all(axis=1) & (rows < row).any(axis=1)).any()
    return front
