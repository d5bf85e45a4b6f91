"""What is left when the process that deployed is killed or interrupted: no server, and soon no group."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_edgeai.tiers import cgroups
from pytest_edgeai.tiers.process import ProcessBackend

from .conftest import groups_of, make_site, needs_cgroups, needs_proc
from .peers import children_of, processes, wait_until

PARENT = """
import pathlib, signal, sys, time
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.backend import DeploymentSpec
from pytest_edgeai.tiers.process import ProcessBackend
from tests.tiers.conftest import make_site

signal.signal(signal.SIGINT, signal.default_int_handler)  # as on a terminal, also where these tests run under nohup
artifact, folder = map(pathlib.Path, sys.argv[1:])
backend = ProcessBackend(make_site(folder))
with backend.deploy(DeploymentSpec("tiny-identity", artifact, Placement(("cloud",)))) as deployment:
    print("deployed", flush=True)
    time.sleep(600)
"""

Parent = subprocess.Popen[bytes]
pytestmark = needs_proc


@contextmanager
def deploying_parent(artifact: Path, folder: Path) -> Iterator[tuple[Parent, set[int]]]:
    """A process that has deployed on the cloud tier, and its two servers."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", PARENT, str(artifact), str(folder)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, start_new_session=True) as parent:
        try:
            assert parent.stdout is not None
            assert parent.stdout.readline() == b"deployed\n"
            yield parent, set(children_of(parent.pid))
        finally:
            parent.kill()


@pytest.mark.parametrize(
    "ending",
    [
        lambda pid: os.kill(pid, signal.SIGKILL),
        lambda pid: os.killpg(pid, signal.SIGKILL),
        lambda pid: os.kill(pid, signal.SIGTERM),
        lambda pid: os.killpg(pid, signal.SIGINT),
    ],
    ids=["killed", "killed with its group", "terminated", "interrupted"],
)
def test_no_process_outlives_its_parent(artifact: Path, tmp_path: Path, ending: Callable[[int], None]) -> None:
    with deploying_parent(artifact, tmp_path) as (parent, children):
        assert len(children) == 2
        ending(parent.pid)
        parent.wait(60)

        assert wait_until(lambda: not children & set(processes()))


@needs_cgroups
def test_an_interrupted_parent_leaves_no_groups(artifact: Path, tmp_path: Path) -> None:
    with deploying_parent(artifact, tmp_path) as (parent, _):
        assert groups_of(parent.pid)
        os.killpg(parent.pid, signal.SIGINT)
        parent.wait(60)

        assert not groups_of(parent.pid)


@needs_cgroups
def test_the_groups_of_a_killed_parent_are_gone_after_the_next_start(artifact: Path, tmp_path: Path) -> None:
    with (
        deploying_parent(artifact, tmp_path / "one") as (killed, orphans),
        deploying_parent(artifact, tmp_path / "other") as (alive, _),
    ):
        killed.kill()
        killed.wait(60)
        assert wait_until(lambda: not orphans & set(processes()))
        assert groups_of(killed.pid)

        ProcessBackend(make_site(tmp_path / "next"))

        assert not groups_of(killed.pid)
        assert groups_of(alive.pid)


@needs_cgroups
def test_a_group_with_a_process_in_it_is_not_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as gone:
        gone.wait(60)
    limit = cgroups.Limit(sorted(os.sched_getaffinity(0))[:1], 2**28)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as member:
        monkeypatch.setattr(os, "getpid", lambda: gone.pid)
        with cgroups.limited("test", limit) as groups:
            monkeypatch.undo()
            cgroups.add(groups, member.pid)

            cgroups.sweep()
            assert all(group.exists() for group in groups)

            member.communicate(b"\n")

            def are_swept() -> bool:
                cgroups.sweep()  # or another session, which starts at the same time
                return not any(group.exists() for group in groups)

            assert wait_until(are_swept)
