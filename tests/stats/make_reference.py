"""Writes the files in `reference/`; run as `python -m tests.stats.make_reference` from the root.

The rows are invented: groups of unequal size, many ties, present, small and absent effects, a chain of tiers
and an operator that the paper does not have. The answers come from `slow` alone, so they share no code with
what they test. Which group stands in which table is written out by hand below.
"""

import csv
import itertools
import json
import math
import random
import statistics
from pathlib import Path
from typing import Any

from . import slow

REFERENCE = Path(__file__).parent / "reference"
ALPHA = 0.05
INPUTS = 6

# Model, operator, tier: number of samples; typical latency, its spread and the weight of the input in 0.01 s.
STRATEGIES = {
    ("camera", "identity", "mobile"): (24, 60, 9, 0),
    ("camera", "sptq", "mobile"): (18, 58, 9, 0),
    ("camera", "binarised", "mobile"): (11, 30, 4, 0),
    ("camera", "dsptq", "mobile"): (24, 60, 9, 0),
    ("camera", "identity", "edge"): (24, 20, 6, 0),
    ("camera", "sptq", "edge"): (3, 20, 6, 0),
    ("camera", "binarised", "edge"): (28, 24, 6, 0),
    ("camera", "dsptq", "edge"): (40, 22, 6, 0),
    ("camera", "identity", "cloud"): (24, 300, 1, 60),
    ("camera", "sptq", "cloud"): (24, 300, 1, 60),
    ("camera", "dsptq", "cloud"): (24, 301, 1, 60),
    ("camera", "partition", "mobile+edge"): (24, 42, 6, 2),
    ("camera", "partition", "mobile+cloud"): (7, 90, 20, 2),
    ("camera", "sptq_partition", "mobile+edge"): (12, 40, 6, 2),
    ("reader", "identity", "edge"): (30, 8, 2, 0),
    ("reader", "partition", "mobile+edge"): (9, 8, 2, 0),
    ("reader", "sptq_partition", "mobile+edge"): (20, 9, 3, 0),
}

# Dimension, model, what is held fixed, and the strategies compared, in the order of the groups.
TABLES = [
    ("operator", "camera", "mobile", ["identity", "sptq", "dsptq", "binarised"]),
    ("operator", "camera", "edge", ["identity", "sptq", "dsptq", "binarised"]),
    ("operator", "camera", "cloud", ["identity", "sptq", "dsptq"]),
    (
        "tier",
        "camera",
        "identity",
        ["mobile", "edge", "cloud", "partition-mobile+edge", "partition-mobile+cloud"],
    ),
    ("tier", "reader", "identity", ["edge", "partition-mobile+edge"]),
    (
        "tier",
        "camera",
        "sptq",
        ["mobile", "edge", "cloud", "partition-mobile+edge", "partition-mobile+cloud"],
    ),
    ("tier", "camera", "dsptq", ["mobile", "edge", "cloud", "sptq_partition-mobile+edge"]),
    ("tier", "camera", "partition", ["mobile+edge", "mobile+cloud"]),
    ("tier", "camera", "binarised", ["mobile", "edge"]),
]

Row = tuple[str, str, str, int, float]


