"""Histories in the formats of other tools: github-action-benchmark, Bencher and airspeed velocity."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pytest_edgeai.errors import VersionError
from pytest_edgeai.versions.summaries import LATENCY, SIZE, Quantity, Summary, moment

_DATA: Final = "window.BENCHMARK_DATA"
_OURS: Final = "pytest_edgeai"
_TOOLS: Final = {False: "customSmallerIsBetter", True: "customBiggerIsBetter"}
_SUITES: Final = {False: "pytest-edgeai", True: "pytest-edgeai, larger is better"}
_LARGER_IS_BETTER: Final = {"customBiggerIsBetter", "pytest", "benchmarkjs", "benchmarkluau"}
_SECONDS: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_ENVIRONMENT: Final = "existing-python"
_COLUMNS: Final = ("result", "params", "version", "started_at", "duration")


class ExchangeError(VersionError):
    """A file of another tool that cannot be read; one sentence."""


def write(sessions: Sequence[Summary], target: Path, form: str) -> int:
    """Write sessions for another tool.

    Parameters
    ----------
    sessions
        In their order; formats of one session take the newest.
    target
        The file, or the folder of results of asv; made when needed.
    form
        `github-action-benchmark`, `github-action-benchmark-larger`, `github-action-benchmark-data`, `bencher` or `asv`.

    Returns
    -------
    int
        How many files were written.

    Raises
    ------
    OSError
        A file cannot be written.
    """
    if form == "asv":
        return _write_asv(sessions, target)
    newest = sessions[-1]
    text = {
        "github-action-benchmark": lambda: _dumped(github_benches(newest, higher_is_better=False)),
        "github-action-benchmark-larger": lambda: _dumped(github_benches(newest, higher_is_better=True)),
        "github-action-benchmark-data": lambda: f"{_DATA} = {_dumped(github_data(sessions))}",
        "bencher": lambda: _dumped(bencher_metrics(newest)),
    }[form]()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return 1


def read(path: Path) -> tuple[Summary, ...]:
    """The sessions of another tool's history.

    Parameters
    ----------
    path
        data.js or the JSON in it of github-action-benchmark, or a folder of results of asv.

    Raises
    ------
    ExchangeError
        It is neither, or not whole.
    """
    try:
        if path.is_dir():
            return tuple(_read_asv(path))
        text = path.read_text(encoding="utf-8").strip()
        document = json.loads(re.sub(rf"^{re.escape(_DATA)}\s*=", "", text).rstrip().removesuffix(";"))
        return tuple(_read_github(document))
    except OSError as error:
        raise ExchangeError(f"{error.filename} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ExchangeError(
            f"{path} has no history of github-action-benchmark (data.js) or asv (its folder of results): "
            f"{type(error).__name__}: {error}"
        ) from None


def github_benches(session: Summary, *, higher_is_better: bool) -> list[dict[str, Any]]:
    """A session as github-action-benchmark's customSmallerIsBetter or customBiggerIsBetter; times in milliseconds."""
    return [
        {
            "name": f"{strategy}/{quantity.name}",
            "unit": "ms" if quantity.unit == "s" else quantity.unit,
            "value": value * 1e3 if quantity.unit == "s" else value,
            "extra": json.dumps({_OURS: {**_described(session, strategy, quantity), **_about(session, [strategy])}}),
        }
        for strategy, quantity, value in _values(session)
        if quantity.higher_is_better == higher_is_better
    ]


def github_data(sessions: Sequence[Summary]) -> dict[str, Any]:
    """All sessions as the object in github-action-benchmark's data.js."""
    entries: dict[str, list[dict[str, Any]]] = {}
    for higher, suite in _SUITES.items():
        for session in sessions:
            benches = github_benches(session, higher_is_better=higher)
            if benches:
                commit = {
                    "id": session.commit,
                    "message": "",
                    "timestamp": session.committed_at,
                    "url": "",
                    "author": {"name": "", "username": "", "email": ""},
                    "committer": {"name": "", "username": "", "email": ""},
                }
                entries.setdefault(suite, []).append(
                    {
                        "commit": commit,
                        "date": _milliseconds(session.saved_at),
                        "tool": _TOOLS[higher],
                        "benches": benches,
                    }
                )
    return {"lastUpdate": _milliseconds(sessions[-1].saved_at), "repoUrl": "", "entries": entries}


