"""What every backend offers: it deploys an artifact on tiers, and the deployment proves its limits.

Implementations are one file each; `pytest_edgeai.tiers.registry` finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Protocol, TypeAlias, runtime_checkable

from pytest_edgeai.errors import EdgeAIError
from pytest_edgeai.serving.repository import GRAPH_NAME, SessionMode, part_folders
from pytest_edgeai.tiers.allotment import Allotment
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.probe import ProbeConnections
from pytest_edgeai.tiers.specs import Hop, ImageSpec, Topology, node_name
from pytest_edgeai.wire.client import Requests, Wire

CUDA: Final = "CUDAExecutionProvider"
Cause: TypeAlias = Literal["host", "product"]
"""What is to blame where something cannot be measured; what is the host's fault is measured again."""


_SLOW_BPS: Final = 1e6
_LONGEST_TIMEOUT_S: Final = 1e6


class TierError(EdgeAIError, RuntimeError):
    """A tier or link that could not be started, is gone or is not what it should be.

    Parameters
    ----------
    sentence
        With its name and, where it has one, its log's last lines.
    cause
        `host` where another attempt may well succeed, such as after a start that took too long.
    """

    def __init__(self, sentence: str, cause: Cause = "product") -> None:
        super().__init__(sentence)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """What is to be deployed and where.

    Parameters
    ----------
    name
        The model's name on its tier.
    folder
        The artifact: `model.onnx` and what belongs to it.
    placement
        The tiers that run it.
    session
        When the ONNX Runtime session is created.
    wire
        How clients send tensors.
    node
        The number of the node, where it is for one of several of its tier; a backend starts one node at a time
        (`pytest_edgeai.tiers.nodes`).
    model, operator
        What the artifact was made of and by, for servers that have other names for it.
    """

    name: str
    folder: Path
    placement: Placement
    session: SessionMode = "per_deployment"
    wire: Wire = "binary"
    node: int | None = None
    model: str = ""
    operator: str = ""

    @property
    def places(self) -> tuple[str, ...]:
        """The tiers of the placement, or the node of the one that there is."""
        tiers = self.placement.tiers
        return tiers if self.node is None else (node_name(tiers[0], self.node),)

    def way(self, topology: Topology) -> tuple[Hop, ...]:
        """The links that a request crosses, in order.

        Parameters
        ----------
        topology
            The tiers and links.
        """
        tiers = self.placement.tiers
        return topology.way(tiers) if self.node is None else topology.way_to_node(tiers[0], self.node)

    def node_at(self, place: str) -> int | None:
        """The number of the node that a place is; None for a tier, such as one on the way to a node.

        Parameters
        ----------
        place
            The name of a tier or node.
        """
        return self.node if place in self.places else None

    def folder_of(self, place: str) -> Path:
        """What a place of the placement serves: the artifact, or its part.

        Parameters
        ----------
        place
            The name of a tier or node.

        Raises
        ------
        TierError
            The artifact is in another number of parts than there are tiers, or for several nodes.
        """
        if self.placement.nodes > 1:
            raise TierError(f"placement {self.placement}: a backend starts one node at a time")
        folders = part_folders(self.folder.absolute())
        tiers = self.places
        if len(folders) != len(tiers):
            parts = "one part" if len(folders) == 1 else f"{len(folders)} parts"
            raise TierError(f"placement {self.placement}: an artifact in {parts} runs on as many tiers")
        folder = folders[tiers.index(place)]
        if not (folder / GRAPH_NAME).is_file():
            raise TierError(f"tier {place} cannot serve {self.name}: there is no {folder / GRAPH_NAME}")
        return folder


def answer_timeout_s(hops: Sequence[Hop], usual_s: float) -> float:
    """How long to wait for an answer.

    Parameters
    ----------
    hops
        The links on its way; below 1 Mbit/s it takes longer in proportion.
    usual_s
        How long to wait across faster links.
    """
    slowest_bps = min((hop.link.rate_bps for hop in hops), default=_SLOW_BPS)
    delays_s = 2 * sum(hop.link.delay_s for hop in hops)
    return min(_LONGEST_TIMEOUT_S, usual_s * max(1.0, _SLOW_BPS / slowest_bps) + delays_s)


