"""Limits read back, from made-up trees of both cgroup versions and from this machine."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Mapping
from pathlib import Path

import pytest

from pytest_edgeai.serving.limits import Limits, read_limits

MIB = 2**20


def tree(root: Path, files: Mapping[str, str], membership: str) -> Limits:
    """The limits in a made-up tree of cgroup files."""
    for name, content in files.items():
        path = root / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    (root / "membership").write_text(membership, encoding="utf-8")
    return read_limits(root / "cgroup", root / "membership")


def of(limits: Limits) -> tuple[object, ...]:
    return (limits.cpu_quota_cores, limits.cpu_period_s, limits.memory_bytes, limits.nr_throttled, limits.throttled_s)


V2 = {"cgroup.controllers": "cpu memory\n"}
STAT_V2 = "usage_usec 5\nnr_periods 9\nnr_throttled 4\nthrottled_usec 2500000\n"
STAT_V1 = "nr_periods 9\nnr_throttled 4\nthrottled_time 2500000000\n"


def test_version_2_is_read(tmp_path: Path) -> None:
    files = {"tier/cpu.max": "50000 10000\n", "tier/memory.max": f"{64 * MIB}\n", "tier/cpu.stat": STAT_V2}
    limits = tree(tmp_path, V2 | files, "0::/tier\n")
    assert limits.cgroup_version == 2
    assert of(limits) == (5.0, 0.01, 64 * MIB, 4, 2.5)


def test_version_2_without_limits_says_none(tmp_path: Path) -> None:
    files = {"tier/cpu.max": "max 100000\n", "tier/memory.max": "max\n", "tier/cpu.stat": "usage_usec 5\n"}
    assert of(tree(tmp_path, V2 | files, "0::/tier\n")) == (None, None, None, None, None)


def test_version_2_inside_a_container_is_read_from_the_root(tmp_path: Path) -> None:
    files = {"cpu.max": "150000 100000\n", "memory.max": f"{MIB}\n", "cpu.stat": STAT_V2}
    for membership in ("0::/\n", "0::/../../outside\n"):
        assert of(tree(tmp_path, V2 | files, membership)) == (1.5, 0.1, MIB, 4, 2.5)


def test_the_limits_of_the_groups_around_hold_too(tmp_path: Path) -> None:
    files = {
        "outer/cpu.max": "50000 100000\n",
        "outer/cpu.stat": STAT_V2,
        "outer/memory.max": f"{64 * MIB}\n",
        "outer/inner/cpu.max": "200000 100000\n",
        "outer/inner/cpu.stat": "nr_throttled 0\nthrottled_usec 0\n",
        "outer/inner/memory.max": f"{32 * MIB}\n",
    }
    assert of(tree(tmp_path, V2 | files, "0::/outer/inner\n")) == (0.5, 0.1, 32 * MIB, 4, 2.5)


def test_version_1_is_read(tmp_path: Path) -> None:
    files = {
        "cpu/tier/cpu.cfs_quota_us": "20000\n",
        "cpu/tier/cpu.cfs_period_us": "10000\n",
        "cpu/tier/cpu.stat": STAT_V1,
        "memory/other/memory.limit_in_bytes": f"{64 * MIB}\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    limits = tree(tmp_path, files, "4:memory:/other\n3:cpuset:/\n1:cpu:/tier\n0::/\n")
    assert limits.cgroup_version == 1
    assert of(limits) == (2.0, 0.01, 64 * MIB, 4, 2.5)


def test_version_1_without_limits_says_none(tmp_path: Path) -> None:
    files = {
        "cpu/cpu.cfs_quota_us": "-1\n",
        "cpu/cpu.cfs_period_us": "100000\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    assert of(tree(tmp_path, files, "2:memory:/\n1:cpu:/\n")) == (None, None, None, None, None)


def test_version_1_with_controllers_mounted_together_is_read(tmp_path: Path) -> None:
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
        "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "cpuset/cpus": "0\n",
    }
    assert tree(tmp_path, files, "1:cpu,cpuacct:/gone/from/here\n").cpu_quota_cores == 0.5


@pytest.mark.parametrize("membership", ["", "nonsense", "\x00\x01", ":", "::"])
def test_a_system_without_cgroups_says_none(tmp_path: Path, membership: str) -> None:
    assert of(tree(tmp_path, {}, membership)) == (None, None, None, None, None)


def test_a_file_that_is_not_there_says_none(tmp_path: Path) -> None:
    limits = read_limits(tmp_path / "no", tmp_path / "where")
    assert limits.cgroup_version is None
    assert of(limits) == (None, None, None, None, None)


@pytest.mark.parametrize("garbage", ["", "x", "max max max", "1 0", "-5 -5", "\n\n", "1e3 2", "\xff"])
def test_garbage_in_the_files_says_none(tmp_path: Path, garbage: str) -> None:
    names = ["cpu.max", "memory.max", "cpu.stat"]
    assert of(tree(tmp_path, V2 | dict.fromkeys(names, garbage), "0::/\n")) == (None, None, None, None, None)


def test_this_process_says_its_cores_and_memory() -> None:
    limits = read_limits()
    if hasattr(os, "sched_getaffinity"):
        assert limits.cpus == tuple(sorted(os.sched_getaffinity(0)))
    assert MIB < limits.peak_memory_bytes <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert set(json.loads(json.dumps(limits.as_json()))) == set(Limits.__dataclass_fields__)


def test_a_quota_that_is_really_set_is_read_back() -> None:
    group = Path("/sys/fs/cgroup/cpu") / f"edgeai-test-limits-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text("10000", encoding="ascii")
        (group / "cpu.cfs_quota_us").write_text("15000", encoding="ascii")
    except OSError as error:
        pytest.skip(f"cgroups cannot be written here: {error}")
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()]
    home = next(path for _, controllers, path in lines if "cpu" in controllers.split(","))
    try:
        (group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
        limits = read_limits()
        assert (limits.cpu_quota_cores, limits.cpu_period_s, limits.cgroup_version) == (1.5, 0.01, 1)
        assert limits.nr_throttled is not None
    finally:
        (Path("/sys/fs/cgroup/cpu") / home.lstrip("/") / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
        group.rmdir()
