"""What this host is and how busy: results of two sessions compare only where it is equal.

What is read here is judged in `pytest_edgeai.measure.contention`.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pytest_edgeai.serving import processor


@dataclass(frozen=True, slots=True)
class Host:
    """A host.

    Parameters
    ----------
    processor
        The processor's name.
    instructions
        Of the instruction sets that matter for inference, those it has.
    cores
        Cores that this process may use.
    memory_bytes
        Installed memory.
    system
        Operating system and machine architecture.
    """

    processor: str
    instructions: tuple[str, ...]
    cores: int
    memory_bytes: int
    system: str

    def as_json(self) -> dict[str, object]:
        """A JSON object with the fields of this class."""
        return asdict(self)


def this_host() -> Host:
    """The host this process runs on."""
    described = processor.description()
    return Host(
        processor=described.get("model name") or platform.processor() or platform.machine(),
        instructions=processor.instructions(described),
        cores=usable_cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.machine()}",
    )


def usable_cpus() -> list[int]:
    """The cores that this process may use, by number."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(usable_cpus())


def load_average() -> float:
    """Runnable processes, averaged over a minute."""
    return os.getloadavg()[0]


@dataclass(frozen=True, slots=True)
class Process:
    """A process as the system lists it.

    Parameters
    ----------
    parent, group
        The numbers of its parent and of its process group.
    name
        The first 15 characters of the program's name.
    started
        When it started, in the system's ticks; tells it from an earlier process of the same number.
    cpu_s
        The CPU time that it has taken.
    """

    parent: int
    group: int
    name: str
    started: int
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Moment:
    """What a host had done until a moment: two of them tell what it did in between.

    Parameters
    ----------
    at_s
        A time of `time.perf_counter`.
    unused_s
        By core, the seconds since boot in which no process had it: idle, in interrupts, or not there for this host.
        Empty where the system does not tell.
    stolen_s
        CPU seconds since boot that a hypervisor gave to others while this host wanted them; None if unknown.
    pressure_s
        Seconds since boot in which at least one process waited for a core; None if unknown.
    processes
        By number; empty where the system does not list them.
    """

    at_s: float
    unused_s: Mapping[int, float]
    stolen_s: float | None
    pressure_s: float | None
    processes: Mapping[int, Process]


def observe() -> Moment:
    """What the host has done until now. It takes some milliseconds on a host with hundreds of processes."""
    stat = _text("/proc/stat").splitlines()
    totals = [int(text) for text in stat[0].split()[1:]] if stat else []
    return Moment(
        at_s=time.perf_counter(),
        unused_s=dict(_unused(stat)),
        stolen_s=totals[7] / _ticks_per_s() if len(totals) > 7 else None,
        pressure_s=_pressure_s(),
        processes=dict(_processes()),
    )


def family_of(root: int, processes: Mapping[int, Process]) -> frozenset[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for number, process in processes.items():
        children.setdefault(process.parent, []).append(number)
    family, waiting = {root}, [root]
    while waiting:
        new = [child for child in children.get(waiting.pop(), ()) if child not in family]
        family.update(new)
        waiting += new
    return frozenset(family)


def in_namespaces(namespaces: Collection[str], processes: Collection[int]) -> dict[int, str]:
    """Of some processes, those that are in certain process namespaces, with the namespace of each.

    Those of other users may not be seen.
    """
    found: dict[int, str] = {}
    for number in processes if namespaces else ():
        with contextlib.suppress(OSError):
            namespace = os.readlink(f"/proc/{number}/ns/pid")  # noqa: PTH115  # names no path
            if namespace in namespaces:
                found[number] = namespace
    return found


def _unused(stat: list[str]) -> Iterator[tuple[int, float]]:
    """Idle time is counted exactly, time of processes is sampled; so what is unused is read."""
    for line in stat:
        name, *numbers = line.split()
        if name.startswith("cpu") and name != "cpu" and len(numbers) >= 8:
            idle, disk, interrupts, soft_interrupts, stolen = map(int, numbers[3:8])
            yield int(name[3:]), (idle + disk + interrupts + soft_interrupts + stolen) / _ticks_per_s()


def _pressure_s() -> float | None:
    for line in _text("/proc/pressure/cpu").splitlines():
        kind, *pairs = line.split()
        if kind == "some":
            return int(dict(pair.split("=", 1) for pair in pairs)["total"]) / 1e6
    return None


def _processes() -> Iterator[tuple[int, Process]]:
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):  # noqa: PTH208  # a third of the time of pathlib's
            if name.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    yield int(name), _process(name)


def _process(number: str) -> Process:
    with open(f"/proc/{number}/stat", "rb", buffering=0) as file:  # noqa: PTH123  # hundreds of them
        line = file.read(4096).decode("ascii", "replace")
    before, _, after = line.rpartition(")")  # names may hold anything
    fields = after.split()
    name = before.partition("(")[2]
    cpu_s = (int(fields[11]) + int(fields[12])) / _ticks_per_s()
    return Process(int(fields[1]), int(fields[2]), name, int(fields[19]), cpu_s)


def _ticks_per_s() -> int:
    return os.sysconf("SC_CLK_TCK")


def _text(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="ascii", errors="replace")
    return ""
