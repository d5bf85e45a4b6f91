"""Statistics on arrays: what describes latencies and accuracies, and what compares them. No pytest, no files.

`analyze` makes all tables of a set of measurements; the other functions are the tests it is made of. Deciding
whether a commit is worse is the job of `pytest_edgeai.verdicts`. Importing this package imports numpy and
nothing heavier: scipy is imported by the functions that use it, at their first call.
"""

from pytest_edgeai.stats.accuracies import AccuracyPair, compare_accuracies
from pytest_edgeai.stats.adjust import P_ADJUST_METHODS, adjust_p, check_method
from pytest_edgeai.stats.analysis import PARTITION_JOINS, analyze
from pytest_edgeai.stats.blocked import (
    Friedman,
    InputShare,
    PairedDifference,
    block_medians,
    concordance,
    friedman,
    input_share,
    paired_difference,
)
from pytest_edgeai.stats.describe import Description, ShapiroWilk, describe, shapiro_wilk
from pytest_edgeai.stats.effect import (
    DeltaInterval,
    Magnitude,
    cliffs_delta,
    cliffs_delta_counts,
    cliffs_delta_interval,
    magnitude,
)
from pytest_edgeai.stats.exceedance import Exceedance, exceedance, requests_needed
from pytest_edgeai.stats.order import chain_of, is_chain, ordered_operators, ordered_placements
from pytest_edgeai.stats.paired import (
    AccuracyDrop,
    McNemar,
    Wilcoxon,
    mcnemar_exact,
    ratio_drop,
    replicate_drop,
    wilcoxon_signed_rank,
)
from pytest_edgeai.stats.ranks import ConoverIman, KruskalWallis, conover_iman, kruskal_wallis
from pytest_edgeai.stats.samples import StatisticsInputError
from pytest_edgeai.stats.speedup import Speedup, mean_ratio, ratio_of_medians, speedup, truncate
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
from pytest_edgeai.stats.tails import chi2_tail, t_two_sided

__all__ = [
    "PARTITION_JOINS",
    "P_ADJUST_METHODS",
    "AccuracyDrop",
    "AccuracyPair",
    "Analysis",
    "Blocked",
    "BlockedPair",
    "ConoverIman",
    "DeltaInterval",
    "Description",
    "Dimension",
    "Exceedance",
    "Friedman",
    "Group",
    "InputShare",
    "KruskalWallis",
    "Magnitude",
    "McNemar",
    "Pair",
    "PairedDifference",
    "Settings",
    "ShapiroWilk",
    "Speedup",
    "StatisticsInputError",
    "StrategySummary",
    "Table",
    "Wilcoxon",
    "adjust_p",
    "analyze",
    "block_medians",
    "chain_of",
    "check_method",
    "chi2_tail",
    "cliffs_delta",
    "cliffs_delta_counts",
    "cliffs_delta_interval",
    "compare_accuracies",
    "concordance",
    "conover_iman",
    "describe",
    "exceedance",
    "friedman",
    "input_share",
    "is_chain",
    "kruskal_wallis",
    "magnitude",
    "mcnemar_exact",
    "mean_ratio",
    "ordered_operators",
    "ordered_placements",
    "paired_difference",
    "ratio_drop",
    "ratio_of_medians",
    "replicate_drop",
    "requests_needed",
    "shapiro_wilk",
    "speedup",
    "t_two_sided",
    "truncate",
    "wilcoxon_signed_rank",
]
