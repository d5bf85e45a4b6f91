"""What this host is and how busy: results of two sessions compare only where it is equal."""

from __future__ import annotations

import contextlib
import os
import platform
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


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_average() -> float:
    """Runnable processes, averaged over a minute."""
    return os.getloadavg()[0]


def stolen_s() -> float | None:
    """CPU seconds since boot that a hypervisor gave to others while this host wanted them; None if unknown."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0].split()
        return int(first[8]) / os.sysconf("SC_CLK_TCK")
    return None
