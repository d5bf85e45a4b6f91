"""What is read of this host, with real processes beside this one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_edgeai.measure.contention import foreign_use
from pytest_edgeai.measure.host import Process, family_of, in_namespaces, observe, usable_cpus

pytestmark = pytest.mark.skipif(not Path("/proc/stat").exists(), reason="this system does not list processes")


@contextlib.contextmanager
def busy_group() -> Iterator[int]:
    """A process group of its own that wants a core; its number."""
    loop = "print(flush=True)\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", loop], stdout=subprocess.PIPE, process_group=0)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def used(number: int, cpu_s: float) -> None:
    """Wait until a process has used the processor for so long."""
    while observe().processes[number].cpu_s < cpu_s:
        time.sleep(0.01)


def test_a_busy_process_group_beside_the_session_is_found() -> None:
    with busy_group() as group:
        before = observe()
        used(group, before.processes[group].cpu_s + 0.5)
        after = observe()
    # Of the others on this host, which nobody knows, none is to count.
    others = {number for number, one in after.processes.items() if one.group != group}
    found = foreign_use(before, after, usable_cpus(), others)
    assert found is not None
    assert found.group == group
    assert found.name.startswith("python")
    assert found.group_cores > 0


def test_what_the_session_itself_starts_is_not_foreign() -> None:
    with busy_group() as group:
        assert group in family_of(os.getpid(), observe().processes)


def test_a_family_is_a_process_and_all_that_descend_from_it() -> None:
    def child(parent: int) -> Process:
        return Process(parent, 1, "x", 1, 0.0)

    processes = {1: child(0), 2: child(1), 3: child(2), 4: child(1), 5: child(3)}
    assert family_of(2, processes) == {2, 3, 5}


def test_processes_in_namespaces_of_containers_are_found_by_the_name_that_a_container_tells() -> None:
    own = str(Path("/proc/self/ns/pid").readlink())
    assert in_namespaces({own}, [os.getpid()]) == {os.getpid(): own}
    assert in_namespaces({"pid:[1]"}, [os.getpid()]) == {}


def test_processes_whose_names_have_brackets_and_blanks_are_read(tmp_path: Path) -> None:
    program = tmp_path / "a) b ("
    program.symlink_to(sys.executable)
    process = subprocess.Popen([program, "-c", "input()"], stdin=subprocess.PIPE, process_group=0)
    try:
        for _ in range(1000):
            listed = observe().processes[process.pid]
            if listed.name == "a) b (":  # until then it is the fork of this process
                break
            time.sleep(0.01)
        assert (listed.parent, listed.group, listed.name) == (os.getpid(), process.pid, "a) b (")
    finally:
        process.communicate(b"\n")


def test_what_a_kernel_does_not_tell_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_edgeai.measure.host._text", lambda path: "")
    moment = observe()
    assert moment.unused_s == {}
    assert moment.stolen_s is None
    assert moment.pressure_s is None
