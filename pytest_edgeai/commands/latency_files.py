"""Files of latencies, read into tidy columns: CSV, a session's own reports, pytest-benchmark's JSON.

Every row is checked here, where its line is known, so that an error names the file, the row and the mend. What the
numbers mean is said in `pytest_edgeai.stats`.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pytest_edgeai.errors import EdgeAIError

COLUMNS = ("model", "operator", "tier", "run", "latency_s")
STANDARD_INPUT = "-"
FEWEST = 3
"""Samples that a strategy needs: below that there is no test of anything."""
_NAMES = ("model", "operator", "tier")
_INPUT = "input"
_SAMPLES = "samples.csv"


class LatencyFileError(EdgeAIError, ValueError):
    """A file that cannot be used; the message is one sentence that names the file, the row and the mend."""


class Place(NamedTuple):
    """Where a row stands: in a file, on a line, or for JSON as a value of a trial."""

    file: str
    unit: str
    number: int

    def __str__(self) -> str:
        return f"{self.file}, {self.unit} {self.number}"


class Row(NamedTuple):
    """One latency."""

    place: Place
    model: str
    operator: str
    tier: str
    run: int
    latency_s: float
    input: int | None


@dataclass(frozen=True, slots=True)
class Latencies:
    """The rows of all files.

    Parameters
    ----------
    rows
        In the order of the files.
    cautions
        Sentences about what is odd, though it can be used.
    """

    rows: Sequence[Row]
    cautions: Sequence[str] = ()

    @property
    def inputs(self) -> list[int] | None:
        """The input that each row was measured on, or None where not every row tells."""
        numbers = [row.input for row in self.rows if row.input is not None]
        return numbers if len(numbers) == len(self.rows) else None

    @property
    def by_strategy(self) -> dict[tuple[str, str, str], list[Row]]:
        """Rows by model, operator and tier."""
        groups: dict[tuple[str, str, str], list[Row]] = {}
        for row in self.rows:
            groups.setdefault((row.model, row.operator, row.tier), []).append(row)
        return groups


@dataclass
class _Reading:
    rows: list[Row] = field(default_factory=list)
    cautions: list[str] = field(default_factory=list)


def read_latencies(paths: Iterable[str]) -> Latencies:
    """Read files, one after the other, and check that every strategy can be analysed.

    Parameters
    ----------
    paths
        CSV files with the columns `model,operator,tier,run,latency_s` in any order among others; JSON files that
        pytest-benchmark or a session wrote; folders of session reports; `-` for standard input.

    Raises
    ------
    LatencyFileError
        A file cannot be read, a column is missing, a row is cut off or holds something else than it should, or a
        strategy has fewer than three samples, or only equal ones.
    """
    reading = _Reading()
    for path in paths:
        name, text = _content(path)
        if not text.strip():
            raise LatencyFileError(f"{name} is empty: it needs a line with the columns {','.join(COLUMNS)}, and rows")
        before = len(reading.rows)
        reading.rows += _json_rows(name, text) if text.lstrip().startswith("{") else _csv_rows(name, text, reading)
        if len(reading.rows) == before:
            raise LatencyFileError(f"{name} holds no latencies: there is nothing below its header")
    reading.cautions += _duplicates(reading.rows)
    latencies = Latencies(reading.rows, reading.cautions)
    _check_strategies(latencies)
    return latencies


def _content(path: str) -> tuple[str, str]:
    """What to call a file, and its text."""
    if path == STANDARD_INPUT:
        name, content = "standard input", sys.stdin.buffer.read()
    else:
        file = Path(path) / _SAMPLES if Path(path).is_dir() else Path(path)
        name = str(file)
        try:
            content = file.read_bytes()
        except OSError as error:
            raise LatencyFileError(f"{name} cannot be read: {error.strerror}") from None
    try:
        return name, content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise LatencyFileError(
            f"{name}, line {line}: this is not UTF-8 text (byte {content[error.start]:#04x}); save it as UTF-8"
        ) from None


def _csv_rows(name: str, text: str, reading: _Reading) -> Iterator[Row]:
    records = _records(name, text)
    first, header = next(records)
    header = [column.strip() for column in header]
    positions = _positions(first, header)
    told = header.index(_INPUT) if header.count(_INPUT) == 1 else None
    last = None
    for place, record in records:
        if len(record) != len(header):
            end = place if len(record) < len(header) else None
            nothing_follows = end is not None and next(records, None) is None
            raise LatencyFileError(
                f"{place}: there are {len(record)} values for {len(header)} columns"
                + (
                    ", and the file ends there: it seems to be cut off; copy it again or delete the line"
                    if nothing_follows
                    else "; mend or delete the line"
                )
            )
        values = {column: record[position] for column, position in positions.items()}
        number = None if told is None else _whole(record[told])
        yield _row(place, values, number)
        last = place
    if last is not None and not text.endswith(("\n", "\r")):
        reading.cautions.append(f"{last}: the file ends without a line end; if it is cut off, this latency may be too")


def _records(name: str, text: str) -> Iterator[tuple[Place, list[str]]]:
    """Records that are not blank, with the line they begin on."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        place = Place(name, "line", reader.line_num + 1)
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise LatencyFileError(
                f"{place}: this is no CSV ({error}); mend the line, or copy the file again if it is cut off"
            ) from None
        if any(value.strip() for value in record):
            yield place, record


