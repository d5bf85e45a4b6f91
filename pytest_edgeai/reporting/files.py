"""The folder of reports: `samples.csv` grows with every trial, the other files come at the end.

What was measured is on disk before anything can fail.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_edgeai import __version__
from pytest_edgeai.errors import ReportError, SettingsError
from pytest_edgeai.reporting.accuracy import accuracy_document, pairs_document
from pytest_edgeai.reporting.budgets import budget_document
from pytest_edgeai.reporting.decisions import decision_document
from pytest_edgeai.settings import Settings
from pytest_edgeai.store import library_versions
from pytest_edgeai.wire.timing import SPAN_NAMES

if TYPE_CHECKING:
    from pytest_edgeai.measure.records import TrialRecord
    from pytest_edgeai.measured import Measured, OtherVersion
    from pytest_edgeai.verdicts.outcome import SessionOutcome, StrategyResult

SAMPLES, RESULTS, SUMMARY, COMPARISON = "samples.csv", "results.json", "summary.md", "comparison.md"
METRICS = "metrics.txt"
AGAINST_SAMPLES = "samples-against.csv"
PAGE = "report.html"
RESULTS_FORMAT = 1
_LATEST = "latest"
_KEYS = ("model", "operator", "tier", "replicate", "run", "input", "latency_s")


class ReportFolder:
    """A folder for one measured.

    Parameters
    ----------
    path
        The folder, which exists.
    settings
        What is asked for.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        self._requests = settings.measurement.requests
        topology = settings.topology
        hops = dict.fromkeys(hop.name for tier in topology.tiers for hop in topology.route(tier))
        self._spans = [*SPAN_NAMES, *(f"transmit {name}" for name in hops)]
        self._columns = [*_KEYS, *map(_column, self._spans), "cpu_s", "waited_s", "instructions"]
        self._begun: set[str] = set()
        self._begin(SAMPLES)

    @classmethod
    def open(cls, parent: Path, settings: Settings) -> ReportFolder:
        """Make a folder named by the time.

        Raises
        ------
        SettingsError
            It cannot be made.
        """
        from pytest_edgeai.reporting.page.bundle import javascript

        javascript()  # where it is not there yet, it takes seconds, which the end of a session does not have
        now = datetime.now().astimezone()
        try:
            parent.mkdir(parents=True, exist_ok=True)
            path = _new_folder(parent, now.strftime("%Y-%m-%dT%H-%M-%S"))
            folder = cls(path, settings)
        except OSError as error:
            raise SettingsError(f"report (--edgeai-report): {parent} cannot be written: {error.strerror}") from None
        except ReportError as error:
            raise SettingsError(f"report (--edgeai-report): {error}") from None
        _point_to(parent / _LATEST, path)
        return folder

    def append(self, record: TrialRecord) -> None:
        """Write a trial's samples, all or none; those of another version into a file of their own.

        Raises
        ------
        ReportError
            They cannot be written.
        """
        name = AGAINST_SAMPLES if record.trial.version else SAMPLES
        self._begin(name)
        strategy, replicate = record.trial.strategy, record.trial.replicate
        names = (strategy.model, strategy.operator, strategy.placement, replicate)
        rows = []
        for one in record.measurements:
            spans = dict(one.spans_s)
            transmits_s = [value for name, value in spans.items() if name.startswith("transmit")]
            if transmits_s:
                spans["transmit"] = sum(transmits_s)
            run = replicate * self._requests + one.run  # numbered through, so that it tells the input
            row = [*names, run, one.input, repr(one.latency_s)]
            waiting = ["" if value is None else repr(value) for value in (one.cpu_s, one.waited_s, one.instructions)]
            rows.append([*row, *(repr(spans[name]) if name in spans else "" for name in self._spans), *waiting])
        self._add(name, rows)

    def remove(self, record: TrialRecord) -> None:
        """Take a trial's samples out again: its test was repeated."""
        if not record.measurements:
            return
        path = self.path / (AGAINST_SAMPLES if record.trial.version else SAMPLES)
        strategy = record.trial.strategy
        names = [strategy.model, strategy.operator, str(strategy.placement), str(record.trial.replicate)]
        with path.open(encoding="utf-8", newline="") as file:
            kept = [row for row in csv.reader(file) if row[: len(names)] != names]
        text = io.StringIO(newline="")
        csv.writer(text).writerows(kept)
        _write({path: text.getvalue()})

    def finish(self, measured: Measured, outcome: SessionOutcome) -> None:
        """Write what was found: all of these files or none, and then the page that is drawn from them.

        Raises
        ------
        ReportError
            They cannot be written.
        """
        from pytest_edgeai.reporting.markdown import summary
        from pytest_edgeai.reporting.openmetrics import openmetrics
        from pytest_edgeai.reporting.page.rendering import render

        document = results_document(measured, outcome)
        texts = {
            RESULTS: json.dumps(document, indent=1, allow_nan=False) + "\n",
            SUMMARY: summary(measured, outcome),
            METRICS: openmetrics(document),
        }
        if outcome.comparison is not None:
            from pytest_edgeai.reporting.comparison import markdown

            texts[COMPARISON] = markdown(outcome.comparison)
        self._write(texts)
        self._write({PAGE: render(document)})

    def _write(self, texts: Mapping[str, str]) -> None:
        try:
            _write({self.path / name: text for name, text in texts.items()})
        except OSError as error:
            raise ReportError(f"{', '.join(texts)} cannot be written in {self.path}: {error.strerror}") from None

    def _begin(self, name: str) -> None:
        if name not in self._begun:
            self._add(name, [self._columns])
            self._begun.add(name)

    def _add(self, name: str, rows: Sequence[Sequence[object]]) -> None:
        """Add rows to a file, and leave it as it was where they cannot all be written."""
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        left = memoryview(text.getvalue().encode("utf-8"))
        try:
            with (self.path / name).open("ab", buffering=0) as file:  # a buffer would try again while it is closed
                end = file.seek(0, os.SEEK_END)
                try:
                    while left:
                        left = left[file.write(left) :]
                except BaseException:
                    file.truncate(end)
                    raise
        except OSError as error:
            raise ReportError(f"{self.path / name} cannot be written: {error.strerror}") from None


