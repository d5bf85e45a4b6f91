"""The first screen: what failed and by how much, what is not proven, and the verdict of every strategy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_edgeai.decisions.asked import Decide
from pytest_edgeai.reporting import budgets, rows
from pytest_edgeai.reporting.cells import NONE, megabytes, metric_change, metric_value, number, trial_counts
from pytest_edgeai.reporting.decisions import decision_document, decisions_of
from pytest_edgeai.reporting.page.parts import Lines, Row, Section, Table
from pytest_edgeai.reporting.page.results import Document, Results, again, keys_of, name_of
from pytest_edgeai.reporting.statistics import milliseconds
from pytest_edgeai.verdicts import is_green

HEADINGS = tuple(heading for heading in rows.HEADINGS if heading != "link error")  # which the proofs have


def overview(results: Results) -> Section:
    """What has to be known first."""
    parts: list[Lines | Table] = [
        Lines("broken", "What is not green", _broken(results)),
        Lines("chosen", *_chosen(results)),
        Lines("remarks", "Unproven, and other remarks", _remarks(results)),
        verdict_table(results),
        _budgets(results),
        _resources(results),
        Lines("again", "Invalid, and tried again", _again(results)),
        Lines("notes", "Notes on strategies that are green", _notes(results)),
    ]
    return Section("verdicts", "Verdicts", (), [part for part in parts if part.rows])


def headline(results: Results) -> str:
    """How many strategies have which verdict."""
    tries, trials = (sum(one[key] for one in results.strategies) for key in ("tries", "trials"))
    return f"{outcomes(results.strategies, 'verdict') or 'nothing was measured'}; {tries} tries at {trials} trials"


def outcomes(rows: Iterable[Document], key: str = "outcome") -> str:
    """How many rows have which outcome, the most frequent first; empty where there are no rows."""
    counts = Counter(str(row[key]) for row in rows)
    return ", ".join(f"{number} {outcome}" for outcome, number in counts.most_common())


def verdict_table(results: Results) -> Table:
    """A row for each strategy."""
    verdicts = [Row(_cells(one), keys_of(name_of(one)), one["verdict"]) for one in results.strategies]
    caption = "Verdicts of all strategies. Latencies are medians over all requests of the valid trials."
    return Table("strategies", caption, HEADINGS, verdicts, texts=2)


def _budgets(results: Results) -> Table:
    """A row for each limit of latency, resources and ratios; empty where the settings have none."""
    rows = [
        Row(cells, keys_of(name_of(one)), cells[2])
        for one in results.strategies
        for cells in budgets.budget_rows([one])
    ]
    caption = "Each limit of a budget. An interval is that of the median over trials, or of the percentile."
    return Table("budgets", caption, budgets.HEADINGS, rows, texts=3)


def _resources(results: Results) -> Table:
    """What each strategy takes besides latency; reports of older versions do not tell it."""
    rows = [
        Row(
            (
                one["id"],
                megabytes(one["size_bytes"]),
                megabytes(one["peak_memory_bytes"]),
                milliseconds(number(one["load_s"])),
                milliseconds(number(one["cold_start_s"])),
                "–" if one["energy_j"] is None else f"{one['energy_j']:.4g} J",
            ),
            keys_of(name_of(one)),
        )
        for one in results.strategies
        if "energy_j" in one
    ]
    caption = (
        "Size of the artifact, the highest peak memory of a tier, and medians over trials: the time to load, that with "
        "the first request, and the energy of a request. " + _energy(results)
    )
    headings = ("strategy", "size", "peak memory", "load", "cold start", "energy")
    return Table("resources", caption, headings, rows)


def _energy(results: Results) -> str:
    """What told the energy, or why nothing did."""
    told = [trial["energy"] for trials in results.valid_trials.values() for trial in trials if "energy" in trial]
    sources, reasons = (list(dict.fromkeys(one[key] for one in told if one[key])) for key in ("source", "unknown"))
    sentences = [f"Energy is that of {', '.join(sources)}, with all that ran there."] if sources else []
    return " ".join([*sentences, *([f"Energy is not known: {'; '.join(reasons)}."] if reasons else [])])


def _cells(one: Document) -> Sequence[str]:
    spans: Mapping[str, Any] = one["spans_s"]
    crossing = [number(value) for name, value in spans.items() if name.startswith("transmit")]
    accuracy = one["accuracy"]
    return (
        one["id"],
        one["verdict"],
        *(milliseconds(number(one[key])) for key in ("median_s", "p95_s", "iqr_s")),
        *(milliseconds(number(spans.get(name))) for name in ("compute", "stretch")),
        milliseconds(sum(crossing) if crossing else math.nan),
        milliseconds(number(one["load_s"])),
        megabytes(one["size_bytes"]),
        NONE if accuracy is None else metric_value(accuracy["value"], accuracy["unit"]),
        NONE if accuracy is None else metric_change(accuracy["drop"], accuracy["unit"]),
        trial_counts(one["valid_trials"], one["trials"], one["tries"]),
    )


def _broken(results: Results) -> list[Row]:
    found = [
        Row((one["id"], one["verdict"], one["reason"]), keys_of(name_of(one)), one["verdict"])
        for one in results.strategies
        if not is_green(one["verdict"])
    ]
    found += [
        Row(
            (f"{one['model']}-{one['operator']}", "not built", one["reason"]),
            {"model": one["model"], "operator": one["operator"]},
            "invalid",
        )
        for one in results.document["failures"]
    ]
    comparison = results.document["comparison"]
    if comparison is not None and not comparison["green"]:
        words = (
            outcomes(row for row in comparison["strategies"] if not is_green(row["outcome"])) or "nothing to compare"
        )
        against = f"{comparison['after']} against {comparison['before']}"
        found.insert(
            0, Row((against, words, "see the comparison"), {}, "fail" if comparison["fails"] else "inconclusive")
        )
    if results.document["interrupted"]:
        found.insert(0, Row(("the session", "interrupted", str(results.document["interrupted"])), {}, "invalid"))
    return found


def _chosen(results: Results) -> tuple[str, list[Row]]:
    """For each model, the strategy that meets the constraints of the settings, and why; without any, the fastest."""
    title, decisions = "The choice", results.document["decisions"]
    if results.document["settings"].get("decide") is None:
        title = "The choice: the fastest that is green, since the settings have no constraints ([decide])"
        green = [one for one in results.strategies if is_green(one["verdict"])]
        decisions = map(decision_document, decisions_of(Decide(), green, results.document["trials"]))
    return title, [
        Row(
            (one["model"], one["choice"] or "none", one["reason"]),
            {"model": one["model"]},
            _choice_state(one["choice"]),
        )
        for one in decisions
    ]


def _choice_state(choice: str | None) -> str:
    return "inconclusive" if choice is None else "pass"


def _notes(results: Results) -> list[Row]:
    return [
        Row((one["id"], one["verdict"], one["reason"]), keys_of(name_of(one)), one["verdict"])
        for one in results.strategies
        if is_green(one["verdict"]) and one["reason"]
    ]


def _remarks(results: Results) -> list[Row]:
    return [Row(("", "", remark), {}, "inconclusive") for remark in results.document["remarks"]]


def _again(results: Results) -> list[Row]:
    """Each reason once for each strategy, since a busy host spoils many attempts in the same way."""
    counted = Counter((name_of(trial), trial["cause"]) for trial in again(results))
    last = {(name_of(trial), trial["cause"]): trial["reason"] for trial in again(results)}
    return [
        Row(
            ("-".join(name), _times(times), f"because of the {cause}: {last[name, cause]}"),
            keys_of(name),
            "inconclusive",
        )
        for (name, cause), times in counted.items()
    ]


def _times(times: int) -> str:
    return "1 invalid attempt" if times == 1 else f"{times} invalid attempts"
