"""Control groups: version 1 for real where this host has it, version 2 on a tree that stands in for the kernel's."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_edgeai.serving.limits import read_limits
from pytest_edgeai.tiers import cgroups
from pytest_edgeai.tiers.cgroups import CgroupError, Limit

from .conftest import groups_of, needs_cgroups

Tree = tuple[Path, Path]


@pytest.fixture
def unified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tree]:
    """A tree of version 2, and the file that says in which group of it this process is.

    As in the kernel, a group can be removed although there are files in it. A group that may not delegate has a
    folder where its `cgroup.subtree_control` should be, so that writing to it fails.
    """
    remove = Path.rmdir

    def rmdir(folder: Path) -> None:
        if folder.is_relative_to(tmp_path):
            shutil.rmtree(folder)
        else:
            remove(folder)

    monkeypatch.setattr(Path, "rmdir", rmdir)

    def make(group: str = "/", delegating: str = "/") -> Tree:
        mount = tmp_path / "cgroup"
        own = mount / group.lstrip("/")
        own.mkdir(parents=True)
        (mount / "cgroup.controllers").write_text("cpuset cpu memory")
        for folder in (own, own.parent, mount):
            if folder != mount / delegating.lstrip("/") and folder.is_relative_to(mount):
                (folder / "cgroup.subtree_control").mkdir(exist_ok=True)
        membership = tmp_path / "membership"
        membership.write_text(f"0::{group}\n")
        return mount, membership

    return make


def test_a_group_of_version_2_has_cores_and_memory_and_is_gone_at_the_end(unified: Callable[..., Tree]) -> None:
    mount, membership = unified()

    with cgroups.limited("session-1-edge", Limit([2, 3], 2**30), mount, membership) as (folder,):
        cgroups.add([folder], 4711)

        assert folder == mount / f"edgeai-{os.getpid()}-session-1-edge"
        assert (mount / "cgroup.subtree_control").read_text() == "+cpuset +memory"
        assert (folder / "cpuset.cpus").read_text() == "2,3"
        assert (folder / "memory.max").read_text() == str(2**30)
        assert (folder / "cgroup.procs").read_text() == "4711"

    assert not folder.exists()


def test_swap_is_forbidden_where_the_kernel_counts_it(
    unified: Callable[..., Tree], monkeypatch: pytest.MonkeyPatch
) -> None:
    mount, membership = unified()
    made = Path.mkdir

    def mkdir(folder: Path) -> None:
        made(folder)
        (folder / "memory.swap.max").write_text("max")

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with cgroups.limited("edge", Limit([0], 2**30), mount, membership) as (folder,):
        assert (folder / "memory.swap.max").read_text() == "0"


@pytest.mark.parametrize(
    ("delegating", "parent"), [("/user/session", "user/session"), ("/user", "user"), ("/", "")], ids=str
)
def test_a_group_is_made_as_near_as_one_may_be_made(unified: Callable[..., Tree], delegating: str, parent: str) -> None:
    mount, membership = unified("/user/session", delegating)

    with cgroups.limited("edge", Limit([0], 2**30), mount, membership) as (folder,):
        assert folder.parent == mount / parent


def test_where_no_group_may_delegate_that_is_the_reason(unified: Callable[..., Tree]) -> None:
    mount, membership = unified("/user/session", "/elsewhere")

    reason = cgroups.writable("test", mount, membership)

    assert reason is not None
    assert "no group may delegate the controllers cpuset and memory" in reason
    assert not list(mount.rglob("edgeai-*"))


def test_a_system_without_control_groups_says_so(tmp_path: Path) -> None:
    reason = cgroups.writable("test", tmp_path / "nowhere", tmp_path / "neither")

    assert reason is not None
    assert reason.startswith("control groups cannot be written (")
    assert cgroups.sweep(tmp_path / "nowhere", tmp_path / "neither") == ()


def test_a_group_whose_limits_are_refused_is_not_left_behind(
    unified: Callable[..., Tree], monkeypatch: pytest.MonkeyPatch
) -> None:
    mount, membership = unified()
    made = Path.mkdir

    def mkdir(folder: Path) -> None:
        made(folder)
        made(folder / "memory.max")  # cannot be written

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with (
        pytest.raises(CgroupError, match="control groups cannot be written"),
        cgroups.limited("edge", Limit([0], 2**30), mount, membership),
    ):
        pass

    assert not list(mount.rglob("edgeai-*"))


def test_a_group_that_is_there_already_belongs_to_somebody_else(unified: Callable[..., Tree]) -> None:
    mount, membership = unified()
    with cgroups.limited("edge", Limit([0], 2**30), mount, membership) as (folder,):
        with (
            pytest.raises(CgroupError, match="File exists"),
            cgroups.limited("edge", Limit([1], 2**20), mount, membership),
        ):
            pass

        assert (folder / "cpuset.cpus").read_text() == "0"


def test_a_process_that_may_not_be_moved_is_named(tmp_path: Path) -> None:
    with pytest.raises(CgroupError, match=r"^process 4711 cannot be put into edgeai-1-edge \("):
        cgroups.add([tmp_path / "edgeai-1-edge"], 4711)


@pytest.mark.parametrize(
    ("name", "text", "kills"),
    [
        ("memory.events", "low 0\nhigh 0\nmax 31\noom 2\noom_kill 1\noom_group_kill 0\n", 1),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", 2),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n", 0),
        ("memory.events", "garbage", 0),
    ],
)
def test_kills_for_want_of_memory_are_counted(tmp_path: Path, name: str, text: str, kills: int) -> None:
    (tmp_path / name).write_text(text)

    assert cgroups.memory_kills([tmp_path, tmp_path / "nowhere"]) == kills


def test_a_sweep_takes_only_groups_of_owners_that_are_gone(unified: Callable[..., Tree]) -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as gone:
        gone.wait(60)
    mount, membership = unified("/user/session")
    ours = ["edgeai-1-session-1-edge", f"edgeai-{os.getpid()}-session-1-edge"]
    others = ["system.slice", "edgeai", "edgeai-x-y", f"my-edgeai-{gone.pid}-x"]
    stale = [mount / f"edgeai-{gone.pid}-a", mount / "user" / f"edgeai-{gone.pid}-b"]
    for folder in (*(mount / name for name in ours + others), *stale):
        folder.mkdir()

    swept = cgroups.sweep(mount, membership)

    assert sorted(swept) == [f"edgeai-{gone.pid}-a", f"edgeai-{gone.pid}-b"]
    assert all((mount / name).exists() for name in ours + others)
    assert not any(folder.exists() for folder in stale)


LIMITS = """
import json
from pytest_edgeai.serving.limits import read_limits
input()
print(json.dumps(read_limits().as_json()))
"""


@needs_cgroups
def test_a_process_in_a_group_reads_back_what_it_was_given() -> None:
    cpu = max(os.sched_getaffinity(0))
    with (
        cgroups.limited("tests", Limit([cpu], 2**28)) as folders,
        subprocess.Popen([sys.executable, "-c", LIMITS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
    ):
        cgroups.add(folders, process.pid)
        said, _ = process.communicate(b"\n", timeout=60)

    assert f'"cpus": [{cpu}]' in said.decode()
    assert f'"memory_bytes": {2**28}' in said.decode()
    assert not groups_of(os.getpid())


@needs_cgroups
def test_a_session_that_may_not_use_the_first_core_can_still_limit() -> None:
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2 or read_limits().cgroup_version != 1:
        pytest.skip("needs a second core, and version 1, where a group with a process may have groups in it")
    check = "import os; input(); from pytest_edgeai.tiers import cgroups; print(cgroups.writable('inner'))"
    with (
        cgroups.limited("outer", Limit(available[1:], 2**30)) as folders,
        subprocess.Popen([sys.executable, "-c", check], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
    ):
        cgroups.add(folders, process.pid)
        said, _ = process.communicate(b"\n", timeout=60)

    assert said == b"None\n"


@needs_cgroups
def test_checking_twice_at_a_time_is_no_conflict() -> None:
    assert cgroups.writable("doctor") is None
    with cgroups.limited("other", Limit(sorted(os.sched_getaffinity(0))[:1], 2**30)):
        assert cgroups.writable("doctor") is None
