"""Slow, obvious references for `pytest_edgeai.stats`: textbook formulas, counting and enumeration.

Nothing here imports more than the standard library, least of all the code under test.
"""

import itertools
import math
import statistics
from collections.abc import Sequence
from decimal import MIN_EMIN, Decimal, localcontext
from fractions import Fraction

Numbers = Sequence[float]
_ZERO = Fraction(0)


def delta_counts(a: Numbers, b: Numbers) -> tuple[int, int]:
    """Cliff's delta by comparing all pairs."""
    return sum((x > y) - (x < y) for x in a for y in b), len(a) * len(b)


def ranks(values: Numbers) -> list[Fraction]:
    """Rank of each value: one more than the smaller ones, ties sharing the middle."""
    return [Fraction(1 + 2 * sum(v < value for v in values) + sum(v == value for v in values), 2) for value in values]


def kruskal_h(groups: Sequence[Numbers]) -> Fraction:
    """H as textbooks print it, divided by the tie correction; 0 where everything is tied."""
    pooled = [value for group in groups for value in group]
    n = len(pooled)
    correction = 1 - Fraction(_ties(pooled), n**3 - n)
    if correction == 0:
        return _ZERO
    squares = sum((sum(r, _ZERO) ** 2 / len(r) for r in _ranked(groups)), _ZERO)
    h = Fraction(12, n * (n + 1)) * squares - 3 * (n + 1)
    return h / correction


def conover_t(groups: Sequence[Numbers], a: int, b: int) -> float:
    """Conover's t from S2 and H, as Conover (1999), 5.2, has it; NaN where nothing varies within groups."""
    by_group = _ranked(groups)
    n, k = sum(len(r) for r in by_group), len(by_group)
    s2 = (sum(rank**2 for r in by_group for rank in r) - Fraction(n * (n + 1) ** 2, 4)) / (n - 1)
    variance = s2 * (n - 1 - kruskal_h(groups)) / (n - k)
    squared_error = variance * (Fraction(1, len(by_group[a])) + Fraction(1, len(by_group[b])))
    if squared_error == 0:
        return math.nan
    difference = _mean(by_group[a]) - _mean(by_group[b])
    return math.copysign(math.sqrt(difference**2 / squared_error), difference)


def friedman_q(rows: Sequence[Numbers]) -> Fraction:
    """Q from rank sums over the tie correction; 0 where every row is tied throughout."""
    n, k = len(rows), len(rows[0])
    correction = 1 - Fraction(sum(_ties(row) for row in rows), n * (k**3 - k))
    if correction == 0:
        return _ZERO
    squares = sum((sum(column, _ZERO) ** 2 for column in zip(*map(ranks, rows), strict=True)), _ZERO)
    return (Fraction(12, n * k * (k + 1)) * squares - 3 * n * (k + 1)) / correction


def wilcoxon_exact(differences: Numbers) -> tuple[Fraction, float]:
    """T and its two-sided p: of all signs that n untied differences can have, the share with so small a T."""
    nonzero = [d for d in differences if d != 0]
    if not nonzero:
        return _ZERO, 1.0
    order = ranks([abs(d) for d in nonzero])
    plus = sum((r for r, d in zip(order, nonzero, strict=True) if d > 0), _ZERO)
    t = min(plus, sum(order) - plus)
    sums = [
        sum(rank for rank, sign in zip(range(1, len(nonzero) + 1), signs, strict=True) if sign)
        for signs in itertools.product((False, True), repeat=len(nonzero))
    ]
    return t, min(1.0, 2 * sum(s <= math.ceil(t) for s in sums) / len(sums))


def binomial_two_sided(successes: int, trials: int) -> float:
    """Probability that a fair coin is at least as far from its mean."""
    far = abs(2 * successes - trials)
    return float(
        Fraction(sum(math.comb(trials, i) for i in range(trials + 1) if abs(2 * i - trials) >= far), 2**trials)
    )


def holm(p_values: Numbers) -> list[float]:
    """Holm's adjustment: the largest of the products up to one's own place."""
    m = len(p_values)
    return [min(1.0, max((m - sum(r < q for r in p_values)) * q for q in p_values if q <= p)) for p in p_values]


def log10_chi2_tail(x: float, df: int) -> float:
    """Upper tail in closed form: a Poisson sum for even df, exact to 40 digits; erfc and a sum for odd df."""
    if x == 0:
        return 0.0
    if df % 2:
        root = math.sqrt(x)
        density = math.exp(-x / 2) / math.sqrt(2 * math.pi)
        terms = [root ** (2 * r - 1) / math.prod(range(1, 2 * r, 2)) for r in range(1, (df + 1) // 2)]
        return math.log10(math.erfc(root / math.sqrt(2)) + 2 * density * math.fsum(terms))
    with localcontext() as context:
        context.prec, context.Emin = 40, MIN_EMIN
        half = Decimal(x) / 2
        total = sum((half**j / math.factorial(j) for j in range(df // 2)), Decimal(0))
        return float(((-half).exp() * total).log10())


def log10_t_two_sided(t: float, df: int, digits: int = 60) -> float:
    """Both tails of Student's t for even df, Abramowitz, Stegun 26.7.4; `digits` must exceed those of 1/p."""
    if df % 2 or df < 2:
        raise ValueError("the closed form without an arc tangent is for even degrees of freedom")
    with localcontext() as context:
        context.prec = digits
        square = Decimal(t) ** 2
        cosine2 = df / (df + square)
        term = total = Decimal(1)
        for j in range(1, df // 2):
            term *= cosine2 * (2 * j - 1) / (2 * j)
            total += term
        return float((1 - (square / (df + square)).sqrt() * total).log10())


def log10_t_series(t: float, df: int) -> float:
    """Both tails of Student's t for any df, by the hypergeometric series of the incomplete beta."""
    a, b, x = df / 2, 0.5, df / (df + t * t)
    if x == 1:
        return 0.0
    term = total = 1.0
    n = 0
    while term > 1e-18 * total:
        term *= x * (a + b + n) / (a + 1 + n)
        total += term
        n += 1
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    log_p = a * math.log(x) + b * math.log1p(-x) - math.log(a) - log_beta + math.log(total)
    return log_p / math.log(10)


def percentile(values: Numbers, percent: float) -> float:
    """Linear interpolation between the two order statistics around (n - 1) percent / 100."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def share_of_inputs(values: Numbers, inputs: Sequence[int]) -> float:
    """One minus the sum of squares around each input's mean over that around the mean of all."""
    by_input: dict[int, list[float]] = {}
    for value, name in zip(values, inputs, strict=True):
        by_input.setdefault(name, []).append(value)
    mean = statistics.fmean(values)
    left = sum(sum((v - statistics.fmean(own)) ** 2 for v in own) for own in by_input.values())
    return 1 - left / sum((value - mean) ** 2 for value in values)


def _ties(values: Numbers) -> int:
    return sum(values.count(value) ** 3 - values.count(value) for value in set(values))


def _ranked(groups: Sequence[Numbers]) -> list[list[Fraction]]:
    pooled = iter(ranks([value for group in groups for value in group]))
    return [list(itertools.islice(pooled, len(group))) for group in groups]


def _mean(values: Sequence[Fraction]) -> Fraction:
    return sum(values, _ZERO) / len(values)