def results_document(measured: Measured, outcome: SessionOutcome) -> dict[str, Any]:
    """The content of `results.json`."""
    plan, settings = measured.plan, measured.plan.settings
    return {
        "format": RESULTS_FORMAT,
        "version": __version__,
        "green": outcome.green,
        "interrupted": outcome.interrupted or None,
        "remarks": list(outcome.remarks),
        "seed": plan.seed,
        "arguments": list(plan.arguments),
        "backend": {"name": plan.backend, "description": plan.backend_description},
        "host": plan.host.as_json(),
        "libraries": library_versions(("onnxruntime", "numpy", "pytest", "pytest-benchmark")),
        "settings": settings.model_dump(mode="json", by_alias=False),
        "tiers": {
            name: {
                "cores": given.cores,
                "threads": given.threads,
                "compute_scale": given.compute_scale,
                "memory_bytes": given.memory_bytes,
                "gpu": given.gpu,
            }
            for name, given in plan.allotments.items()
        },
        "artifacts": [
            {
                "model": model,
                "operator": operator,
                "digest": ready.artifact.entry.digest,
                "content": ready.artifact.entry.content,
                "size_bytes": ready.artifact.entry.size_bytes,
                "metrics": ready.evaluation.metrics,
                "provenance": ready.artifact.entry.provenance,
                "combinations": [asdict(one) for one in ready.evaluation.combinations],
            }
            for (model, operator), ready in measured.prepared.items()
        ],
        "failures": [
            {"model": model, "operator": operator, "reason": sentence}
            for (model, operator), sentence in measured.failures.items()
        ],
        "strategies": [strategy_document(result) for result in outcome.results],
        "decisions": [decision_document(one) for one in outcome.decisions],
        "comparison": None if outcome.comparison is None else finite(outcome.comparison.as_json()),
        "statistics": None if outcome.analysis is None else outcome.analysis.as_json(),
        "accuracy_statistics": pairs_document(outcome),
        "trials": [finite(record.as_json()) for record in measured.attempts if not record.trial.version],
        "against": None if measured.other is None else _against(measured, measured.other),
    }


