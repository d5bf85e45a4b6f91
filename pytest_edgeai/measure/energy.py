"""Energy of requests, as the host's counters tell it: of processor packages (RAPL) and of GPUs (`nvidia-smi`).

The counters are those of whole packages and GPUs, with all that runs on them. What cannot be read is absent, with the
reason; nothing is estimated.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from pytest_edgeai.serving.limits import whereabouts
from pytest_edgeai.tiers.backend import TierState

POWERCAP: Final = Path("/sys/class/powercap")
NVIDIA_SMI: Final = "nvidia-smi"
_MOST_W: Final = 1000.0
"""No package takes more, so that a counter has not wrapped around twice in less time than its range lasts at this."""
_LEAST_SAMPLES: Final = 5
_SAMPLING_S: Final = 0.1
_FIRST_SAMPLE_S: Final = 20.0
_POLLING_S: Final = 0.01
_QUERY: Final = ("--query-gpu=timestamp,index,power.draw", "--format=csv,noheader,nounits")


class EnergyUnknownError(Exception):
    """Why energy is not known, as a sentence goes on."""


@dataclass(frozen=True, slots=True)
class Energy:
    """What the requests of a trial took, or why that is not known.

    Parameters
    ----------
    request_j
        Joules of the measured requests, divided by their number, or None.
    source
        What told it, for example `RAPL package-0`.
    unknown
        Why it is not known, as a sentence goes on; empty where it is.
    """

    request_j: float | None = None
    source: str = ""
    unknown: str = "no request was measured"


class Meter(Protocol):
    """Something that counts joules."""

    source: str

    def begin(self) -> None:
        """Note where the counters stand."""

    def end_j(self) -> float:
        """Joules since then.

        Raises
        ------
        EnergyUnknownError
            The counters do not tell.
        """


class PackageMeter:
    """The energy counters of all processor packages.

    Parameters
    ----------
    powercap
        The folder in which the kernel shows them.

    Raises
    ------
    EnergyUnknownError
        There are none, or they may not be read.
    """

    def __init__(self, powercap: Path) -> None:
        zones = [zone for zone in sorted(powercap.glob("intel-rapl:*")) if zone.name.count(":") == 1]
        packages = {zone: name for zone in zones if (name := _text(zone / "name")).startswith("package")}
        if not packages:
            raise EnergyUnknownError("this host has no energy counter of a processor package (RAPL by powercap)")
        self.source = f"RAPL {', '.join(packages.values())}"
        self._packages = tuple(packages)
        self._ranges_uj = [_whole(zone / "max_energy_range_uj") for zone in packages]
        self._before_uj = self._read()
        self._began_at = time.monotonic()

    def begin(self) -> None:
        """Note where the counters stand."""
        self._before_uj, self._began_at = self._read(), time.monotonic()

    def end_j(self) -> float:
        """Joules since then.

        Raises
        ------
        EnergyUnknownError
            A counter may have wrapped around twice, or has not moved.
        """
        after_uj, took_s = self._read(), time.monotonic() - self._began_at
        if took_s * _MOST_W * 1e6 > min(self._ranges_uj):
            raise EnergyUnknownError(f"requests took {took_s:.0f} s, in which its counter may wrap around twice")
        joules = sum(map(counted_uj, self._before_uj, after_uj, self._ranges_uj)) / 1e6
        if joules == 0:
            raise EnergyUnknownError("its counter has not moved during the requests")
        return joules

    def _read(self) -> list[int]:
        return [_whole(zone / "energy_uj") for zone in self._packages]


class GpuMeter:
    """The power of all GPUs, sampled by `nvidia-smi` in a process of its own; a context manager.

    Parameters
    ----------
    command
        The program.
    """

    def __init__(self, command: str = NVIDIA_SMI) -> None:
        self.source = "nvidia-smi"
        self._command = command
        self._stack = contextlib.ExitStack()
        self._began_at = 0.0

    def __enter__(self) -> GpuMeter:
        with contextlib.ExitStack() as stack:
            # A pipe would be full after some minutes, and a thread that empties it would compete with the requests.
            self._told = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
            arguments = [self._command, *_QUERY, f"--loop-ms={_SAMPLING_S * 1e3:.0f}"]
            try:
                self._process = subprocess.Popen(
                    arguments, stdout=self._told, stderr=subprocess.DEVNULL, env={**os.environ, "TZ": "UTC"}
                )
            except OSError as error:
                raise EnergyUnknownError(f"{self._command} cannot be run: {error.strerror}") from None
            stack.callback(self._process.wait)
            stack.callback(self._process.kill)
            deadline = time.monotonic() + _FIRST_SAMPLE_S
            while not self._lines():
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise EnergyUnknownError(f"{self._command} tells no power")
                time.sleep(_POLLING_S)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def begin(self) -> None:
        """Note the time."""
        self._began_at = time.time()

    def end_j(self) -> float:
        """Joules since then: the mean of each GPU's power, added up, times the seconds.

        Raises
        ------
        EnergyUnknownError
            There are too few samples, or some that are no numbers.
        """
        ended_at = time.time()
        if self._process.poll() is not None:
            raise EnergyUnknownError(f"{self._command} ended before the last request")
        samples = [one for one in power_samples(self._lines()) if self._began_at <= one[0] <= ended_at]
        powers: dict[str, list[float]] = {}
        for _, gpu, power_w in samples:
            powers.setdefault(gpu, []).append(power_w)
        fewest = min(map(len, powers.values()), default=0)
        if fewest < _LEAST_SAMPLES:
            raise EnergyUnknownError(
                f"{self._command} told power {fewest} times during the requests: it takes {_LEAST_SAMPLES} at least, "
                f"about {_LEAST_SAMPLES * _SAMPLING_S:g} s"
            )
        return sum(sum(values) / len(values) for values in powers.values()) * (ended_at - self._began_at)

    def _lines(self) -> str:
        """What the process has told so far."""
        # Reading must not move the place at which the process, which shares it, goes on writing.
        size = os.fstat(self._told.fileno()).st_size
        return os.pread(self._told.fileno(), size, 0).decode("utf-8", errors="replace")


class EnergyWatch:
    """Measures the energy of a trial's requests, where all tiers that compute are on this host.

    Parameters
    ----------
    meters
        What counts; none where nothing can.
    unknown
        Why not, as a sentence goes on.
    """

    def __init__(self, meters: Sequence[Meter] = (), unknown: str = "") -> None:
        self._meters = meters
        self._unknown = unknown
        self._joules: float | None = None

    def begin(self) -> None:
        """Begin: the next request is the first that counts."""
        try:
            for meter in self._meters:
                meter.begin()
        except EnergyUnknownError as error:
            self._unknown = str(error)

    def end(self) -> None:
        """End: all requests are answered."""
        if self._unknown:
            return
        try:
            self._joules = sum(meter.end_j() for meter in self._meters)
        except EnergyUnknownError as error:
            self._unknown = str(error)

    def energy(self, requests: int) -> Energy:
        """What they took, each.

        Parameters
        ----------
        requests
            How many there were.
        """
        if self._joules is None or self._unknown:
            return Energy(unknown=self._unknown or "no request was measured")
        return Energy(self._joules / requests, " + ".join(meter.source for meter in self._meters), "")


@contextlib.contextmanager
def watch_energy(
    states: Sequence[TierState], powercap: Path | None = None, nvidia_smi: str = NVIDIA_SMI
) -> Iterator[EnergyWatch]:
    """Open what measures the energy of requests to some tiers.

    Parameters
    ----------
    states
        What the tiers say of themselves: on which host they are, and whether they compute on a GPU.
    powercap
        The folder with the counters of packages; None for the kernel's.
    nvidia_smi
        The program that tells the power of GPUs.
    """
    here = whereabouts()["boot"]
    elsewhere = [state.tier for state in states if here is None or state.limits.get("boot") != here]
    with contextlib.ExitStack() as stack:
        try:
            if elsewhere:
                raise EnergyUnknownError(f"tier {elsewhere[0]} is not known to be on this host")
            meters: list[Meter] = [PackageMeter(POWERCAP if powercap is None else powercap)]
            if any(_uses_gpu(state) for state in states):
                meters.append(stack.enter_context(GpuMeter(nvidia_smi)))
            watch = EnergyWatch(meters)
        except EnergyUnknownError as error:
            watch = EnergyWatch(unknown=str(error))
        yield watch


def counted_uj(before: int, after: int, range_uj: int) -> int:
    """By how much a counter has grown that begins again at 0 beyond its range.

    Parameters
    ----------
    before, after
        What it told.
    range_uj
        The largest value that it has.
    """
    return after - before if after >= before else after + range_uj + 1 - before


def power_samples(told: str) -> list[tuple[float, str, float]]:
    """What `nvidia-smi` has told: seconds since the epoch, the GPU and its watts.

    Parameters
    ----------
    told
        Its lines; the last may be cut off.

    Raises
    ------
    EnergyUnknownError
        A GPU does not tell its power.
    """
    samples = []
    for line in told.splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        try:
            moment, gpu, power_w = (part.strip() for part in line.split(","))
            at_s = datetime.strptime(f"{moment} +0000", "%Y/%m/%d %H:%M:%S.%f %z").timestamp()
            samples.append((at_s, gpu, float(power_w)))
        except ValueError:
            raise EnergyUnknownError(f"nvidia-smi tells no power: {line.strip()!r}") from None
    return samples


def _uses_gpu(state: TierState) -> bool:
    return any(
        not str(provider).startswith("CPU")
        for providers in state.limits.get("providers", {}).values()
        for provider in providers
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except PermissionError:
        raise EnergyUnknownError(f"{path} may not be read: root can allow it by chmod a+r") from None
    except OSError as error:
        raise EnergyUnknownError(f"{path} cannot be read: {error.strerror}") from None


def _whole(path: Path) -> int:
    text = _text(path)
    try:
        return int(text)
    except ValueError:
        raise EnergyUnknownError(f"{path} holds no number") from None