def server_arguments(
    place: str, allotment: Allotment, order: DeploymentSpec, timeout_s: float, turns: str
) -> list[str]:
    """The command line of a tier's server, but for what it serves and to whom it hands on.

    Parameters
    ----------
    place
        The name of the tier or node.
    allotment
        What it gets.
    order
        What is deployed.
    timeout_s
        How long it may wait for the next tier.
    turns
        The folder on which nodes take turns, as the server sees it, where they do.
    """
    arguments = ["--tier", place, "--threads", str(allotment.threads), "--session", order.session]
    arguments += ["--compute-scale", repr(allotment.compute_scale), "--timeout", repr(timeout_s)]
    if allotment.gpu != "no":
        arguments += ["--providers", f"{CUDA},CPUExecutionProvider"]
    if allotment.gpu == "prefer":
        arguments.append("--fall-back")
    if takes_turns(place, allotment, order):
        arguments += ["--turns", turns]
    return arguments


def takes_turns(place: str, allotment: Allotment, order: DeploymentSpec) -> bool:
    """Whether the server of a place computes in turn with those of other nodes."""
    return order.node_at(place) is not None and allotment.takes_turns


@dataclass(frozen=True, slots=True)
class TierState:
    """What a tier says of itself, read back from inside.

    Parameters
    ----------
    tier
        Its name, or the node's.
    limits
        The fields of `pytest_edgeai.serving.limits.Limits`, threads, spinning, compute scale, load times. Empty where
        the server is not ours.
    unproven
        What was asked of the tier and cannot be read back, in words.
    """

    tier: str
    limits: Mapping[str, Any] = field(default_factory=dict)
    unproven: tuple[str, ...] = ()


class Deployment(Protocol):
    """An artifact running on its tiers, with the links to it."""

    hops: tuple[Hop, ...]
    """The links that a request crosses, in order."""

    cores: frozenset[int]
    """The cores of this host that its tiers compute on; empty where that is another machine or not known."""

    def client(self) -> Requests:
        """A new connection to the model, from the origin over all links."""

    def probe(self, hop: Hop) -> ProbeConnections | None:
        """New connections over one link only and without it, for the probe; None where there is no way to have them.

        Parameters
        ----------
        hop
            The link, and in which direction it is crossed.
        """

    def states(self) -> tuple[TierState, ...]:
        """What the tiers of the placement say of themselves now.

        Raises
        ------
        TierError
            A tier is gone, or has other limits than it was given.
        """

    def reference(self) -> Mapping[str, Mapping[str, Any]]:
        """What a fixed computation takes now on each tier or node that runs the model.

        These are the fields of `pytest_edgeai.serving.reference.ReferenceRuns`; servers that are not ours are left out.

        Raises
        ------
        TierError
            A tier is gone.
        """

    def diagnose(self) -> str | None:
        """Why requests fail: a sentence about a tier or link that is gone or silent, or None where all are well."""


@runtime_checkable
class Backend(Protocol):
    """A way to run tiers. One that is a context manager as well is entered for the session."""

    name: ClassVar[str]

    def describe(self) -> str:
        """How it runs and limits tiers, in one line."""

    def deploy(self, order: DeploymentSpec) -> AbstractContextManager[Deployment]:
        """Start the tiers of a placement; they end with the context.

        Parameters
        ----------
        order
            What is deployed, where.

        Raises
        ------
        TierError
            A tier did not start.
        """


def _ignore(sentence: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class BackendContext:
    """What a backend is made for.

    Parameters
    ----------
    topology
        Tiers and links.
    allotments
        What each tier gets of this host.
    placements
        Where strategies of this session are going to run.
    session_id
        Unique to the session; names what is left behind if the session is killed.
    folder
        For logs and repositories of this session.
    image
        What the tier image is made from, for backends that have one.
    note
        Is told about what takes long, a sentence at a time.
    wire
        How the profile wants tensors to be sent; None where it says nothing.
    search_path
        Folders that servers search for modules before all others: those of another version of this package.
    """

    topology: Topology
    allotments: Mapping[str, Allotment]
    placements: tuple[Placement, ...]
    session_id: str
    folder: Path
    image: ImageSpec = field(default_factory=ImageSpec)
    note: Callable[[str], None] = _ignore
    wire: Wire | None = None
    search_path: tuple[str, ...] = ()


BackendFactory = Callable[[BackendContext], Backend]
