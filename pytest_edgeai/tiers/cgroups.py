"""Limits for a process by control groups, version 1 or 2, where they may be written.

Setting is all it does; `pytest_edgeai.serving.limits` reads back, from inside the process, what holds.

A group is named `edgeai-<process id of its owner>-<label>`. It is removed when it is left; what an owner that was
killed leaves behind is removed by the next `sweep`.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_edgeai.errors import EdgeAIError
from pytest_edgeai.serving.limits import groups_of
from pytest_edgeai.tiers.children import is_alive

MOUNT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
_V1_CONTROLLERS = ("cpuset", "memory")
_NAME = re.compile(r"edgeai-([1-9][0-9]*)-.+")
_REMOVE_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Limit:
    """What a process may use: whole cores and memory. There is no quota: it is a ceiling, not a slower CPU.

    Parameters
    ----------
    cpus
        Numbers of cores.
    memory_bytes
        Memory without swap.
    """

    cpus: Sequence[int]
    memory_bytes: int


class CgroupError(EdgeAIError, OSError):
    """Control groups cannot be written here; says what failed."""


def writable(label: str, mount: Path = MOUNT, membership: Path = MEMBERSHIP) -> str | None:
    """Whether limits can be set: None, or the reason why not.

    Parameters
    ----------
    label
        Of a group that is made, given a process and removed again to find out.
    mount, membership
        Where the cgroup file systems are and the file that says which groups this process is in.
    """
    cpus = sorted(os.sched_getaffinity(0))[:1] if hasattr(os, "sched_getaffinity") else [0]
    try:
        with limited(label, Limit(cpus, 2**30), mount, membership) as folders, _idle_process() as pid:
            add(folders, pid)
    except CgroupError as error:
        return str(error)
    return None


@contextlib.contextmanager
def limited(label: str, limit: Limit, mount: Path = MOUNT, membership: Path = MEMBERSHIP) -> Iterator[tuple[Path, ...]]:
    """Make a group with limits; it is removed at the end, when its processes have to be gone.

    Parameters
    ----------
    label
        Unique in this process.
    limit
        What its processes may use.
    mount, membership
        Where the cgroup file systems are and the file that says which groups this process is in.

    Yields
    ------
    tuple of Path
        The folders to hand to `add`.

    Raises
    ------
    CgroupError
        The group cannot be made or limited.
    """
    name = f"edgeai-{os.getpid()}-{label}"
    folders: list[Path] = []
    try:
        try:
            if _is_v2(mount):
                parent = _delegating(mount, membership)
                folders.append(_make(parent, name))
                _limit_v2(folders[0], limit)
            else:
                cpuset, memory = _parents(mount, membership)
                folders.append(_make(cpuset, name))
                folders.append(_make(memory, name))
                _limit_v1(folders[0], folders[1], limit)
        except OSError as error:
            raise CgroupError(f"control groups cannot be written ({error})") from None
        yield tuple(folders)
    finally:
        for folder in folders:
            _remove(folder)


def add(folders: Sequence[Path], pid: int) -> None:
    """Put a process with all its threads into a group.

    Raises
    ------
    CgroupError
        The process is gone or may not be moved.
    """
    try:
        for folder in folders:
            (folder / "cgroup.procs").write_text(str(pid), encoding="ascii")
    except OSError as error:
        raise CgroupError(f"process {pid} cannot be put into {folders[0].name} ({error})") from None


def memory_kills(folders: Sequence[Path]) -> int:
    """How many processes of a group the kernel has killed for want of memory."""
    kills = 0
    for folder in folders:
        for name in ("memory.events", "memory.oom_control"):  # version 2, version 1
            with contextlib.suppress(OSError, ValueError):
                lines = (folder / name).read_text(encoding="ascii").splitlines()
                kills += sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return kills


def sweep(mount: Path = MOUNT, membership: Path = MEMBERSHIP) -> tuple[str, ...]:
    """Remove the groups of owners that are gone; their names.

    A group with a process in it stays: the kernel refuses to remove it.
    """
    names = []
    for parent in _parents(mount, membership):
        with contextlib.suppress(OSError):
            for folder in sorted(parent.iterdir()):
                match = _NAME.fullmatch(folder.name)
                if match is not None and not is_alive(int(match[1])):
                    with contextlib.suppress(OSError):
                        folder.rmdir()
                        names.append(folder.name)
    return tuple(dict.fromkeys(names))


def _is_v2(mount: Path) -> bool:
    return (mount / "cgroup.controllers").exists()


def _parents(mount: Path, membership: Path) -> tuple[Path, ...]:
    """Where groups may be made: one folder for each controller in version 1, candidates in version 2."""
    groups = groups_of(membership)
    if _is_v2(mount):
        own = mount / groups.get("", "/").lstrip("/")
        above = own.parent if own != mount else mount
        return tuple(dict.fromkeys((own, above, mount)))
    parents = []
    for controller in _V1_CONTROLLERS:
        own = mount / controller / groups.get(controller, "/").lstrip("/")
        # A container may see its own group as the root, and still be told the path from outside.
        parents.append(own if own.is_dir() else mount / controller)
    return tuple(parents)


def _delegating(mount: Path, membership: Path) -> Path:
    """Our own group, the one above or the root: only where no other process is may controllers be enabled."""
    for parent in _parents(mount, membership):
        with contextlib.suppress(OSError):
            _write(parent / "cgroup.subtree_control", "+cpuset +memory")
            return parent
    raise OSError("no group may delegate the controllers cpuset and memory")


def _make(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder


def _limit_v2(folder: Path, limit: Limit) -> None:
    _write(folder / "cpuset.cpus", ",".join(map(str, limit.cpus)))
    _write(folder / "memory.max", str(limit.memory_bytes))
    if (folder / "memory.swap.max").exists():
        _write(folder / "memory.swap.max", "0")


def _limit_v1(cpuset: Path, memory: Path, limit: Limit) -> None:
    _write(cpuset / "cpuset.mems", (cpuset.parent / "cpuset.mems").read_text(encoding="ascii").strip())
    _write(cpuset / "cpuset.cpus", ",".join(map(str, limit.cpus)))
    _write(memory / "memory.limit_in_bytes", str(limit.memory_bytes))
    if (memory / "memory.memsw.limit_in_bytes").exists():
        _write(memory / "memory.memsw.limit_in_bytes", str(limit.memory_bytes))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="ascii")


def _remove(folder: Path) -> None:
    """Remove a group; the kernel takes a moment to see that its last process is gone."""
    deadline = time.monotonic() + _REMOVE_TIMEOUT_S
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                return  # a process is still in it; the next sweep finds it
            time.sleep(0.005)
        else:
            return


@contextlib.contextmanager
def _idle_process() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE)
    try:
        yield process.pid
    finally:
        process.communicate(b"\n")
