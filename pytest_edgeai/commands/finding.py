"""Which artifact of the store a name such as `bert-sptq` means: what the newest report has, else what the store has.

A project's conftest is not read, so that neither its models nor its operators are known: reports say which artifact was
measured under a name, and provenance names the operators that made it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_edgeai.errors import EdgeAIError, unknown
from pytest_edgeai.operators.chains import EXPORTER, SEPARATOR
from pytest_edgeai.reporting.files import RESULTS
from pytest_edgeai.store import MANIFEST, Artifact, Kind, Store

_KIND: Kind = "artifacts"


class FindError(EdgeAIError):
    """There is no such artifact, or more than one; one sentence."""


@dataclass(frozen=True, slots=True)
class _Named:
    """An artifact's names and digest, as a report or a manifest has them."""

    model: str
    operator: str
    digest: str
    built_at: float

    @property
    def name(self) -> str:
        return f"{self.model}-{self.operator}"

    def __str__(self) -> str:
        return f"{self.digest[:12]} (built {time.strftime('%Y-%m-%d %H:%M', time.localtime(self.built_at))})"


def find_artifact(name: str, store: Store, reports: Path, digest: str = "") -> tuple[Artifact, str]:
    """Find an artifact by its name.

    Parameters
    ----------
    name
        Model and operator, with a hyphen between them.
    store
        Where it is.
    reports
        The folder of all sessions' reports.
    digest
        The beginning of the digest that it has to have; empty takes that of the newest report with the name, and where
        no report has it the only artifact with the name.

    Returns
    -------
    artifact, source
        The artifact, and in a few words why it is this one.

    Raises
    ------
    FindError
        There is none, or more than one, or it is not whole.
    """
    reported, stored = tuple(_reported(reports)), tuple(_stored(store))
    known = dict.fromkeys(one.name for one in (*(one for one, _ in reported), *stored))
    if name not in known:
        raise FindError(
            f"{unknown('artifact', name, known)} in the reports of {reports} or in {store.root}; "
            "artifacts are built by sessions and by --edgeai-prepare"
        )
    chosen, source = _choose(name, reported, stored, digest, store)
    entry = store.get(_KIND, chosen.digest)
    if entry is None:
        raise FindError(
            f"{chosen.name} of {source} is artifact {chosen.digest[:12]}, which {store.root} does not have, or not "
            "whole: run the session again, or name its store with --store"
        )
    return Artifact(chosen.model, chosen.operator, entry), source


def _choose(
    name: str, reported: tuple[tuple[_Named, Path], ...], stored: tuple[_Named, ...], digest: str, store: Store
) -> tuple[_Named, str]:
    if digest:
        candidates = {
            one.digest: one
            for one in (*stored, *(one for one, _ in reported))
            if one.name == name and one.digest.startswith(digest)
        }
        if not candidates:
            raise FindError(f"no artifact {name} has a digest that begins with {digest!r}")
    else:
        for one, report in reported:
            if one.name == name:
                return one, str(report)
        candidates = {one.digest: one for one in stored if one.name == name}
    if len(candidates) > 1:
        listed = ", ".join(map(str, sorted(candidates.values(), key=lambda one: -one.built_at)))
        raise FindError(f"{store.root} has {len(candidates)} artifacts {name}: give --digest with one of {listed}")
    return next(iter(candidates.values())), "the store"


def _reported(reports: Path) -> Iterator[tuple[_Named, Path]]:
    """The artifacts of all reports, those of the newest first."""
    paths = [path for path in reports.glob(f"*/{RESULTS}") if not path.parent.is_symlink()]  # `latest` is a link
    for path in sorted(paths, reverse=True):
        artifacts = _read(path).get("artifacts")
        for described in artifacts if isinstance(artifacts, list) else ():
            try:
                built_at = float(described["provenance"]["built_at"])
                yield _Named(described["model"], described["operator"], described["digest"], built_at), path
            except (KeyError, TypeError, ValueError):
                continue


def _stored(store: Store) -> Iterator[_Named]:
    """The artifacts of a store, by the operators that made them; identity is named only where it is alone."""
    for path in sorted((store.root / _KIND).glob(f"[0-9a-f]*/{MANIFEST}")):
        manifest = _read(path)
        try:
            steps = [step["operator"] for step in manifest["provenance"]["steps"]]
            operator = SEPARATOR.join(step for step in steps if step != EXPORTER) or EXPORTER
            built_at = float(manifest["provenance"]["built_at"])
            yield _Named(manifest["recipe"]["subject"]["name"], operator, path.parent.name, built_at)
        except (KeyError, TypeError, ValueError):
            continue


def _read(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
