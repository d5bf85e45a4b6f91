"""Tiers, links and topologies as values: where a model can run and what lies between.

Validated by pydantic, because they come from settings files. Quantities are written with their unit ("1 Mbit/s",
"10 ms", "4 GiB") and travel as plain numbers with the unit in the name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_UNITS: Mapping[str, Mapping[str, float]] = {
    "rate": {"bit/s": 1, "kbit/s": 1e3, "Mbit/s": 1e6, "Gbit/s": 1e9},
    "time": {"s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6},
    "memory": {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30},
}
_QUANTITY = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-zµ/]+)\s*")


def parse_quantity(text: object, dimension: str) -> float:
    """A quantity written with its unit, in the base unit of its dimension.

    Parameters
    ----------
    text
        For example `"200 Mbit/s"`.
    dimension
        `rate` (bit/s), `time` (s) or `memory` (B).

    Raises
    ------
    ValueError
        It is not a number with a known unit.
    """
    units = _UNITS[dimension]
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if match is None or match[2] not in units:
        raise ValueError(f"expected a number with a unit ({', '.join(units)}), got {text!r}")
    return float(match[1]) * units[match[2]]


def _quantity(dimension: str) -> BeforeValidator:
    return BeforeValidator(lambda value: parse_quantity(value, dimension))


_URL = re.compile(r"http://([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?/?")


def _check_url(url: str) -> str:
    if url.startswith("https://"):
        raise ValueError("https is not spoken to tiers: give the http:// address, or a tunnel's")
    match = _URL.fullmatch(url)
    if match is None or not 0 < int(match[2] or 80) < 2**16:
        raise ValueError(f"expected http://HOST or http://HOST:PORT, got {url!r}")
    return url


_ENGINE = re.compile(r"ssh://[^/\s]+(/\S+)?|tcp://[^/\s]+|unix:///\S+")


def _check_engine(host: str) -> str:
    if _ENGINE.fullmatch(host) is None:
        raise ValueError(f"expected ssh://USER@HOST, tcp://HOST:PORT or unix:///SOCKET, got {host!r}")
    return host


GpuUse: TypeAlias = Literal["no", "prefer", "require"]


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """Which container engine: by its address, by the name of a Docker context, or, without either, the usual one."""

    host: str | None = None
    context: str | None = None

    def __str__(self) -> str:
        return self.host or (f"context {self.context}" if self.context else "the usual engine")


USUAL_ENGINE = EngineAddress()


class Spec(BaseModel):
    """Base of all settings: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)


class TierSpec(Spec):
    """A place with compute limits.

    Parameters
    ----------
    cores
        CPU cores as in the study; a smaller host keeps the ratio of the tiers (`allot`).
    memory_bytes
        Memory limit; written `memory = "4 GiB"`.
    compute_scale
        The factor by which measured compute is stretched, or None to derive it from the host's cores.
    threads
        ONNX Runtime's intra-op threads, or None for as many as the tier gets cores.
    gpu
        Whether models run on a GPU, by ONNX Runtime's CUDA execution provider: `no`, `prefer` (where there is none, the
        report says on what they ran) or `require` (then it is an error).
    docker_host, docker_context
        The container engine that runs it, where that is not the usual one: an address (`ssh://pi@board`,
        `tcp://server:2376`) or the name of a Docker context. Such a tier gets the cores and the memory that it asks
        for, as they are.
    address
        Where other tiers reach the ports of that engine, or None for the host of its address.
    url
        Address of a running server of the Open Inference Protocol v2 that is the tier: nothing is started for it.
    token_file
        File with the bearer token of that server.
    """

    cores: float = Field(gt=0, le=1024)
    memory_bytes: Annotated[float, _quantity("memory")] = Field(alias="memory", ge=1, le=2**60)
    compute_scale: float | None = Field(default=None, ge=1, le=1000)
    threads: int | None = Field(default=None, ge=1, le=1024)
    gpu: GpuUse = "no"
    docker_host: Annotated[str, AfterValidator(_check_engine)] | None = None
    docker_context: str | None = Field(default=None, min_length=1)
    address: str | None = Field(default=None, min_length=1)
    url: Annotated[str, AfterValidator(_check_url)] | None = None
    token_file: Path | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        named = [name for name in ("docker_host", "docker_context", "url") if getattr(self, name) is not None]
        if len(named) > 1:
            raise ValueError(f"a tier is in one place: give {' or '.join(named)}")
        for name, needs in (("address", ("docker_host", "docker_context")), ("token_file", ("url",))):
            if getattr(self, name) is not None and not set(needs) & set(named):
                raise ValueError(f"{name} needs {' or '.join(needs)} beside it")
        return self

    @property
    def engine(self) -> EngineAddress:
        """The container engine that runs it."""
        return EngineAddress(self.docker_host, self.docker_context)

    @property
    def is_elsewhere(self) -> bool:
        """Whether its cores are not those of this host."""
        return self.url is not None or self.engine != USUAL_ENGINE


class LinkSpec(Spec):
    """A network path between two tiers, alike in both directions.

    Parameters
    ----------
    rate_bps
        Bits of payload a second; written `rate = "1 Mbit/s"`.
    delay_s
        One-way delay; written `delay = "10 ms"`.
    jitter_s
        Spread of the delay; written `jitter = "1 ms"`.
    loss
        Fraction of packets lost, 0 to below 1.
    """

    rate_bps: Annotated[float, _quantity("rate")] = Field(alias="rate", ge=1e3, le=1e12)
    delay_s: Annotated[float, _quantity("time")] = Field(default=0.0, alias="delay", ge=0, le=60)
    jitter_s: Annotated[float, _quantity("time")] = Field(default=0.0, alias="jitter", ge=0, le=60)
    loss: float = Field(default=0.0, ge=0, lt=1)


