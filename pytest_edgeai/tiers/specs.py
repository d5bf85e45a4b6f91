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

from pytest_edgeai.errors import unknown
from pytest_edgeai.tiers.addresses import check_engine, check_model_name, check_url, is_encrypted
from pytest_edgeai.tiers.quantities import parse_quantity
from pytest_edgeai.wire.links import LinkShape


def _quantity(dimension: str) -> BeforeValidator:
    return BeforeValidator(lambda value: parse_quantity(value, dimension))


GpuUse: TypeAlias = Literal["no", "prefer", "require"]
Shaping: TypeAlias = Literal["held", "kernel"]
PipelinePlace: TypeAlias = Literal["server", "client"]
_OF_SERVERS = ("token_file", "ca_file", "model", "version")


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """Which container engine: by its address, by the name of a Docker context, or, without either, the usual one."""

    host: str | None = None
    context: str | None = None

    def __str__(self) -> str:
        return self.host or (f"context {self.context}" if self.context else "the usual engine")


USUAL_ENGINE = EngineAddress()


class Spec(BaseModel):
    """Base of all settings: frozen; an unknown key is an error, and so is a number that is not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False, allow_inf_nan=False)


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
    ca_file
        PEM file with the certificates that its own is checked with, or None for those of the system.
    pipeline
        Who runs the artifact's pre- and post-processing: the `server`, or the `client` where it has the graph alone.
    model
        The server's name of a model, with `{model}` and `{operator}` in it; None for `{model}-{operator}`.
    version
        The version of its models that is asked for, or None to leave it to the server.
    """

    cores: float = Field(gt=0, le=1024)
    memory_bytes: Annotated[float, _quantity("memory")] = Field(alias="memory", ge=1, le=2**60)
    compute_scale: float | None = Field(default=None, ge=1, le=1000)
    threads: int | None = Field(default=None, ge=1, le=1024)
    gpu: GpuUse = "no"
    docker_host: Annotated[str, AfterValidator(check_engine)] | None = None
    docker_context: str | None = Field(default=None, min_length=1)
    address: str | None = Field(default=None, min_length=1)
    url: Annotated[str, AfterValidator(check_url)] | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    pipeline: PipelinePlace = "server"
    model: Annotated[str, AfterValidator(check_model_name)] | None = None
    version: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        named = [name for name in ("docker_host", "docker_context", "url") if getattr(self, name) is not None]
        if len(named) > 1:
            raise ValueError(f"a tier is in one place: give {' or '.join(named)}")
        if self.address is not None and self.engine == USUAL_ENGINE:
            raise ValueError("address needs docker_host or docker_context beside it")
        given = [name for name in _OF_SERVERS if getattr(self, name) is not None]
        for name in given if self.pipeline == "server" else ["pipeline", *given]:
            if self.url is None:
                raise ValueError(f"{name} needs url beside it")
        if self.ca_file is not None and self.url is not None and not is_encrypted(self.url):
            raise ValueError("ca_file needs an address that begins with https:// or grpcs://")
        return self

    @property
    def engine(self) -> EngineAddress:
        """The container engine that runs it."""
        return EngineAddress(self.docker_host, self.docker_context)

    @property
    def is_remote(self) -> bool:
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

    @property
    def shape(self) -> LinkShape:
        """As the receiving end of a message keeps it."""
        return LinkShape(self.rate_bps, self.delay_s, self.jitter_s, self.loss)


def node_name(tier: str, node: int) -> str:
    """A node of a tier, from 0, as spans and sentences name it: `mobile[2]`."""
    return f"{tier}[{node}]"


def tier_of(place: str) -> str:
    """The tier of a place, which is a tier or a node of one."""
    return place.partition("[")[0]


@dataclass(frozen=True, slots=True)
class Hop:
    """A link crossed in one direction, from `near` to `far`: tiers, or nodes of them."""

    near: str
    far: str
    link: LinkSpec

    @property
    def name(self) -> str:
        """As spans and reports name it."""
        return f"{self.near}-{self.far}"

    @property
    def tiers(self) -> str:
        """The two tiers, whichever of their nodes it leads to."""
        return f"{tier_of(self.near)}-{tier_of(self.far)}"


class Topology(Spec):
    """The tiers and the links between them.

    Parameters
    ----------
    origin
        The tier at which inputs originate and the client sits.
    tiers
        By name, in the order of reports.
    links
        By the names of the two tiers, `near-far`; a link of the origin with itself, `mobile-mobile`, is the network
        among its nodes.
    shaping
        What gives links between containers of one engine their rate and delay: `held`, the receiving ends, or
        `kernel`, where the network stack is what is measured.
    """

    origin: str = "mobile"
    tiers: Mapping[str, TierSpec]
    links: Mapping[str, LinkSpec]
    shaping: Shaping = "held"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.origin not in self.tiers:
            raise ValueError(f"origin: {unknown('tier', self.origin, self.tiers)}")
        for name in self.tiers:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise ValueError(f"the name of a tier is small letters, digits and underscores, not {name!r}")
        for name in self.links:
            ends = name.split("-")
            if len(ends) != 2 or not set(ends) <= set(self.tiers):
                raise ValueError(f"links.{name}: a link is named by two tiers, for example mobile-edge")
            if ends[0] == ends[1]:
                if ends[0] != self.origin:
                    raise ValueError(
                        f"links.{name}: nobody sends over a network among nodes of {ends[0]}; only the origin's nodes "
                        f"have one, {self.origin}-{self.origin}"
                    )
            elif "-".join(reversed(ends)) in self.links:
                raise ValueError(f"links.{name}: the link between these two tiers is given twice")
        for name in self.tiers:
            self.route(name)
        return self

    def as_settings(self) -> dict[str, Any]:
        """As a settings file writes it, so that it can be read again."""
        document = self.model_dump(mode="json", by_alias=True)
        for tier in document["tiers"].values():
            tier["memory"] = f"{tier['memory']} B"
        for link in document["links"].values():
            link |= {"rate": f"{link['rate']} bit/s"} | {name: f"{link[name]} s" for name in ("delay", "jitter")}
        return document

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

    def way_to_node(self, tier: str, node: int) -> tuple[Hop, ...]:
        """The hops from the origin to one of several nodes of a tier; each node has a way of its own.

        Nodes of the origin are reached over its link with itself, or over none where that is not declared.

        Parameters
        ----------
        tier
            Its name.
        node
            The number of the node, from 0.

        Raises
        ------
        ValueError
            There is no such tier or no path to it.
        """
        if tier == self.origin:
            link = self.links.get(f"{tier}-{tier}")
            return () if link is None else (Hop(tier, node_name(tier, node), link),)
        return tuple(
            Hop(hop.near if hop.near == self.origin else node_name(hop.near, node), node_name(hop.far, node), hop.link)
            for hop in self.route(tier)
        )

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
