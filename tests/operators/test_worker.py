"""The process that builds: it ends with its parent, and is ended when it does nothing for too long."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock, Timeout

from pytest_edgeai import scratch
from pytest_edgeai.measure.host import this_host
from pytest_edgeai.operators import Job, NoParameters, Operator
from pytest_edgeai.operators.idleness import Watch
from pytest_edgeai.operators.preparation import Plan
from pytest_edgeai.operators.worker import Failure, prepare_all
from tests.plugin.toy_models import Plain, subject
from tests.tiers.peers import processes, wait_until


class Stuck(Operator[NoParameters]):
    """Says where it builds, and waits for ever."""

    name = "stuck"

    def build(self, job: Job) -> Mapping[str, Any]:
        _announce(job)
        while True:
            time.sleep(3600)


class Stopped(Operator[NoParameters]):
    """Is stopped by a signal, as by a debugger, with a child of its own."""

    name = "stopped"

    def build(self, job: Job) -> Mapping[str, Any]:
        subprocess.Popen(["sleep", "3600"])
        _announce(job)
        os.kill(os.getpid(), signal.SIGSTOP)
        return {"engine": "none"}


def _announce(job: Job) -> None:
    pids = [os.getpid(), *(child.pid for child in psutil.Process().children())]
    text = "\n".join([str(job.scratch.parent), *map(str, pids)])
    partial = Path(os.environ["STUCK_BUILDS"]).with_suffix(".part")
    partial.write_text(text, encoding="utf-8")
    partial.rename(os.environ["STUCK_BUILDS"])


def plan_of(store: Path, *operators: type[Operator[Any]], idle_s: float = 600) -> Plan:
    made = {one.name: one(NoParameters()) for one in operators}
    return Plan(store, {"toy": subject("toy")}, made, this_host(), build_idle_s=idle_s)


PARENT = """
import pathlib, sys
from pytest_edgeai.operators.worker import prepare_all
from tests.operators.test_worker import Stuck, plan_of

if __name__ == "__main__":
    prepare_all(plan_of(pathlib.Path(sys.argv[1]), Stuck), [("toy", "stuck")], lambda progress: None)
"""


@pytest.fixture
def announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where operators say what they started."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("STUCK_BUILDS", str(tmp_path / "announced"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path / "announced"


def _is_free(store: Path) -> bool:
    for path in store.glob("artifacts/*.lock"):
        try:
            FileLock(path).acquire(timeout=0).lock.release()
        except Timeout:
            return False
    return True


def test_a_builder_ends_with_its_killed_parent_and_lets_go_of_the_store(announced: Path, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT, encoding="utf-8")
    store, root = tmp_path / "store", Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen([sys.executable, str(script), str(store)], cwd=root, env=environment) as parent:
        try:
            assert wait_until(announced.is_file)
            folder, *pids = announced.read_text(encoding="utf-8").splitlines()
            assert not _is_free(store)
        finally:
            parent.kill()
    assert wait_until(lambda: not processes().keys() & set(map(int, pids)))
    assert _is_free(store)
    scratch.sweep()  # or another session, which runs at the same time
    assert not Path(folder).exists()


def test_a_builder_that_is_stopped_is_ended_with_its_children_and_said_and_the_next_artifact_is_built(
    announced: Path, tmp_path: Path
) -> None:
    plan = plan_of(tmp_path / "store", Stopped, Plain, idle_s=5)
    results = prepare_all(plan, [("toy", "stopped"), ("toy", "identity")], lambda progress: None)
    failure = results["toy", "stopped"]
    assert isinstance(failure, Failure)
    assert "gave no sign of progress for 5 s (last stage: samples) and was ended: build_idle_s in the settings" in (
        failure.sentence
    )
    assert not isinstance(results["toy", "identity"], Failure)
    pids = set(map(int, announced.read_text(encoding="utf-8").splitlines()[1:]))
    assert wait_until(lambda: not processes().keys() & pids)


def test_messages_and_use_of_the_processor_are_signs_of_progress() -> None:
    watch = Watch(10, now_s=0)
    assert not watch.is_idle(9, spoke=False, cpu_s=1.0)
    assert not watch.is_idle(18, spoke=False, cpu_s=1.01)
    assert not watch.is_idle(27, spoke=True, cpu_s=1.01)
    assert not watch.is_idle(37, spoke=False, cpu_s=1.01)
    assert watch.is_idle(38, spoke=False, cpu_s=1.01)


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "logs").symlink_to("nowhere")
    failure = prepare_all(plan_of(tmp_path / "store", Plain), [("toy", "identity")], lambda progress: None)
    found = failure["toy", "identity"]
    assert isinstance(found, Failure)
    assert found.sentence.startswith(f"the log {tmp_path / 'store' / 'logs' / 'toy-identity.log'} cannot be written")


def test_a_shelf_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "samples").symlink_to("nowhere")
    failure = prepare_all(plan_of(tmp_path / "store", Plain), [("toy", "identity")], lambda progress: None)
    found = failure["toy", "identity"]
    assert isinstance(found, Failure)
    assert found.sentence == f"the artifact store {tmp_path / 'store'} cannot be made: File exists"
