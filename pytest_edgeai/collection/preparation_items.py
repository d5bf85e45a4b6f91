"""The items of a session with `--edgeai-prepare`: one for each artifact that the selected tests need.

They stand in for the tests: nothing is deployed and nothing measured, so they may run side by side under pytest-xdist.
That each artifact is built once is the doing of the store's locks, not of the scheduling.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_edgeai.reporting.preparation import FILE

if TYPE_CHECKING:
    from pytest_edgeai.operators.preparation import Prepared
    from pytest_edgeai.operators.worker import Progress
    from pytest_edgeai.session import MeasuringSession


class PreparationItem(pytest.Item):
    """Makes one artifact ready and evaluates its accuracy; fails in one sentence where that cannot be done.

    Parameters
    ----------
    wanted
        Model and operator.
    edgeai
        The session.
    tell
        Is told about progress.
    """

    def __init__(
        self,
        *,
        wanted: tuple[str, str],
        edgeai: MeasuringSession,
        tell: Callable[[Progress], None],
        **keywords: Any,
    ) -> None:
        super().__init__(**keywords)
        self._wanted = wanted
        self._edgeai = edgeai
        self._tell = tell

    def runtest(self) -> None:
        """Find the artifact or build it."""
        from pytest_edgeai.operators.worker import Failure

        _share_cores()
        begun_at = time.time()
        result = self._edgeai.prepare_one(self._wanted, self._tell)
        if isinstance(result, Failure):
            pytest.fail(result.sentence, pytrace=False)
        self.user_properties += _properties(result, begun_at)

    def reportinfo(self) -> tuple[os.PathLike[str], int | None, str]:
        """Where it comes from: no file."""
        return self.session.path / FILE, None, self.name


def items_for(
    session: pytest.Session, edgeai: MeasuringSession, tell: Callable[[Progress], None]
) -> list[PreparationItem]:
    """An item for each artifact that the session needs, those that others start from first."""
    items = []
    for wanted in edgeai.wanted:
        name = "-".join(wanted)
        # pytest's own constructor has no types for what a subclass adds
        item: PreparationItem = PreparationItem.from_parent(
            session, name=name, nodeid=f"{FILE}::{name}", wanted=wanted, edgeai=edgeai, tell=tell
        )
        items.append(item)
    return items


def _properties(prepared: Prepared, begun_at: float) -> Sequence[tuple[str, object]]:
    """What the report carries, also from a worker of pytest-xdist: plain values."""
    entry = prepared.artifact.entry
    built = entry.provenance["built_at"] >= begun_at
    return [
        ("edgeai_built", built),
        ("edgeai_build_s", float(entry.provenance["build_s"])),
        ("edgeai_size_bytes", entry.size_bytes),
        ("edgeai_folder", str(entry.folder)),
        ("edgeai_metrics", prepared.evaluation.metrics),
        ("edgeai_scores", [str(score) for score in prepared.evaluation.scores.values()]),
    ]


def _share_cores() -> None:
    """Give each worker of pytest-xdist its share of the cores, for libraries that would take them all.

    The process that builds inherits it. Training on more threads than there are free cores is many times slower.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