def main() -> None:
    rows = invent_rows()
    REFERENCE.mkdir(exist_ok=True)
    with (REFERENCE / "latencies.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["model", "operator", "tier", "run", "latency_s"])
        writer.writerows(rows)
    tables = [answer_table(rows, *table) for table in TABLES]
    answers = {"alpha": ALPHA, "inputs": INPUTS, "tables": tables, "strategies": answer_strategies(rows)}
    (REFERENCE / "answers.json").write_text(json.dumps(answers, indent=1) + "\n")


def invent_rows() -> list[Row]:
    random.seed(8)
    rows: list[Row] = []
    for strategy, (n, typical, spread, weight) in STRATEGIES.items():
        for run in range(n):
            hundredths = typical + weight * (run % INPUTS) + random.randrange(-spread, spread + 1)
            rows.append((*strategy, run, hundredths / 100))
    random.shuffle(rows)
    # Models are listed as they first appear.
    return sorted(rows, key=lambda row: row[0])


def answer_table(rows: list[Row], dimension: str, model: str, fixed: str, labels: list[str]) -> dict[str, Any]:
    strategies = [strategy_of(dimension, model, fixed, label) for label in labels]
    samples = [latencies_of(rows, strategy) for strategy in strategies]
    h, df = slow.kruskal_h(samples), len(samples) - 1
    log10_kruskal = slow.log10_chi2_tail(float(h), df)
    indices = list(itertools.combinations(range(len(samples)), 2))
    ts = [slow.conover_t(samples, a, b) for a, b in indices]
    logs = [slow.log10_t_series(t, sum(map(len, samples)) - len(samples)) for t in ts]
    adjusted = slow.holm([10**log for log in logs])
    pairs = []
    for (a, b), t, log, p_adjusted in zip(indices, ts, logs, adjusted, strict=True):
        numerator, denominator = slow.delta_counts(samples[a], samples[b])
        pairs.append(
            {
                "a": labels[a],
                "b": labels[b],
                "conover_t": t,
                "p": 10**log,
                "p_adjusted": p_adjusted,
                "log10_p": log,
                "delta_num": numerator,
                "delta_den": denominator,
                "delta_a_b": numerator / denominator,
                "magnitude": letter(numerator, denominator),
                "significant": 10**log10_kruskal < ALPHA and p_adjusted < ALPHA,
            }
        )
    return {
        "dimension": dimension,
        "model": model,
        "operator": None if dimension == "operator" else fixed,
        "tier": None if dimension == "tier" else fixed,
        "groups": [
            {
                "label": label,
                "model": strategy[0],
                "operator": strategy[1],
                "tier": strategy[2],
                "n": len(sample),
                "median_s": statistics.median(sample),
            }
            for label, strategy, sample in zip(labels, strategies, samples, strict=True)
        ],
        "kruskal": {"h": float(h), "df": df, "p": 10**log10_kruskal, "log10_p": log10_kruskal},
        "pairs": pairs,
        "blocked": answer_blocked(rows, labels, strategies),
    }


def answer_blocked(rows: list[Row], labels: list[str], strategies: list[tuple[str, str, str]]) -> dict[str, Any]:
    medians = []
    for strategy in strategies:
        own = [(row[3] % INPUTS, row[4]) for row in rows if row[:3] == strategy]
        names = sorted({name for name, _ in own})
        medians.append({n: statistics.median([value for other, value in own if other == n]) for n in names})
    complete = sorted(set.intersection(*(set(by_input) for by_input in medians)))
    q = slow.friedman_q([[by_input[name] for by_input in medians] for name in complete])
    log10_p = slow.log10_chi2_tail(float(q), len(strategies) - 1)
    return {
        "q": float(q),
        "log10_p": log10_p,
        "blocks": len(complete),
        "median_differences": [
            statistics.median([medians[a][name] - medians[b][name] for name in complete])
            for a, b in itertools.combinations(range(len(labels)), 2)
        ],
    }


def answer_strategies(rows: list[Row]) -> list[dict[str, Any]]:
    answers = []
    for strategy in STRATEGIES:
        sample = latencies_of(rows, strategy)
        answers.append(
            {
                "model": strategy[0],
                "operator": strategy[1],
                "tier": strategy[2],
                "n": len(sample),
                "median_s": statistics.median(sample),
                "p95_s": slow.percentile(sample, 95),
            }
        )
    return answers


def strategy_of(dimension: str, model: str, fixed: str, label: str) -> tuple[str, str, str]:
    if dimension == "operator":
        return model, label, fixed
    operator, _, tier = label.rpartition("-")
    return model, operator or fixed, tier


def latencies_of(rows: list[Row], strategy: tuple[str, str, str]) -> list[float]:
    return [row[4] for row in rows if row[:3] == strategy]


def letter(numerator: int, denominator: int) -> str:
    thousandths = 1000 * abs(numerator)
    return "NSML"[sum(thousandths >= limit * denominator for limit in (147, 330, 474))]


if __name__ == "__main__":
    assert math.isclose(slow.log10_chi2_tail(3.841458820694124, 1), math.log10(0.05), rel_tol=1e-9)
    main()
