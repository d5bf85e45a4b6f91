"""How many times as fast: ratios of medians, and their mean over models, as the paper's text states them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

import numpy as np
import numpy.typing as npt

from pytest_edgeai.stats.samples import StatisticsInputError, as_sample, at_least


@dataclass(frozen=True)
class Speedup:
    """Ratio of medians of each model, and over the models their arithmetic mean, smallest and largest."""

    ratios: Mapping[str, float]
    mean: float
    lowest: float
    highest: float


def ratio_of_medians(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> float:
    """How many times as long the numerator's median is.

    Parameters
    ----------
    numerator, denominator : array_like, shapes (n,) and (m,)
        Latencies in one unit; the numerator is the strategy claimed to be slower.

    Returns
    -------
    float
        median(numerator) / median(denominator).

    Raises
    ------
    StatisticsInputError
        If either is empty, holds something that is not a finite number, or has a median that is not positive.

    References
    ----------
    Singh, Adams, Hassan, On the impact of white-box deployment strategies for edge AI on latency and model
    performance, sections 4.1 to 4.4.
    """
    above, below = (
        float(np.median(as_sample(side, name)))
        for side, name in ((numerator, "the numerator"), (denominator, "the denominator"))
    )
    if above <= 0 or below <= 0:
        raise StatisticsInputError(f"a ratio needs positive medians, not {above:g} and {below:g}.")
    return above / below


def mean_ratio(ratios: Iterable[float]) -> float:
    """Arithmetic mean of ratios, which is how the paper averages them.

    Parameters
    ----------
    ratios : iterable of float
        Positive ratios.

    Returns
    -------
    float
        Their mean. The mean of the inverse ratios is not its inverse: "1.5 times slower" and "1.5 times
        faster" are different statements under this convention.

    Raises
    ------
    StatisticsInputError
        If there are none, or one is not a finite number.
    """
    values = as_sample(list(ratios), "the list of ratios")
    return math.fsum(values.tolist()) / values.size


def speedup(numerators: Mapping[str, npt.ArrayLike], denominators: Mapping[str, npt.ArrayLike]) -> Speedup:
    """Compare two strategies over several models.

    Parameters
    ----------
    numerators, denominators : mapping of str to array_like
        Latencies of each model in one unit; both must have the same models.

    Returns
    -------
    Speedup
        The ratio of medians of each model, in the order of `numerators`, and their mean and range.

    Raises
    ------
    StatisticsInputError
        If there are no models, a model is on one side only, or a ratio cannot be formed (see
        `ratio_of_medians`).
    """
    if not numerators:
        raise StatisticsInputError("a speedup needs at least one model.")
    if unpaired := sorted(set(numerators) ^ set(denominators)):
        raise StatisticsInputError(f"these models are on one side of the ratio only: {', '.join(unpaired)}.")
    ratios = {model: ratio_of_medians(numerators[model], denominators[model]) for model in numerators}
    return Speedup(ratios, mean_ratio(ratios.values()), min(ratios.values()), max(ratios.values()))


def truncate(value: float, decimals: int = 2) -> float:
    """Cut a number off after some decimals, as the paper does, instead of rounding it.

    Parameters
    ----------
    value : float
        A finite number.
    decimals : int
        How many decimals to keep.

    Returns
    -------
    float
        Towards zero: 1.199 gives 1.19, and 1.15 stays 1.15 (it is cut as it prints, not as its binary
        expansion).

    Raises
    ------
    ValueError
        If `value` is not finite or `decimals` is negative.
    """
    at_least(0, decimals, "decimals")
    if not math.isfinite(value):
        raise ValueError(f"only a finite number can be cut, not {value}.")
    if abs(value) >= 2**53:  # whole already
        return value
    return float(Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_DOWN))
