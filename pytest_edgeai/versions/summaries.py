"""What the history keeps of a saved session: its commit, and for each strategy one number of every quantity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from pytest_edgeai.errors import VersionError
from pytest_edgeai.versions.checksum import is_signed
from pytest_edgeai.versions.recording import KEY, read_recording

LATENCY: Final = "latency"
LOAD: Final = "load"
CPU: Final = "CPU time"
SIZE: Final = "size"
MEMORY: Final = "memory"
_DIGITS: Final = 12
"""Of digests, enough to tell sessions of one project apart."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """What is watched over commits.

    Parameters
    ----------
    name
        `latency`, a span such as `compute`, `CPU time` of the computing threads, `load`, `memory`, `size` or a metric.
    unit
        `s`, `bytes`, `%`, any other, or empty.
    higher_is_better
        Its direction.
    """

    name: str
    unit: str
    higher_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """A saved session.

    Parameters
    ----------
    file
        Where it is or was, relative to the storage.
    saved_at, committed_at
        Times in ISO 8601; the second is empty where the commit is not known.
    commit
        Its full name; empty where it is not known.
    branch
        As git named it; empty where it is not known.
    dirty
        Whether there were changes that were not committed.
    conditions
        Digest of what two sessions have to have in common to be compared.
    quantities
        By name.
    values
        By strategy and quantity: medians of latency, spans and CPU time over the requests of all valid trials, of
        `load` and `memory` over the trials; size and metrics are those of the artifact.
    keys
        Model, operator and placement of each strategy of which they are known.
    signed
        Whether it had a checksum.
    contents
        Digest of the files of each strategy's artifact, where it is known.
    code
        Digest of the code that measured; empty where it is not known.
    """

    file: str
    saved_at: str
    commit: str = ""
    committed_at: str = ""
    branch: str = ""
    dirty: bool = False
    conditions: str = ""
    quantities: Mapping[str, Quantity] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    keys: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    signed: bool = True
    contents: Mapping[str, str] = field(default_factory=dict)
    code: str = ""

    @property
    def short(self) -> str:
        """The commit as people write it, with `+` where there were changes that were not committed."""
        return (self.commit[:8] or "unknown") + ("+" if self.dirty else "")

    def as_json(self) -> dict[str, Any]:
        """JSON values only."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Summary:
        """What `as_json` gave.

        Raises
        ------
        KeyError, TypeError, ValueError
            It is something else.
        """
        quantities = {name: Quantity(**one) for name, one in document["quantities"].items()}
        keys = {
            name: (str(model), str(operator), str(tier)) for name, (model, operator, tier) in document["keys"].items()
        }
        return cls(**{**document, "quantities": quantities, "keys": keys})


def summarize(document: Mapping[str, Any], file: str) -> Summary:
    """The summary of a saved session.

    Parameters
    ----------
    document
        The content of a file of pytest-benchmark, with our part.
    file
        Its name, relative to the storage.

    Raises
    ------
    VersionError
        The session is not whole.
    """
    recording = read_recording(document, file)
    values: dict[str, dict[str, float]] = {}
    quantities: dict[str, Quantity] = {}
    contents: dict[str, str] = {}
    for name, one in recording.strategies.items():
        found = values.setdefault(name, {})
        if one.latencies_s.size and not one.invalid:
            found[LATENCY] = float(np.median(one.latencies_s))
            quantities[LATENCY] = Quantity(LATENCY, "s")
        if one.peak_memory_bytes:
            found[MEMORY] = float(np.median(one.peak_memory_bytes))
            quantities[MEMORY] = Quantity(MEMORY, "bytes")
        artifact = recording.artifacts.get(recording.artifact_of[name])
        if artifact is not None:
            contents[name] = artifact.content[:_DIGITS]
            found[SIZE] = float(artifact.size_bytes)
            quantities[SIZE] = Quantity(SIZE, "bytes")
            for metric, value in artifact.metrics.items():
                found[metric] = float(value)
                quantities[metric] = Quantity(metric, *artifact.kind(metric))
    try:
        keys = _add_spans(document, values, quantities)
        commit = document.get("commit_info") or {}
        known = len(str(commit.get("id") or "")) >= 40  # git's and Mercurial's; pytest-benchmark has words for none
        return Summary(
            file=file,
            saved_at=str(document.get("datetime") or ""),
            commit=str(commit["id"]) if known else "",
            committed_at=str(commit.get("time") or "") if known else "",
            branch=str(commit.get("branch") or "").strip("()") if known else "",
            dirty=bool(commit.get("dirty")),
            conditions=digest_of(recording.conditions),
            quantities=quantities,
            values={name: found for name, found in values.items() if found},
            keys=keys,
            signed=is_signed(document),
            contents=contents,
            code=recording.code[:_DIGITS],
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise VersionError(f"{file} is not whole ({type(error).__name__}: {error}): measure it again") from None


def moment(text: str) -> float:
    """A time in ISO 8601 as seconds since the epoch; 0 where it is not known."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def digest_of(conditions: Mapping[str, Any]) -> str:
    """A short name of the conditions that sessions were measured under."""
    canonical = json.dumps(conditions, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:_DIGITS]


def _add_spans(
    document: Mapping[str, Any], values: Mapping[str, dict[str, float]], quantities: dict[str, Quantity]
) -> dict[str, tuple[str, str, str]]:
    """Put medians of spans and of loading into the values; returns what strategies are of."""
    trials: dict[str, list[Mapping[str, Any]]] = {}
    keys: dict[str, tuple[str, str, str]] = {}
    for benchmark in document.get("benchmarks") or ():
        details = benchmark["extra_info"].get(KEY)
        if not details:
            continue
        key = (str(details["model"]), str(details["operator"]), str(details["tier"]))
        name = "-".join(key)
        of_other_version = "@" in str(details["id"])[len(name) :]
        if name in values and details["status"] == "valid" and not of_other_version:
            trials.setdefault(name, []).append(details)
            keys[name] = key
    for name, made in trials.items():
        pooled: dict[str, list[float]] = {}
        for details in made:
            for span, seconds in {**details["spans_s"], CPU: details.get("cpu_s") or ()}.items():
                pooled.setdefault(span, []).extend(one for one in seconds if one is not None)
            if details["load_s"]:
                pooled.setdefault(LOAD, []).append(sum(details["load_s"].values()))
        for span, seconds in pooled.items():
            if seconds and span not in values[name]:
                values[name][span] = float(np.median(seconds))
                quantities[span] = Quantity(span, "s")
    return keys
