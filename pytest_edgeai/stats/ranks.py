"""Do groups differ, and which: Kruskal-Wallis over all of them, Conover-Iman between each two of them."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_edgeai.stats.samples import FloatArray, StatisticsInputError, as_sample
from pytest_edgeai.stats.tails import chi2_tail, t_two_sided


@dataclass(frozen=True)
class KruskalWallis:
    """Result of a Kruskal-Wallis test; `p_lower` near 0: the groups are more alike than chance allows.

    `epsilon_squared` is the effect: the share of the variance of the ranks that lies between the groups, from 0 to 1.
    """

    h: float
    df: int
    p: float
    log10_p: float
    p_lower: float
    epsilon_squared: float

    def as_json(self) -> dict[str, float]:
        """Return the fields that `edgeai analyze --json` promises."""
        return {
            "h": self.h,
            "df": self.df,
            "p": self.p,
            "log10_p": self.log10_p,
            "epsilon_squared": self.epsilon_squared,
        }


@dataclass(frozen=True)
class ConoverIman:
    """Comparison of groups number `a` and `b`; `t` has the sign of mean rank of `a` minus that of `b`."""

    a: int
    b: int
    t: float
    df: int
    p: float
    log10_p: float


@dataclass(frozen=True)
class _Ranked:
    """Groups after their pooled samples were ranked, ties sharing their mean rank."""

    sizes: npt.NDArray[np.int64]
    means: FloatArray
    between: float
    """Sum of squares of the ranks between groups."""
    within: float
    """Sum of squares of the ranks within groups."""

    @property
    def n(self) -> int:
        return int(self.sizes.sum())


def kruskal_wallis(groups: Sequence[npt.ArrayLike]) -> KruskalWallis:
    """Test whether all groups come from one distribution.

    Parameters
    ----------
    groups : sequence of array_like, each of shape (n_i,)
        At least two groups, of any sizes, in one unit.

    Returns
    -------
    KruskalWallis
        H corrected for ties, its degrees of freedom, and its chi-squared tail. Where all samples are equal, H
        is 0 and p is 1.

    Raises
    ------
    StatisticsInputError
        If there are fewer than two groups, one is empty, or one holds something that is not a finite number.

    Notes
    -----
    With ranks r of the pooled samples, H = (N - 1) SS_between(r) / SS_total(r). This equals the usual
    12/(N(N+1)) sum(R_i^2/n_i) - 3(N+1) over the tie correction, without its cancellation when H is near 0.
    Epsilon squared is H (N + 1) / (N^2 - 1) = H / (N - 1), which is SS_between(r) / SS_total(r).

    References
    ----------
    Kruskal, Wallis (1952), Use of ranks in one-criterion variance analysis, JASA 47, 583-621. Tomczak, Tomczak (2014),
    The need to report effect size estimates revisited, Trends in Sport Sciences 1(21), 19-25.
    """
    from scipy import special

    ranked = _rank(groups)
    df = len(ranked.sizes) - 1
    total = ranked.between + ranked.within
    h = (ranked.n - 1) * ranked.between / total if total else 0.0
    p, log10_p = chi2_tail(h, df)
    p_lower = float(special.gammainc(df / 2.0, h / 2.0))
    return KruskalWallis(h, df, p, log10_p, p_lower, ranked.between / total if total else 0.0)


def conover_iman(groups: Sequence[npt.ArrayLike]) -> tuple[ConoverIman, ...]:
    """Compare every two groups by their mean ranks in the pool of all groups. The p-values are not adjusted.

    Parameters
    ----------
    groups : sequence of array_like, each of shape (n_i,)
        At least two groups, of any sizes, in one unit.

    Returns
    -------
    tuple of ConoverIman
        One for each pair, in the order of `itertools.combinations`: (0, 1), (0, 2), ..., (1, 2), ... Where
        nothing varies within the groups, t is 0 between groups of equal mean rank and infinite between
        others.

    Raises
    ------
    StatisticsInputError
        If there are fewer than two groups, one is empty or holds something that is not a finite number, or
        every group has a single sample.

    Notes
    -----
    Conover's t = (R_a - R_b) / sqrt(S2 (N - 1 - H) / (N - k) (1/n_a + 1/n_b)), where R are mean ranks and S2
    and H are corrected for ties, with N - k degrees of freedom, two-sided. Since S2 (N - 1 - H) is the sum of
    squares of the ranks within groups, t is the pooled t of the ranks, and is computed so. The p-values are
    those of `scikit_posthocs.posthoc_conover`, which gives neither t nor a logarithm and has no answer where
    nothing varies within the groups.

    References
    ----------
    Conover, Iman (1979), On multiple-comparisons procedures, Los Alamos report LA-7677-MS; Conover (1999),
    Practical nonparametric statistics, third edition, section 5.2.
    """
    ranked = _rank(groups)
    df = ranked.n - len(ranked.sizes)
    if df == 0:
        raise StatisticsInputError("Conover's test needs a group with more than one sample.")
    variance = ranked.within / df
    published = _posthoc_p(groups) if variance else None
    comparisons = []
    for a, b in itertools.combinations(range(len(ranked.sizes)), 2):
        difference = float(ranked.means[a] - ranked.means[b])
        error = float(np.sqrt(variance * (1.0 / ranked.sizes[a] + 1.0 / ranked.sizes[b])))
        if difference and not error:
            t = math.copysign(math.inf, difference)
        else:
            t = difference / error if difference else 0.0
        # Where nothing varies within the groups there is nothing to look up.
        p = float(published[a, b]) if published is not None else float(not difference)
        _, log10_p = t_two_sided(t, df)
        comparisons.append(ConoverIman(a, b, t, df, p, log10_p))
    return tuple(comparisons)


def _posthoc_p(groups: Sequence[npt.ArrayLike]) -> FloatArray:
    """Two-sided p-values of all pairs, shape (k, k)."""
    import scikit_posthocs

    samples = [np.asarray(group).tolist() for group in groups]
    return np.asarray(scikit_posthocs.posthoc_conover(samples), dtype=np.float64)


def _rank(groups: Sequence[npt.ArrayLike]) -> _Ranked:
    from scipy import stats

    # Sorted, so that the order of the samples does not change the last digits of the sums.
    samples = [np.sort(as_sample(group, f"group {index}")) for index, group in enumerate(groups)]
    if len(samples) < 2:
        raise StatisticsInputError(f"A comparison needs at least two groups, not {len(samples)}.")
    sizes = np.array([sample.size for sample in samples], dtype=np.int64)
    ranks: FloatArray = np.asarray(stats.rankdata(np.concatenate(samples)), dtype=np.float64)
    # Ranks are whole or half numbers, so centred sums are exact where they fit 53 bits.
    ranks -= (ranks.size + 1) / 2.0
    parts = np.split(ranks, np.cumsum(sizes)[:-1])
    means = np.array([part.mean() for part in parts])
    between = float((sizes * means**2).sum())
    within = float(sum(((part - mean) ** 2).sum() for part, mean in zip(parts, means, strict=True)))
    return _Ranked(sizes, means, between, within)
