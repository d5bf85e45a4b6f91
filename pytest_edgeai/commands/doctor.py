"""What works on this machine, what is missing and how well it measures, each with what to do. Nothing is changed."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_edgeai.errors import SettingsError
from pytest_edgeai.measure.energy import POWERCAP, EnergyUnknownError, PackageMeter
from pytest_edgeai.measure.findings import Finding, Level
from pytest_edgeai.measure.host import Host, this_host
from pytest_edgeai.measure.session_lock import HostTakenError, only_session
from pytest_edgeai.settings import Settings, load_settings
from pytest_edgeai.settings_files import find_settings
from pytest_edgeai.store import default_root, library_versions
from pytest_edgeai.tiers.allotment import allot
from pytest_edgeai.tiers.specs import USUAL_ENGINE

if TYPE_CHECKING:
    from rich.console import Console

_EXTRAS = {
    "suite": ("neural-compressor", "onnxscript", "safetensors", "scikit-learn"),
    "operators": ("torch", "torch-pruning", "transformers"),
    "docker": ("testcontainers",),
    "parallel": ("pytest-xdist",),
    "completion": ("argcomplete",),
}
_STYLES: dict[Level, str] = {"fine": "green", "limited": "yellow", "broken": "red"}


def examine(root: Path) -> list[Finding]:
    """Look at Python, the host, the libraries, the settings of a project and the store.

    Parameters
    ----------
    root
        The project's folder.
    """
    host = this_host()
    findings = [
        Finding("python", "fine", f"{platform.python_version()} on {platform.platform()}"),
        _host(host),
        *_extras(),
        *_cgroups(),
        _engine(),
        _energy(),
    ]
    settings = None
    try:
        settings = load_settings(root, {})
        path, _ = find_settings(root)
        findings.append(Finding("settings", "fine", "defaults" if path is None else str(path)))
        findings.append(_tiers(settings, host))
    except SettingsError as error:
        findings.append(Finding("settings", "broken", str(error)))
    findings.append(_store(root, settings))
    return findings


def measure() -> list[Finding]:
    """Measure for about ten seconds how well this host measures, unless a session does so now."""
    from pytest_edgeai.measure.host_advice import advise
    from pytest_edgeai.measure.host_checks import check_host

    try:
        with only_session(0, print):
            return list(advise(check_host()))
    except HostTakenError as error:
        return [Finding("measuring", "limited", f"nothing was measured: {error}")]


def show(findings: Sequence[Finding], console: Console) -> None:
    """Print findings for people: on a terminal in lines that fit it, else each in a line of its own."""
    from rich.table import Table
    from rich.text import Text

    lines = Table.grid(padding=(0, 1))
    for finding in findings:
        level = Text(finding.level, _STYLES[finding.level])
        told = Text.assemble((finding.what, "bold"), f": {finding.sentence}")
        if console.is_terminal:
            lines.add_row(level, told)
        else:
            console.print(Text.assemble(level, " " * (8 - len(level) + 1), told), soft_wrap=True)
    if console.is_terminal:
        console.print(lines)


def _host(host: Host) -> Finding:
    words = f"{host.cores} cores of {host.processor}, {host.memory_bytes / 2**30:.0f} GiB, {host.system}"
    if any(name in host.instructions for name in ("avx512_vnni", "avx_vnni", "asimddp", "i8mm")):
        return Finding("host", "fine", f"{words}; has int8 dot products, so that quantized graphs gain")
    return Finding("host", "limited", f"{words}; no int8 dot products: quantized graphs may not be faster")


def _extras() -> Iterator[Finding]:
    for extra, names in _EXTRAS.items():
        versions = library_versions(names)
        missing = [name for name, version in versions.items() if version is None]
        if missing:
            install = f"pip install 'pytest-edgeai[{extra}]'"
            yield Finding(f"extra {extra}", "limited", f"{', '.join(missing)} not installed: {install}")
        else:
            yield Finding(f"extra {extra}", "fine", ", ".join(f"{name} {v}" for name, v in versions.items()))


def _cgroups() -> Iterator[Finding]:
    if sys.platform != "linux":
        yield Finding("limits", "limited", "no control groups on this system: thread counts only")
        return
    from pytest_edgeai.tiers import cgroups

    reason = cgroups.writable("edgeai-doctor")
    if reason is None:
        yield Finding("limits", "fine", "cores and memory of tiers by control groups")
    else:
        yield Finding("limits", "limited", f"cores by affinity, memory unlimited: {reason}")


def _engine() -> Finding:
    from pytest_edgeai.tiers import engine

    try:
        with engine.reached(USUAL_ENGINE) as there:
            version = engine.connect(there).version()
    except engine.EngineError as error:
        return Finding("engine", "limited", f"tiers are processes, not containers: {error}")
    return Finding("engine", "fine", f"{version.get('Version')}, so tiers are containers where their image can be had")


def _energy() -> Finding:
    try:
        return Finding("energy", "fine", PackageMeter(POWERCAP).source)
    except EnergyUnknownError as error:
        return Finding("energy", "limited", f"of requests it is not known: {error}")


def _tiers(settings: Settings, host: Host) -> Finding:
    allotments = allot(settings.topology.tiers, host.cores, host.memory_bytes)
    words = ", ".join(
        f"{name} {given.cores} core(s) × compute scale {given.compute_scale:g}" for name, given in allotments.items()
    )
    scaled = any(given.compute_scale > 1 for given in allotments.values())
    more = ": the host has fewer cores than the largest tier, so compute is stretched" if scaled else ""
    return Finding("tiers", "limited" if scaled else "fine", words + more)


def _store(root: Path, settings: Settings | None) -> Finding:
    named = None if settings is None else settings.store
    store = default_root() if named is None else root / named
    parent = next(folder for folder in (store, *store.parents) if folder.exists())
    free_gb = shutil.disk_usage(parent).free / 1e9
    if free_gb < 1:
        return Finding("store", "broken", f"{store}: only {free_gb:.1f} GB of disk are free")
    return Finding("store", "fine", f"{store} ({free_gb:.0f} GB of disk free)")
