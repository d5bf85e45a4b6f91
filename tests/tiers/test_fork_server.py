"""Tier servers that are forked: as good as those that are started by themselves, and they leave as little."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pytest_edgeai.tiers import cgroups, fork_server
from pytest_edgeai.tiers.backend import DeploymentSpec, TierError
from pytest_edgeai.tiers.children import Child, environment, is_alive
from pytest_edgeai.tiers.fork_server import ForkServer
from pytest_edgeai.tiers.process import ProcessBackend

from .conftest import INPUTS, make_site, needs_cgroups, resources
from .peers import children_of, wait_until

pytestmark = pytest.mark.skipif(not fork_server.available(), reason="servers are forked on Linux only")


@pytest.fixture
def forks() -> Iterator[ForkServer]:
    before = resources()
    with ForkServer(environment()) as server:
        yield server
    assert wait_until(lambda: not resources() - before)


def serving(folder: Path, forks: ForkServer, *options: str) -> Child:
    (folder / "models").mkdir(exist_ok=True)
    command = ["pytest_edgeai.serving", "--repository", str(folder / "models"), *options]
    child = Child("tier edge", command, folder, 60, forks=forks)
    child.begin()
    return child


def end(child: Child) -> None:
    child.request_stop()
    child.stop(5)


def test_a_forked_server_answers_ends_with_its_input_and_tells_how(tmp_path: Path, forks: ForkServer) -> None:
    child = serving(tmp_path, forks)
    assert child.said()["ready"]
    assert child.exit_reason() is None
    end(child)
    assert child.exit_reason() == "tier edge ended with exit code 0"
    assert not is_alive(child.pid)


def test_a_forked_server_that_is_killed_is_told_with_its_signal(tmp_path: Path, forks: ForkServer) -> None:
    child, other = serving(tmp_path, forks), serving(tmp_path, forks)
    assert child.port != other.port
    os.kill(child.pid, signal.SIGKILL)
    assert child.exit_reason(wait_s=20) == "tier edge was killed by signal 9 (SIGKILL)"
    assert other.exit_reason() is None
    end(child)
    end(other)


def test_wrong_arguments_end_a_forked_server_with_argparses_code_and_words(tmp_path: Path, forks: ForkServer) -> None:
    child = serving(tmp_path, forks, "--threads", "none")
    said = child.exit_reason(wait_s=20)
    assert said is not None
    assert said.startswith("tier edge ended with exit code 2; its log ends: ")
    assert "--threads" in said
    end(child)


def test_a_fork_server_that_is_gone_is_said(tmp_path: Path, forks: ForkServer) -> None:
    end(serving(tmp_path, forks))
    os.kill(forks._process.pid, signal.SIGKILL)  # noqa: SLF001  # to break it from outside
    forks._process.wait()  # noqa: SLF001
    with pytest.raises(TierError, match=r"^tier edge cannot be started: "):
        serving(tmp_path, forks)


def test_a_backend_that_is_entered_forks_its_servers_within_their_limits(
    tmp_path: Path, artifact: Path, order: Callable[[str], DeploymentSpec]
) -> None:
    before, others = resources(), set(children_of(os.getpid()))
    with ProcessBackend(make_site(tmp_path)) as backend, backend.deploy(order("cloud")) as deployment:
        with deployment.client() as client:
            assert np.array_equal(client.infer("tiny-identity", INPUTS).outputs["y"], INPUTS["x"])
        states = {state.tier: state for state in deployment.states()}
        assert set(states) == {"edge", "cloud"}
        assert len(set(children_of(os.getpid())) - others) == 1  # the servers are children of the one that forks them
    assert wait_until(lambda: not resources() - before)


@needs_cgroups
def test_a_forked_server_is_in_its_group_before_it_loads_anything(
    tmp_path: Path, artifact: Path, order: Callable[[str], DeploymentSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    add = cgroups.add

    def noticing(folders: object, pid: int) -> None:
        threads.append(len(list(Path(f"/proc/{pid}/task").iterdir())))
        add(folders, pid)  # type: ignore[arg-type]

    with ProcessBackend(make_site(tmp_path)) as backend:
        monkeypatch.setattr(cgroups, "add", noticing)
        with backend.deploy(order("mobile")):
            pass
    assert threads == [1]


def test_nothing_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    program = (
        "import pathlib, sys, time\n"
        "from pytest_edgeai.tiers.children import Child, environment\n"
        "from pytest_edgeai.tiers.fork_server import ForkServer\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "forks = ForkServer(environment())\n"
        "command = ['pytest_edgeai.serving', '--repository', str(folder / 'models')]\n"
        "child = Child('tier', command, folder, 60, forks=forks)\n"
        "child.begin()\n"
        "child.said()\n"
        "print(child.pid, forks._process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        parent.kill()
    assert len(pids) == 2
    assert wait_until(lambda: not any(map(is_alive, pids)))
