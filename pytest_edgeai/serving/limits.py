"""What limits hold for this process, read back from the kernel: cores, CPU quota, memory, throttling.

Reading is all it does; setting limits is the business of the tier backends. Works with cgroup v1 and v2, inside a
container or outside, and says None for what the system does not tell. A limit of a group holds for the groups in
it, so the tightest one between this process and the root counts.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_V1_UNLIMITED_BYTES = 2**62  # v1 says "no limit" as the largest multiple of a page


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits in force and how far they were reached.

    Parameters
    ----------
    cpus
        The cores that may be used, by number; empty where the system has no affinity.
    cpu_quota_cores
        CPU seconds a second that the cgroup allows, or None without a quota.
    cpu_period_s
        The period of the quota, or None.
    memory_bytes
        The cgroup's memory limit, or None.
    peak_memory_bytes
        Largest resident size of this process so far.
    nr_throttled, throttled_s
        How often and for how long the quota stopped the cgroup, or None.
    cgroup_version
        1 or 2, or None where there are no cgroups.
    """

    cpus: tuple[int, ...]
    cpu_quota_cores: float | None
    cpu_period_s: float | None
    memory_bytes: int | None
    peak_memory_bytes: int
    nr_throttled: int | None
    throttled_s: float | None
    cgroup_version: int | None

    def as_json(self) -> dict[str, object]:
        """A JSON object with the fields of this class."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Cpu:
    """The quota of one group, in cores, and what came of it."""

    quota: float | None
    period_s: float | None
    nr_throttled: int | None
    throttled_s: float | None


def read_limits(mount: Path = _MOUNT, membership: Path = Path("/proc/self/cgroup")) -> Limits:
    """Read the limits of this process.

    Parameters
    ----------
    mount, membership
        Where the cgroup file systems are mounted and the file that says which groups this process is in.
    """
    groups = groups_of(membership)
    version = None if not groups else 2 if (mount / "cgroup.controllers").exists() else 1
    cpus: list[_Cpu] = []
    memories: Iterable[int | None] = ()
    if version == 2:
        folders = list(_upwards(mount, groups.get("", "/")))
        cpus = [_cpu_v2(folder) for folder in folders]
        memories = [_number(folder / "memory.max") for folder in folders]
    elif version == 1:
        cpus = [_cpu_v1(folder) for folder in _upwards(_hierarchy(mount, "cpu"), groups.get("cpu", "/"))]
        folders = list(_upwards(_hierarchy(mount, "memory"), groups.get("memory", "/")))
        memories = [_number(folder / "memory.limit_in_bytes") for folder in folders]
    # Without a quota the group's own counters; max() and min() keep the first of equals, which is the innermost.
    cpu = min(cpus, key=lambda one: float("inf") if one.quota is None else one.quota, default=_Cpu(*[None] * 4))
    memory = min((size for size in memories if size is not None and size < _V1_UNLIMITED_BYTES), default=None)
    affinity = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Limits(affinity, cpu.quota, cpu.period_s, memory, peak, cpu.nr_throttled, cpu.throttled_s, version)


def whereabouts() -> dict[str, str | None]:
    """What tells whether this process is on the same running system as another, and sees the same processes."""
    namespace = None
    with contextlib.suppress(OSError):
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115  # names no path
    return {"boot": _read(Path("/proc/sys/kernel/random/boot_id")), "pid_namespace": namespace}


def _cpu_v2(folder: Path) -> _Cpu:
    quota_us, _, period_us = (_read(folder / "cpu.max") or "").partition(" ")
    stat = _table(folder / "cpu.stat")
    return _cpu(_whole(quota_us), _whole(period_us), stat.get("nr_throttled"), stat.get("throttled_usec"), 1e6)


def _cpu_v1(folder: Path) -> _Cpu:
    stat = _table(folder / "cpu.stat")
    return _cpu(
        _number(folder / "cpu.cfs_quota_us"),
        _number(folder / "cpu.cfs_period_us"),
        stat.get("nr_throttled"),
        stat.get("throttled_time"),
        1e9,
    )


def _cpu(
    quota_us: int | None,
    period_us: int | None,
    nr_throttled: int | None,
    throttled: int | None,
    a_second: float,
) -> _Cpu:
    throttled_s = None if throttled is None else throttled / a_second
    if quota_us is None or not period_us or quota_us <= 0:  # v1 says -1 for none
        return _Cpu(None, None, nr_throttled, throttled_s)
    return _Cpu(quota_us / period_us, period_us / 1e6, nr_throttled, throttled_s)


def groups_of(membership: Path) -> dict[str, str]:
    """The control group of a process by controller; key "" is the unified hierarchy.

    Parameters
    ----------
    membership
        The file that says it, such as `/proc/self/cgroup`; nothing where it cannot be read.
    """
    groups: dict[str, str] = {}
    for line in (_read(membership) or "").splitlines():
        _, _, controllers_and_path = line.partition(":")
        controllers, colon, path = controllers_and_path.partition(":")
        if colon:
            groups.update(dict.fromkeys(controllers.split(","), path))
    return groups


def _hierarchy(mount: Path, controller: str) -> Path:
    """Where v1 mounts a controller: alone, or together with others in a folder that names all of them."""
    if (mount / controller).is_dir():
        return mount / controller
    together = (path for path in sorted(mount.glob(f"*{controller}*")) if controller in path.name.split(","))
    return next(together, mount / controller)


def _upwards(mount: Path, group: str) -> Iterator[Path]:
    """The folders from a group to the root. In a container the group's own folder is mounted as the root."""
    parts = [part for part in group.split("/") if part not in ("", "..")]
    while parts:
        folder = mount.joinpath(*parts)
        if folder.is_dir():
            yield folder
        parts.pop()
    yield mount


def _read(path: Path) -> str | None:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8").strip()
    return None


def _whole(text: str) -> int | None:
    with contextlib.suppress(ValueError):
        return int(text)
    return None


def _number(path: Path) -> int | None:
    return _whole(_read(path) or "")


def _table(path: Path) -> dict[str, int]:
    rows = (line.split() for line in (_read(path) or "").splitlines())
    pairs = ((row[0], _whole(row[1])) for row in rows if len(row) == 2)
    return {key: value for key, value in pairs if value is not None}
