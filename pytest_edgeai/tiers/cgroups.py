"""Limits for a process by control groups, version 1 or 2, where they may be written.

Setting is all it does; `pytest_edgeai.serving.limits` reads back, from inside the process, what holds.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
_V1_CONTROLLERS = ("cpuset", "memory")


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


class CgroupError(OSError):
    """Control groups cannot be written here; says what failed."""


def writable(name: str, mount: Path = MOUNT, membership: Path = MEMBERSHIP) -> str | None:
    """Whether limits can be set: None, or the reason why not.

    Parameters
    ----------
    name
        Of a group that is made and removed again to find out.
    mount, membership
        Where the cgroup file systems are and the file that says which groups this process is in.
    """
    try:
        with limited(name, Limit((0,), 2**30), mount, membership):
            return None
    except CgroupError as error:
        return str(error)


@contextlib.contextmanager
def limited(name: str, limit: Limit, mount: Path = MOUNT, membership: Path = MEMBERSHIP) -> Iterator[tuple[Path, ...]]:
    """Make a group with limits; it is removed at the end, when its processes have to be gone.

    Parameters
    ----------
    name
        Unique on this host.
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
    folders: list[Path] = []
    try:
        try:
            if (mount / "cgroup.controllers").exists():
                folders.append(_make_v2(name, limit, mount, membership))
            else:
                cpuset, memory = (_folder_v1(name, controller, mount, membership) for controller in _V1_CONTROLLERS)
                for folder in (cpuset, memory):
                    folder.mkdir(exist_ok=True)
                    folders.append(folder)
                _limit_v1(cpuset, memory, limit)
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


def _make_v2(name: str, limit: Limit, mount: Path, membership: Path) -> Path:
    """A group below our own or below the root: only where no other process is may controllers be enabled."""
    own = mount / _groups(membership).get("", "/").lstrip("/")
    for parent in dict.fromkeys((own, mount)):
        with contextlib.suppress(OSError):
            (parent / "cgroup.subtree_control").write_text("+cpuset +memory", encoding="ascii")
            break
    else:
        raise OSError("no group may delegate the controllers cpuset and memory")
    folder = parent / name
    folder.mkdir(exist_ok=True)
    try:
        _write(folder / "cpuset.cpus", ",".join(map(str, limit.cpus)))
        _write(folder / "memory.max", str(limit.memory_bytes))
        if (folder / "memory.swap.max").exists():
            _write(folder / "memory.swap.max", "0")
    except OSError:
        _remove(folder)
        raise
    return folder


def _folder_v1(name: str, controller: str, mount: Path, membership: Path) -> Path:
    own = mount / controller / _groups(membership).get(controller, "/").lstrip("/")
    return (own if own.is_dir() else mount / controller) / name


def _limit_v1(cpuset: Path, memory: Path, limit: Limit) -> None:
    _write(cpuset / "cpuset.mems", (cpuset.parent / "cpuset.mems").read_text(encoding="ascii").strip())
    _write(cpuset / "cpuset.cpus", ",".join(map(str, limit.cpus)))
    _write(memory / "memory.limit_in_bytes", str(limit.memory_bytes))
    if (memory / "memory.memsw.limit_in_bytes").exists():
        _write(memory / "memory.memsw.limit_in_bytes", str(limit.memory_bytes))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="ascii")


def _groups(membership: Path) -> dict[str, str]:
    groups: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in membership.read_text(encoding="ascii").splitlines():
            _, controllers, path = line.split(":", 2)
            groups.update(dict.fromkeys(controllers.split(","), path))
    return groups


def _remove(folder: Path) -> None:
    """Remove a group; the kernel takes a moment to see that its last process is gone."""
    for _ in range(50):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.02)
        else:
            return
