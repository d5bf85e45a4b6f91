"""From tidy columns to tables: which strategies are compared with which, and by what tests.

A strategy is a model, an operator and a tier (or a chain of tiers). Operators are compared within one model
and tier; tiers within one model and operator, where partitioned strategies, which run on a chain, join the
operators whose model they split. Reading files is not done here.
"""

import itertools
import statistics
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pytest_edgeai.partition.cut_numbers import family_of
from pytest_edgeai.stats import blocked
from pytest_edgeai.stats.adjust import adjust_p, check_method
from pytest_edgeai.stats.describe import describe
from pytest_edgeai.stats.effect import cliffs_delta_interval, magnitude
from pytest_edgeai.stats.order import is_chain, ordered_operators, ordered_placements
from pytest_edgeai.stats.ranks import KruskalWallis, conover_iman, kruskal_wallis
from pytest_edgeai.stats.samples import FloatArray, between_zero_and_one
from pytest_edgeai.stats.speedup import truncate
from pytest_edgeai.stats.strategies import Measured, Names, Strategy, name_of, split_columns
from pytest_edgeai.stats.tables import (
    Analysis,
    Blocked,
    BlockedPair,
    Dimension,
    Group,
    Pair,
    Settings,
    StrategySummary,
    Table,
)

# Which operators' tier tables a partitioned strategy joins: the paper's Tables 10 to 14, and 15.
PARTITION_JOINS: Mapping[str, Collection[str]] = {
    "partition": ("identity", "sptq", "qat", "pruned", "distilled"),
    "sptq_partition": ("dsptq",),
}


def analyze(
    model: Names,
    operator: Names,
    tier: Names,
    latency_s: npt.ArrayLike,
    *,
    run: npt.ArrayLike | None = None,
    inputs: int | None = None,
    alpha: float = 0.05,
    p_adjust: str = "holm",
) -> Analysis:
    """Describe every strategy and compare those that differ in operator only, or in tier only.

    Parameters
    ----------
    model, operator, tier : sequence of str, shape (n,)
        The strategy of each measurement, in any order of rows.
    latency_s : array_like, shape (n,)
        Round-trip latencies in seconds, at least three for each strategy; groups may differ in size.
    run : array_like of int, shape (n,), optional
        Number of the measurement within its strategy. With it, every table is compared within inputs as well.
    inputs : int, optional
        How many inputs a repetition has, where a run is repetition times `inputs` plus input. None: runs of one
        number were measured on one input.
    alpha : float
        Level of significance.
    p_adjust : str
        Adjustment of the pairs of one table for their number; see `adjust_p`. The paper's is "none".

    Returns
    -------
    Analysis
        Tables of operators by tier and model, then of tiers by operator and model; no table where there would
        be one group. A pair is significant where its table's Kruskal-Wallis p and its own adjusted p are both
        below `alpha`.

    Raises
    ------
    StatisticsInputError
        If the columns differ in length or are empty, or a strategy has fewer than three samples, equal
        samples only, or a latency that is negative or not a finite number; the message names the strategy.
    ValueError
        If `alpha`, `p_adjust` or `inputs` is not possible, or `inputs` is given without `run`.

    Notes
    -----
    Chains are tier tables' groups but have no operator table of their own, as in the paper: `partition` and
    `sptq_partition` on `mobile+edge` are compared with the tiers, not with each other.

    References
    ----------
    Singh, Adams, Hassan, On the impact of white-box deployment strategies for edge AI on latency and model
    performance, tables 6 to 8 and 10 to 15.
    """
    settings = Settings(alpha, check_method(p_adjust), inputs)
    between_zero_and_one(alpha, "alpha")
    measured = split_columns(model, operator, tier, latency_s, run=run, inputs=inputs)
    strategies = list(measured.latencies)
    models = list(dict.fromkeys(name for name, _, _ in strategies))
    operators = ordered_operators(name for _, name, _ in strategies)
    placements = ordered_placements(name for _, _, name in strategies)

    tables = []
    for place, name in itertools.product((p for p in placements if not is_chain(p)), models):
        members = {op: (name, op, place) for op in operators if (name, op, place) in measured.latencies}
        if len(members) > 1:
            tables.append(_table("operator", members, measured, settings))
    for op, name in itertools.product(operators, models):
        members = {p: (name, op, p) for p in placements if (name, op, p) in measured.latencies}
        if members:
            members |= _joining(name, op, operators, placements, measured)
        if len(members) > 1:
            tables.append(_table("tier", members, measured, settings))

    summaries = (
        _summary((name, op, place), measured.latencies[name, op, place])
        for name, op, place in itertools.product(models, operators, placements)
        if (name, op, place) in measured.latencies
    )
    return Analysis(tuple(tables), tuple(summaries), settings)