def _against(measured: Measured, other: OtherVersion) -> dict[str, Any]:
    """The other version that was measured in the measured."""
    return {
        "revision": other.commit.revision,
        "commit": other.commit.digest,
        "artifacts": [
            {
                "model": model,
                "operator": operator,
                "digest": ready.artifact.entry.digest,
                "content": ready.artifact.entry.content,
                "same": (model, operator) in measured.prepared
                and other.is_same((model, operator), measured.prepared[model, operator]),
            }
            for (model, operator), ready in other.prepared.items()
        ],
        "trials": [finite(record.as_json()) for record in measured.attempts if record.trial.version],
    }


def strategy_document(result: StrategyResult) -> dict[str, Any]:
    """A strategy with its verdict and figures, as `results.json` has it."""
    strategy, accuracy, figures = result.strategy, result.accuracy, result.figures
    document: dict[str, Any] = finite(
        {
            "id": strategy.id,
            "model": strategy.model,
            "operator": strategy.operator,
            "tier": str(strategy.placement),
            "verdict": result.verdict.outcome,
            "reason": result.verdict.reason,
            "trials": result.trials,
            "valid_trials": result.valid,
            "tries": result.tries,
            "median_s": result.median_s,
            "p95_s": result.p95_s,
            "iqr_s": result.iqr_s,
            "load_s": result.load_s,
            "cold_start_s": figures and figures.middle("cold_start"),
            "peak_memory_bytes": figures and figures.middle("memory"),
            "energy_j": figures and figures.middle("energy"),
            "energy_source": result.energy_source,
            "spans_s": result.spans_s,
            "link_error_s": result.link_error_s,
            "size_bytes": result.size_bytes,
            "metrics": {name: score.value for name, score in result.scores.items()},
            "accuracy": accuracy_document(accuracy),
            "accuracy_not_measured": result.unmeasured or None,
            "accuracy_drop": None if accuracy is None else accuracy.drop,
            "accuracy_limit": None if accuracy is None else accuracy.limit,
            "budgets": [budget_document(budget) for budget in result.budgets],
        }
    )
    return document


def finite(value: Any) -> Any:
    """The value with null for every number that is not finite: JSON has no NaN."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [finite(inner) for inner in value]
    return value


def _column(span: str) -> str:
    return f"{span.replace(' ', '_').replace('-', '_')}_s"


def _new_folder(parent: Path, name: str) -> Path:
    for number in range(1000):
        path = parent / (name if number == 0 else f"{name}-{number}")
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            return path
    raise FileExistsError(0, "there are too many reports of this second", str(parent / name))


def _point_to(link: Path, target: Path) -> None:
    """Let `latest` lead to the newest folder, where the file system has links and nothing else is in the way."""
    with contextlib.suppress(OSError):
        if link.is_symlink():
            link.unlink()
        link.symlink_to(target.name, target_is_directory=True)


def _write(texts: Mapping[Path, str]) -> None:
    """Write files; each is whole, and there are all or none of them."""
    partial = {path: path.with_name(f".{path.name}.partial") for path in texts}
    try:
        for path, text in texts.items():
            partial[path].write_text(text, encoding="utf-8")
        for path, written in partial.items():
            written.replace(path)
    except OSError:
        for written in partial.values():
            written.unlink(missing_ok=True)
        raise