def _positions(place: Place, header: Sequence[str]) -> dict[str, int]:
    for column in COLUMNS:
        if header.count(column) > 1:
            raise LatencyFileError(f"{place}: the column {column} is there {header.count(column)} times; keep one")
        if column not in header:
            hint = "; separate columns by commas" if len(header) == 1 else ""
            raise LatencyFileError(
                f"{place}: there is no column {column}; the first line must name {','.join(COLUMNS)} (in any order, "
                f"others are ignored), and it names {','.join(header)[:200]}{hint}"
            )
    return {column: header.index(column) for column in COLUMNS}


def _json_rows(name: str, text: str) -> Iterator[Row]:
    """Rows of pytest-benchmark's JSON, whose trials are in `extra_info`, or of a session's `results.json`."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise LatencyFileError(
            f"{name}, line {error.lineno}: this is no JSON ({error.msg}); copy the file again if it is cut off"
        ) from None
    if isinstance(document.get("benchmarks"), list):
        trials = [_trial_of_benchmark(name, number, one) for number, one in enumerate(document["benchmarks"])]
    elif isinstance(document.get("trials"), list):
        trials = list(enumerate(document["trials"]))
    else:
        raise LatencyFileError(f"{name} is JSON, but neither pytest-benchmark's nor a session's results.json")
    for number, trial in trials:
        if not isinstance(trial, dict):
            raise LatencyFileError(f"{name}: trial {number} is no object, as a session writes it; copy the file again")
        if trial.get("status", "valid") == "valid":
            yield from _trial_rows(f"{name}, trial {trial.get('id', number)}", trial)


def _trial_rows(where: str, trial: dict[str, Any]) -> Iterator[Row]:
    """The rows of a trial as a session writes it."""
    try:
        names = {column: str(trial[column]) for column in _NAMES}
        columns = list(zip(trial["run"], trial["input"], trial["latency_s"], strict=True))
        if not all(isinstance(number, int) for number in (trial["replicate"], *trial["run"], *trial["input"])):
            raise ValueError("replicate, run and input have to be whole numbers")
    except (KeyError, TypeError, ValueError) as error:
        raise LatencyFileError(f"{where}: it is not as a session writes it ({error!r}); measure again") from None
    first = trial["replicate"] * len(columns)  # numbered through the trials of a strategy
    for number, (run, told, latency_s) in enumerate(columns, 1):
        values = {**names, "run": str(first + run), "latency_s": repr(latency_s)}
        yield _row(Place(where, "value", number), values, told)


def _trial_of_benchmark(name: str, number: int, benchmark: Any) -> tuple[int, Any]:
    """A trial of pytest-edgeai in pytest-benchmark's JSON, with its number."""
    called = repr(benchmark["name"]) if isinstance(benchmark, dict) and "name" in benchmark else str(number)
    try:
        trial, data = dict(benchmark["extra_info"]["edgeai"]), benchmark["stats"].get("data")
    except (KeyError, TypeError, ValueError, AttributeError):
        raise LatencyFileError(
            f"{name}: the benchmark {called} is no trial of pytest-edgeai: without model, operator "
            "and tier there is nothing to compare; write a CSV with these columns"
        ) from None
    if not data:
        raise LatencyFileError(f"{name}: the benchmark {called} has no raw data; save it with its data")
    return number, {**trial, "latency_s": data}