def bencher_metrics(session: Summary) -> dict[str, dict[str, dict[str, float]]]:
    """A session in the Bencher Metric Format: its own measure `latency` is in nanoseconds, and `file-size` in bytes."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for strategy, quantity, value in _values(session):
        measure = "file-size" if quantity.name == SIZE else quantity.name.replace(" ", "-")
        found.setdefault(strategy, {})[measure] = {"value": value * 1e9 if quantity.unit == "s" else value}
    return found


def _write_asv(sessions: Sequence[Summary], folder: Path) -> int:
    """A benchmark for each quantity of each strategy; of several sessions of a commit the last counts."""
    machine = folder / _OURS
    machine.mkdir(parents=True, exist_ok=True)
    benchmarks: dict[str, Any] = {"version": 2}
    files: dict[str, str] = {}
    for session in sessions:
        if not session.commit:
            continue  # asv has a place for results of commits only
        results = {}
        for strategy, quantity, value in _values(session):
            name = f"{strategy}.{quantity.name}".replace(" ", "_")
            results[name] = [[value], [], "1", _milliseconds(session.saved_at), None]
            benchmarks[name] = {
                "name": name,
                "code": "",
                "param_names": [],
                "params": [],
                "type": "time" if quantity.unit == "s" else "track",
                "unit": "seconds" if quantity.unit == "s" else quantity.unit,
                "version": "1",
                "timeout": 60.0,
                _OURS: _described(session, strategy, quantity),
            }
        document = {
            "commit_hash": session.commit,
            "env_name": _ENVIRONMENT,
            "date": _milliseconds(session.committed_at or session.saved_at),
            "params": {"machine": _OURS, "python": ""},
            "python": "",
            "requirements": {},
            "env_vars": {},
            "result_columns": list(_COLUMNS),
            "results": results,
            "durations": {},
            "version": 2,
            _OURS: {"saved_at": session.saved_at, **_about(session, session.values)},
        }
        files[f"{session.commit[:8]}-{_ENVIRONMENT}.json"] = _dumped(document)
    for name, text in files.items():
        (machine / name).write_text(text, encoding="utf-8")
    (machine / "machine.json").write_text(_dumped({"machine": _OURS, "version": 1}), encoding="utf-8")
    (folder / "benchmarks.json").write_text(_dumped(benchmarks), encoding="utf-8")
    return len(files) + 2


def _read_asv(folder: Path) -> Iterator[Summary]:
    described = json.loads((folder / "benchmarks.json").read_text(encoding="utf-8"))
    for path in sorted(folder.glob("*/*.json")):
        if path.name == "machine.json":
            continue
        document = json.loads(path.read_text(encoding="utf-8"))
        made = _Import(path.relative_to(folder).as_posix(), _iso(document["date"]), document["commit_hash"])
        place = document["result_columns"].index("result")
        for name, columns in document["results"].items():
            columns = columns if isinstance(columns, list) else [columns]
            outcome = columns[place]
            values = outcome if isinstance(outcome, list) else [outcome]
            about = described.get(name, {})
            seconds = about.get("type") == "time"
            quantity = Quantity(LATENCY if seconds else "value", "s" if seconds else str(about.get("unit", "")))
            parameters = _combinations(columns[1] if len(columns) > 1 else [])
            for label, value in zip(parameters, values, strict=False):
                if isinstance(value, int | float):
                    made.add(f"{name}{label}", quantity, float(value), about.get(_OURS))
        if made.values:
            ours = document.get(_OURS, {})
            made.take(ours)
            made.saved_at = str(ours.get("saved_at", made.saved_at))
            yield made.summary()


def _combinations(parameters: Sequence[Sequence[str]]) -> list[str]:
    """What asv appends to a name for each combination of parameters."""
    import itertools

    return [f"({', '.join(one)})" if one else "" for one in itertools.product(*parameters)]


def _read_github(document: Mapping[str, Any]) -> Iterator[Summary]:
    """Entries of one commit and time are one session, whatever suite they are of."""
    sessions: dict[tuple[str, int], _Import] = {}
    for suite, entries in document["entries"].items():
        for entry in entries:
            commit, date = entry["commit"], int(entry["date"])
            made = sessions.setdefault(
                (commit["id"], date),
                _Import(f"{commit['id'][:8]} {date}", str(commit.get("timestamp") or ""), commit["id"]),
            )
            made.saved_at = _iso(date)
            for bench in entry["benches"]:
                unit = str(bench.get("unit") or "").split("/")[0].strip()
                factor = _SECONDS.get(unit)
                quantity = Quantity(
                    "value" if factor is None else LATENCY,
                    unit if factor is None else "s",
                    entry.get("tool") in _LARGER_IS_BETTER,
                )
                ours = _ours(bench.get("extra"))
                name = bench["name"] if ours or suite in _SUITES.values() else f"{suite}: {bench['name']}"
                made.add(name, quantity, float(bench["value"]) * (factor or 1.0), ours)
                made.take(ours or {})
    for made in sessions.values():
        if made.values:
            yield made.summary()


class _Import:
    """A session that is being read."""

    def __init__(self, file: str, committed_at: str, commit: str) -> None:
        self.file, self.committed_at, self.commit = file, committed_at, commit
        self.saved_at = committed_at
        self.about: dict[str, Any] = {}
        self.values: dict[str, dict[str, float]] = {}
        self.quantities: dict[str, Quantity] = {}
        self.keys: dict[str, tuple[str, str, str]] = {}
        self.contents: dict[str, str] = {}

    def add(self, name: str, quantity: Quantity, value: float, ours: Mapping[str, Any] | None) -> None:
        """Add a value; `ours` is what we have written beside it, if we have."""
        if ours:
            name = str(ours["strategy"])
            quantity = Quantity(**ours["quantity"])
            if ours["keys"]:
                model, operator, tier = ours["keys"]
                self.keys[name] = (model, operator, tier)
        elif self.quantities.get(quantity.name, quantity) != quantity:
            quantity = Quantity(f"{quantity.name} in {quantity.unit}", quantity.unit, quantity.higher_is_better)
        self.values.setdefault(name, {})[quantity.name] = value
        self.quantities[quantity.name] = quantity

    def take(self, about: Mapping[str, Any]) -> None:
        """Take what `_about` wrote, if anything."""
        self.about |= {key: about[key] for key in ("conditions", "branch", "dirty", "code") if key in about}
        self.contents |= about.get("contents", {})

    def summary(self) -> Summary:
        """The session."""
        return Summary(
            file=self.file,
            saved_at=self.saved_at,
            commit=self.commit,
            committed_at=self.committed_at,
            quantities=self.quantities,
            values=self.values,
            keys=self.keys,
            contents=self.contents,
            **self.about,
        )


def _described(session: Summary, strategy: str, quantity: Quantity) -> dict[str, Any]:
    """What the formats have no place for in a benchmark."""
    return {
        "strategy": strategy,
        "quantity": {"name": quantity.name, "unit": quantity.unit, "higher_is_better": quantity.higher_is_better},
        "keys": session.keys.get(strategy),
    }


def _about(session: Summary, strategies: Iterable[str]) -> dict[str, Any]:
    """What they have no place for in a session."""
    return {
        "conditions": session.conditions,
        "branch": session.branch,
        "dirty": session.dirty,
        "code": session.code,
        "contents": {name: session.contents[name] for name in strategies if name in session.contents},
    }


def _ours(extra: object) -> Mapping[str, Any] | None:
    if not isinstance(extra, str) or _OURS not in extra:
        return None
    try:
        found: Mapping[str, Any] | None = json.loads(extra).get(_OURS)
    except (ValueError, AttributeError):
        return None
    return found


def _values(session: Summary) -> Iterator[tuple[str, Quantity, float]]:
    for strategy, found in session.values.items():
        for name, value in found.items():
            yield strategy, session.quantities[name], value


def _milliseconds(time: str) -> int:
    return round(moment(time) * 1e3)


def _iso(milliseconds: float) -> str:
    return datetime.fromtimestamp(milliseconds / 1e3, UTC).isoformat()


def _dumped(document: Any) -> str:
    return json.dumps(document, indent=1, allow_nan=False) + "\n"
