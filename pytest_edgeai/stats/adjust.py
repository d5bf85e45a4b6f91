"""Adjustment of a family of p-values for their number."""

import numpy as np
import numpy.typing as npt

from pytest_edgeai.stats.samples import FloatArray, StatisticsInputError, as_sample, between_zero_and_one

# What scikit-posthocs documents, by the full names that statsmodels gives them, and "none".
P_ADJUST_METHODS = (
    "none",
    "bonferroni",
    "sidak",
    "holm-sidak",
    "holm",
    "simes-hochberg",
    "hommel",
    "fdr_bh",
    "fdr_by",
    "fdr_tsbh",
    "fdr_tsbky",
)


def check_method(method: str) -> str:
    """Return a method's name if `adjust_p` would take it.

    Parameters
    ----------
    method : str
        One of `P_ADJUST_METHODS`, or any other name that statsmodels gives to a method.

    Returns
    -------
    str
        The same name.

    Raises
    ------
    ValueError
        If no method has this name; the message lists `P_ADJUST_METHODS`.
    """
    if method in P_ADJUST_METHODS:
        return method
    from statsmodels.stats.multitest import multitest_alias

    if method not in multitest_alias:
        raise ValueError(f"unknown p-value adjustment {method!r}; known: {', '.join(P_ADJUST_METHODS)}")
    return method


def adjust_p(p_values: npt.ArrayLike, method: str = "holm", *, alpha: float = 0.05) -> FloatArray:
    """Adjust the p-values of one family.

    Parameters
    ----------
    p_values : array_like, shape (m,)
        Raw p-values; m may be 0.
    method : str
        One of `P_ADJUST_METHODS`, or any other name that statsmodels gives to a method.
    alpha : float
        The level at which the family will be judged; only `fdr_tsbh` and `fdr_tsbky` depend on it.

    Returns
    -------
    ndarray of float64, shape (m,)
        Adjusted p-values in the order given, none above 1.

    Raises
    ------
    ValueError
        If the method is unknown or `alpha` is not between 0 and 1.
    StatisticsInputError
        If a p-value is outside [0, 1].

    Notes
    -----
    Holm's and Bonferroni's are written out, because statsmodels' Holm runs a full garbage collection at each
    call; the others are `statsmodels.stats.multitest.multipletests`, as in scikit-posthocs.

    References
    ----------
    Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics
    6, 65-70.
    """
    check_method(method)
    between_zero_and_one(alpha, "alpha")
    raw = as_sample(p_values, "the family of p-values", minimum=0)
    if raw.size and not (raw.min() >= 0 and raw.max() <= 1):
        raise StatisticsInputError("the family of p-values holds one that is not between 0 and 1.")
    if method == "none" or raw.size == 0:
        return raw.copy()
    if method == "bonferroni":
        return np.minimum(raw * raw.size, 1.0)
    if method == "holm":
        order = np.argsort(raw, kind="stable")
        stepped = np.maximum.accumulate(raw[order] * np.arange(raw.size, 0, -1))
        adjusted = np.empty_like(raw)
        adjusted[order] = np.minimum(stepped, 1.0)
        return adjusted

    from statsmodels.stats.multitest import multipletests

    with np.errstate(divide="ignore", invalid="ignore"):  # log1p(-1) and x/0 at p = 1 are meant
        return np.asarray(multipletests(raw, alpha=alpha, method=method)[1], dtype=np.float64)