def _row(place: Place, values: dict[str, str], told: int | None) -> Row:
    model, operator, tier = (values[column].strip() for column in _NAMES)
    for column, name in zip(_NAMES, (model, operator, tier), strict=True):
        if not name:
            raise LatencyFileError(f"{place}: {column} is empty; name it or delete the row")
    run = _whole(values["run"])
    if run is None:
        raise LatencyFileError(f"{place}: run is {values['run']!r}, which is no whole number; number the runs from 0")
    return Row(place, model, operator, tier, run, _latency_s(place, values["latency_s"]), told)


def _whole(text: str) -> int | None:
    """A whole number that fits 64 bits, written with or without decimals."""
    try:
        number = float(text) if "_" not in text else math.nan
    except ValueError:
        return None
    return int(number) if number.is_integer() and abs(number) < 2**53 else None


def _latency_s(place: Place, text: str) -> float:
    try:
        value = float(text) if "_" not in text else None
    except ValueError:
        value = None
    if value is None:
        raise LatencyFileError(
            f"{place}: latency_s is {text!r}, which is not a number; give seconds such as 0.0123, or delete the row"
        )
    if not math.isfinite(value):
        raise LatencyFileError(f"{place}: latency_s is {text.strip()}, which is no latency; mend or delete the row")
    if value < 0:
        raise LatencyFileError(f"{place}: latency_s is {text.strip()}, which is negative; mend or delete the row")
    return value


def _duplicates(rows: Iterable[Row]) -> list[str]:
    """A caution where rows are copies: counted twice, they make everything look twice as sure."""
    first: dict[tuple[Any, ...], Place] = {}
    copies: list[tuple[Place, Place]] = []
    for row in rows:
        original = first.setdefault(row[1:], row.place)
        if original is not row.place:
            copies.append((original, row.place))
    if not copies:
        return []
    (original, copy), *_ = copies
    return [
        f"{len(copies)} {'rows repeat others' if len(copies) > 1 else 'row repeats another'} in model, operator, tier, "
        f"run and latency (first {copy}, as {original}): each copy counts as a measurement of its own; leave copies out"
    ]


def _check_strategies(latencies: Latencies) -> None:
    for strategy, rows in latencies.by_strategy.items():
        name = "-".join(strategy)
        if len(rows) < FEWEST:
            others = "".join(f" and {row.place.unit} {row.place.number}" for row in rows[1:])
            raise LatencyFileError(
                f"{rows[0].place}{others}: the strategy {name} has {len(rows)} sample{'s'[: len(rows) > 1]}, and "
                f"{FEWEST} are needed; measure it again or delete its rows"
            )
        if len({row.latency_s for row in rows}) == 1:
            raise LatencyFileError(
                f"{rows[0].place} to {rows[-1].place.unit} {rows[-1].place.number}: all {len(rows)} samples of the "
                f"strategy {name} equal {rows[0].latency_s!r} s, as no clock shows; measure it again or delete its rows"
            )