@dataclass(frozen=True, slots=True)
class Hop:
    """A link crossed in one direction, from `near` to `far`."""

    near: str
    far: str
    link: LinkSpec

    @property
    def name(self) -> str:
        """As spans and reports name it."""
        return f"{self.near}-{self.far}"


class Topology(Spec):
    """The tiers and the links between them.

    Parameters
    ----------
    origin
        The tier at which inputs originate and the client sits.
    tiers
        By name, in the order of reports.
    links
        By the names of the two tiers, `near-far`.
    """

    origin: str = "mobile"
    tiers: Mapping[str, TierSpec]
    links: Mapping[str, LinkSpec]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.origin not in self.tiers:
            raise ValueError(f"origin {self.origin!r} is not a tier; tiers are {', '.join(self.tiers)}")
        for name in self.tiers:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise ValueError(f"the name of a tier is small letters, digits and underscores, not {name!r}")
        for name in self.links:
            ends = name.split("-")
            if len(ends) != 2 or ends[0] == ends[1] or not set(ends) <= set(self.tiers):
                raise ValueError(f"links.{name}: a link is named by two tiers, for example mobile-edge")
            if "-".join(reversed(ends)) in self.links:
                raise ValueError(f"links.{name}: the link between these two tiers is given twice")
        for name in self.tiers:
            self.route(name)
        return self

    def way(self, tiers: Sequence[str]) -> tuple[Hop, ...]:
        """The hops from the origin to each of a chain's tiers in turn.

        Raises
        ------
        ValueError
            There is no path, or it comes to a tier twice, where it could not tell the parts of an artifact apart.
        """
        hops: list[Hop] = []
        here = self.origin
        for tier in tiers:
            hops += self.route(tier, here)
            here = tier
        passed = [self.origin, *(hop.far for hop in hops)]
        if len(set(passed)) < len(passed) or len(set(tiers)) < len(tiers):
            raise ValueError(f"the way {' to '.join(passed)} of {'+'.join(tiers)} comes to a tier twice")
        return tuple(hops)

    def route(self, tier: str, start: str | None = None) -> tuple[Hop, ...]:
        """The hops from the origin, or from another tier, to a tier, by the fewest links; empty if it is the same.

        Raises
        ------
        ValueError
            There is no such tier or no path to it.
        """
        start = start or self.origin
        routes: dict[str, tuple[Hop, ...]] = {start: ()}
        frontier = [start]
        while frontier:
            here = frontier.pop(0)
            for name, link in self.links.items():
                ends = name.split("-")
                if here not in ends:
                    continue
                there = ends[1 - ends.index(here)]
                if there not in routes:
                    routes[there] = (*routes[here], Hop(here, there, link))
                    frontier.append(there)
        if tier not in routes:
            raise ValueError(f"no link leads from {start!r} to tier {tier!r}")
        return routes[tier]


class ImageSpec(Spec):
    """What the tier image of the `docker` backend is made from.

    Parameters
    ----------
    base
        An image with Python; with iproute2 as well where builds have no network. None takes EDGEAI_IMAGE_BASE, else
        Python's own image.
    runtime
        `onnxruntime`, or `onnxruntime-gpu` for a base with CUDA.
    """

    base: str | None = None
    runtime: Literal["onnxruntime", "onnxruntime-gpu"] = "onnxruntime"


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
    """

    cores: int
    threads: int
    compute_scale: float
    memory_bytes: int
    gpu: GpuUse = "no"


def allot(tiers: Mapping[str, TierSpec], host_cores: int, host_memory_bytes: int) -> dict[str, Allotment]:
    """Share a host's cores among tiers that run one after the other, keeping the ratio of their cores.

    A tier should have `cores * H / largest` cores of a host with H; it gets that rounded to a whole number, at least
    one, and the rest of the ratio as compute scale: `cores / compute_scale` is in the same ratio for all tiers, but
    for those that declare a scale of their own. A host without more cores than the largest tier keeps one for the
    client and the links, because ONNX Runtime with as many threads as cores is slower than with one when anything
    else runs. A host with enough cores gives every tier its own number at scale 1. Memory limits are scaled down
    alike where the largest does not fit the host.

    A tier on a container engine elsewhere gets what it asks for, unscaled; whether it is there shows when it starts.
    A tier that is a server elsewhere gets nothing: it is what it is.

    Parameters
    ----------
    tiers
        The tiers by name.
    host_cores
        How many cores may be used.
    host_memory_bytes
        The host's memory.
    """
    here = {name: tier for name, tier in tiers.items() if not tier.is_elsewhere}
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
        if tier.is_elsewhere:
            whole, memory_bytes, scale = max(1, round(tier.cores)), int(tier.memory_bytes), tier.compute_scale or 1.0
        else:
            whole, memory_bytes = cores[name], max(1, int(tier.memory_bytes * memory_share))
            scale = tier.compute_scale or max(1.0, whole / ideal[name] / slowest)
        allotments[name] = Allotment(whole, tier.threads or whole, scale, memory_bytes, tier.gpu)
    return allotments


def paper_topology() -> dict[str, Any]:
    """The study's three tiers and two links, as a settings file would write them."""
    return {
        "origin": "mobile",
        "tiers": {
            "mobile": {"cores": 4, "memory": "4 GiB"},
            "edge": {"cores": 8, "memory": "16 GiB"},
            "cloud": {"cores": 16, "memory": "64 GiB"},
        },
        "links": {"mobile-edge": {"rate": "200 Mbit/s"}, "edge-cloud": {"rate": "1 Mbit/s"}},
    }
