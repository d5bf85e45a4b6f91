"""Energy as counters tell it: wrap-around included, and absent with the reason where they do not."""

from __future__ import annotations

import errno
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_edgeai.measure.energy import (
    EnergyUnknownError,
    EnergyWatch,
    GpuMeter,
    PackageMeter,
    counted_uj,
    power_samples,
    watch_energy,
)
from pytest_edgeai.serving.limits import whereabouts
from pytest_edgeai.tiers.backend import TierState

RANGE_UJ = 262_143_328_850


def zone(powercap: Path, number: str, name: str, energy_uj: int = 0, range_uj: int = RANGE_UJ) -> Path:
    """A zone as the kernel shows it."""
    folder = powercap / f"intel-rapl:{number}"
    folder.mkdir(parents=True)
    for file, value in (("name", name), ("energy_uj", energy_uj), ("max_energy_range_uj", range_uj)):
        folder.joinpath(file).write_text(f"{value}\n", encoding="utf-8")
    return folder


def why_unknown(meter: GpuMeter) -> str:
    """Why a meter tells nothing."""
    with pytest.raises(EnergyUnknownError) as raised:
        meter.end_j()
    return str(raised.value)


@given(before=st.integers(0, RANGE_UJ), grown=st.integers(0, RANGE_UJ))
def test_a_counter_that_has_wrapped_around_once_tells_what_it_has_counted(before: int, grown: int) -> None:
    assert counted_uj(before, (before + grown) % (RANGE_UJ + 1), RANGE_UJ) == grown


def test_packages_are_added_up_and_their_parts_are_not_counted_twice(tmp_path: Path) -> None:
    first, second = zone(tmp_path, "0", "package-0", RANGE_UJ - 999_999), zone(tmp_path, "1", "package-1", 5)
    zone(tmp_path, "0:0", "core")
    zone(tmp_path, "2", "psys")  # which has the packages in it
    meter = PackageMeter(tmp_path)
    meter.begin()
    first.joinpath("energy_uj").write_text("1000000\n", encoding="utf-8")  # around its range
    second.joinpath("energy_uj").write_text("3000005\n", encoding="utf-8")
    assert meter.end_j() == pytest.approx(5.0)
    assert meter.source == "RAPL package-0, package-1"


def test_a_counter_that_has_not_moved_or_may_have_wrapped_around_twice_tells_nothing(tmp_path: Path) -> None:
    zone(tmp_path / "still", "0", "package-0", 7)
    with pytest.raises(EnergyUnknownError, match="has not moved"):
        PackageMeter(tmp_path / "still").end_j()
    small = zone(tmp_path / "small", "0", "package-0", 0, range_uj=1)  # full after a billionth of a second
    meter = PackageMeter(tmp_path / "small")
    small.joinpath("energy_uj").write_text("1\n", encoding="utf-8")
    time.sleep(1e-6)
    with pytest.raises(EnergyUnknownError, match="may wrap around twice"):
        meter.end_j()


def test_a_counter_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    zone(tmp_path, "0", "package-0").joinpath("energy_uj").unlink()
    with pytest.raises(EnergyUnknownError, match=r"intel-rapl:0/energy_uj cannot be read: No such file"):
        PackageMeter(tmp_path)


def test_a_counter_that_only_root_may_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone(tmp_path, "0", "package-0")
    usual = Path.read_text

    def read_text(path: Path, encoding: str) -> str:
        if path.name == "energy_uj":
            raise PermissionError(errno.EACCES, "Permission denied")
        return usual(path, encoding)

    monkeypatch.setattr(Path, "read_text", read_text)
    with pytest.raises(EnergyUnknownError, match=r"energy_uj may not be read: root can allow it by chmod a\+r"):
        PackageMeter(tmp_path)


def test_only_tiers_that_are_known_to_be_on_this_host_have_energy(tmp_path: Path) -> None:
    counter = zone(tmp_path, "0", "package-0").joinpath("energy_uj")
    for boot, joules in ((whereabouts()["boot"], 0.5), ("another", None), (None, None)):
        with watch_energy([TierState("edge", {"boot": boot}, ())], tmp_path) as watch:
            watch.begin()
            counter.write_text(f"{int(counter.read_text(encoding='utf-8')) + 2_000_000}\n", encoding="utf-8")
            watch.end()
        found = watch.energy(4)
        assert found.request_j == joules
        assert found.unknown == ("" if joules else "tier edge is not known to be on this host")
    assert EnergyWatch().energy(1).request_j is None


def test_the_power_of_gpus_is_read_with_its_time() -> None:
    told = "2026/01/02 03:04:05.500, 0, 61.50\n2026/01/02 03:04:05.600, 1, 8.25\n2026/01/02 03:04"
    (first, second) = power_samples(told)
    assert (first[1:], second[1:]) == (("0", 61.5), ("1", 8.25))
    assert second[0] - first[0] == pytest.approx(0.1)
    with pytest.raises(EnergyUnknownError, match=r"tells no power: '.*N/A"):
        power_samples("2026/01/02 03:04:05.500, 0, [N/A]\n")


def test_the_energy_of_gpus_is_their_mean_power_times_the_seconds(tmp_path: Path) -> None:
    program, go, done = (tmp_path / name for name in ("nvidia-smi", "go", "done"))
    program.write_text(
        f"""#!{sys.executable}
import datetime, pathlib, time
def tell(power):
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y/%m/%d %H:%M:%S.%f")
    print(f"{{now}}, 0, {{power}}", flush=True)
    print(f"{{now}}, 1, 10.0", flush=True)
tell(999.0)
while not pathlib.Path({str(go)!r}).exists():
    time.sleep(0.001)
for power in 4 * (30.0, 50.0):
    tell(power)
pathlib.Path({str(done)!r}).touch()
time.sleep(600)
""",
        encoding="utf-8",
    )
    program.chmod(0o755)
    with GpuMeter(str(program)) as meter:
        meter.begin()
        assert "told power 0 times during the requests" in why_unknown(meter)
    with GpuMeter(str(program)) as meter:
        earliest = time.time()
        meter.begin()
        began = time.time()
        go.touch()
        while not done.exists():
            time.sleep(0.001)
        ended = time.time()
        joules = meter.end_j()
        assert 50 * (ended - began) <= joules <= 50 * (time.time() - earliest)
    program.write_text("#!/bin/sh\necho '2026/01/02 03:04:05.500, 0, 61.50'\n", encoding="utf-8")
    with GpuMeter(str(program)) as meter:
        meter.begin()
        while "ended before the last request" not in why_unknown(meter):
            time.sleep(0.001)
    program.write_text("#!/bin/sh\nexit 9\n", encoding="utf-8")
    with pytest.raises(EnergyUnknownError, match="tells no power"), GpuMeter(str(program)):
        pass
    with pytest.raises(EnergyUnknownError, match="cannot be run: No such file"), GpuMeter(str(tmp_path / "absent")):
        pass