def _joining(
    model: str, operator: str, operators: Sequence[str], placements: Sequence[str], measured: Measured
) -> dict[str, Strategy]:
    """Partitioned strategies that stand beside the tiers of `operator`, by label."""
    return {
        f"{partitioned}-{place}": (model, partitioned, place)
        for partitioned in operators
        if operator in _joined_by(family_of(partitioned))
        for place in placements
        if is_chain(place) and (model, partitioned, place) in measured.latencies
    }


def _joined_by(partitioned: str) -> Collection[str]:
    """Operators whose tier tables a partitioned strategy joins: the paper's, or what a chain of operators splits."""
    chained = (partitioned.removesuffix(">partition"),) if partitioned.endswith(">partition") else ()
    return PARTITION_JOINS.get(partitioned, chained)


def _table(dimension: Dimension, members: Mapping[str, Strategy], measured: Measured, settings: Settings) -> Table:
    model, operator, tier = next(iter(members.values()))
    samples = [measured.latencies[strategy] for strategy in members.values()]
    labels = list(members)
    kruskal = kruskal_wallis(samples)
    comparisons = conover_iman(samples)
    adjusted = adjust_p([c.p for c in comparisons], settings.p_adjust, alpha=settings.alpha)
    pairs = []
    for comparison, p_adjusted in zip(comparisons, adjusted.tolist(), strict=True):
        found = cliffs_delta_interval(samples[comparison.a], samples[comparison.b], 1 - settings.alpha)
        pairs.append(
            Pair(
                a=labels[comparison.a],
                b=labels[comparison.b],
                conover_t=comparison.t,
                p=comparison.p,
                p_adjusted=p_adjusted,
                log10_p=comparison.log10_p,
                delta_a_b=found.delta,
                magnitude=magnitude(found.delta),
                significant=kruskal.p < settings.alpha and p_adjusted < settings.alpha,
                delta_low=found.low,
                delta_high=found.high,
            )
        )
    groups = tuple(
        Group(label, *strategy, n=int(sample.size), median_s=float(np.median(sample)))
        for (label, strategy), sample in zip(members.items(), samples, strict=True)
    )
    return Table(
        dimension=dimension,
        model=model,
        operator=None if dimension == "operator" else operator,
        tier=None if dimension == "tier" else tier,
        groups=groups,
        kruskal=kruskal,
        pairs=tuple(pairs),
        blocked=_blocked(dimension, members, measured, kruskal, settings) if measured.inputs else None,
    )


def _blocked(
    dimension: Dimension,
    members: Mapping[str, Strategy],
    measured: Measured,
    kruskal: KruskalWallis,
    settings: Settings,
) -> Blocked | None:
    medians: dict[str, dict[int, float]] = {}
    for label, strategy in members.items():
        ids, values = blocked.block_medians(measured.latencies[strategy], measured.inputs[strategy])
        medians[label] = dict(zip(ids.tolist(), values.tolist(), strict=True))
    complete = sorted(set.intersection(*(set(by_input) for by_input in medians.values())))
    if len(complete) < 2:
        return None
    columns = {label: np.array([by_input[i] for i in complete]) for label, by_input in medians.items()}
    test = blocked.friedman(np.column_stack(list(columns.values())))
    pairs = tuple(
        BlockedPair(a, b, blocked.paired_difference(columns[a], columns[b], confidence=1 - settings.alpha))
        for a, b in itertools.combinations(columns, 2)
    )
    share = _median_share(members, measured)
    explains = "The input explains {} % of the variance"
    if share is None:
        share = blocked.concordance(np.column_stack(list(columns.values()))).adjusted
        explains = "The number of the run, which tells the input, explains {} % of the variance of ranks"
    words = None
    if share > 0.5 and kruskal.p >= settings.alpha:
        explained = explains.format(f"{truncate(100 * share):.2f}")
        words = _words(dimension, explained, kruskal.p, test.p, settings.alpha)
    return Blocked(test, pairs, share, words)


def _median_share(members: Mapping[str, Strategy], measured: Measured) -> float | None:
    """Median over the strategies of the input's adjusted share, None where one has no repeated input."""
    shares = []
    for strategy in members.values():
        ids = measured.inputs[strategy]
        if np.unique(ids).size == ids.size:
            return None
        shares.append(blocked.input_share(measured.latencies[strategy], ids).adjusted)
    return statistics.median(shares)


def _words(dimension: Dimension, explained: str, unblocked_p: float, blocked_p: float, alpha: float) -> str:
    what = "operators" if dimension == "operator" else "tiers"
    sees = "does" if blocked_p < alpha else "sees none either"
    return (
        f"{explained}, so the unblocked test "
        f"(p = {unblocked_p:.3g}) cannot see a difference between the {what}; "
        f"blocked by input, Friedman's test {sees} (p = {blocked_p:.3g})."
    )


def _summary(strategy: Strategy, latencies: FloatArray) -> StrategySummary:
    described = describe(latencies, f"strategy {name_of(strategy)}")
    return StrategySummary(
        *strategy,
        n=described.n,
        median_s=described.median,
        p95_s=described.p95,
        iqr_s=described.iqr,
        shapiro=described.shapiro,
    )
