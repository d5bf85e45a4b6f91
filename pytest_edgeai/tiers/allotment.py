"""What each tier gets of a host: cores, threads, memory, and the compute scale that keeps the ratio of the tiers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_edgeai.tiers.specs import GpuUse, TierSpec


@dataclass(frozen=True, slots=True)
class Allotment:
    """What a tier gets of this host.

    Parameters
    ----------
    cores
        Whole cores.
    threads
        ONNX Runtime's intra-op threads.
    compute_scale
        The factor that keeps the tiers' ratio where whole cores cannot.
    memory_bytes
        Memory limit.
    gpu
        Whether models run on a GPU.
    takes_turns
        Whether several nodes of the tier compute in turn on these cores, because the host has too few
        (`pytest_edgeai.tiers.sharing`).
    """

    cores: int
    threads: int
    compute_scale: float
    memory_bytes: int
    gpu: GpuUse = "no"
    takes_turns: bool = False


def allot(tiers: Mapping[str, TierSpec], host_cores: int, host_memory_bytes: int) -> dict[str, Allotment]:
    """Share a host's cores among tiers that run one after the other, keeping the ratio of their cores.

    A tier should have `cores * H / largest` cores of a host with H; it gets that rounded to a whole number, at least
    one, and the rest of the ratio as compute scale: `cores / compute_scale` is in the same ratio for all tiers, but
    for those that declare a scale of their own. A host without more cores than the largest tier keeps one for the
    client and the links, because ONNX Runtime with as many threads as cores is slower than with one when anything
    else runs. A host with enough cores gives every tier its own number at scale 1. Memory limits are scaled down
    alike where the largest does not fit the host.

    A tier on a remote container engine gets what it asks for, unscaled; whether it is there shows when it starts.
    A tier that is a remote server gets nothing: it is what it is.

    Parameters
    ----------
    tiers
        The tiers by name.
    host_cores
        How many cores may be used.
    host_memory_bytes
        The host's memory.
    """
    here = {name: tier for name, tier in tiers.items() if not tier.is_remote}
    largest = max((tier.cores for tier in here.values()), default=1.0)
    usable = host_cores if host_cores > largest else max(1, host_cores - 1)
    share = min(1.0, usable / largest)
    memory_share = min(1.0, host_memory_bytes / max((tier.memory_bytes for tier in here.values()), default=1.0))
    ideal = {name: tier.cores * share for name, tier in here.items()}
    cores = {name: min(usable, max(1, round(ideal[name]))) for name in here}
    # Where rounding took from a tier, all others are as much slower.
    slowest = min(1.0, *(cores[name] / ideal[name] for name in here)) if here else 1.0
    allotments = {}
    for name, tier in tiers.items():
        if tier.url is not None:
            continue
        if tier.is_remote:
            whole, memory_bytes, scale = max(1, round(tier.cores)), int(tier.memory_bytes), tier.compute_scale or 1.0
        else:
            whole, memory_bytes = cores[name], max(1, int(tier.memory_bytes * memory_share))
            scale = tier.compute_scale or max(1.0, whole / ideal[name] / slowest)
        allotments[name] = Allotment(whole, tier.threads or whole, scale, memory_bytes, tier.gpu)
    return allotments
