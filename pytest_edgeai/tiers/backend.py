"""What every backend offers: it deploys an artifact on tiers, and the deployment proves its limits.

Implementations are one file each; `pytest_edgeai.tiers.registry` finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, runtime_checkable

from pytest_edgeai.matrix import Placement
from pytest_edgeai.measure.client import Client, Wire
from pytest_edgeai.serving.repository import GRAPH_NAME, SessionMode, part_folders
from pytest_edgeai.tiers.probe import Line
from pytest_edgeai.tiers.specs import Allotment, Hop, ImageSpec, Topology

CUDA: Final = "CUDAExecutionProvider"


class TierError(RuntimeError):
    """A tier or link that could not be started, is gone or is not what it should be.

    One sentence with its name and, where it has one, its log's last lines.
    """


@dataclass(frozen=True, slots=True)
class Order:
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
    """

    name: str
    folder: Path
    placement: Placement
    session: SessionMode = "per_deployment"
    wire: Wire = "binary"

    def folder_of(self, tier: str) -> Path:
        """What a tier of the placement serves: the artifact, or its part.

        Raises
        ------
        TierError
            The artifact is in another number of parts than there are tiers.
        """
        folders = part_folders(self.folder.absolute())
        tiers = self.placement.tiers
        if len(folders) != len(tiers):
            parts = "one part" if len(folders) == 1 else f"{len(folders)} parts"
            raise TierError(f"placement {self.placement}: an artifact in {parts} runs on as many tiers")
        folder = folders[tiers.index(tier)]
        if not (folder / GRAPH_NAME).is_file():
            raise TierError(f"tier {tier} cannot serve {self.name}: there is no {folder / GRAPH_NAME}")
        return folder


def server_arguments(tier: str, allotment: Allotment, order: Order, timeout_s: float) -> list[str]:
    """The command line of a tier's server, but for what it serves and to whom it hands on.

    Parameters
    ----------
    tier
        Its name.
    allotment
        What it gets.
    order
        What is deployed.
    timeout_s
        How long it may wait for the next tier.
    """
    arguments = ["--tier", tier, "--threads", str(allotment.threads), "--session", order.session]
    arguments += ["--compute-scale", repr(allotment.compute_scale), "--timeout", repr(timeout_s)]
    if allotment.gpu != "no":
        arguments += ["--providers", f"{CUDA},CPUExecutionProvider"]
    if allotment.gpu == "prefer":
        arguments.append("--fall-back")
    return arguments


@dataclass(frozen=True, slots=True)
class TierState:
    """What a tier says of itself, read back from inside.

    Parameters
    ----------
    tier
        Its name.
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

    def client(self) -> Client:
        """A new connection to the model, from the origin over all links."""

    def probe(self, hop: Hop) -> Line | None:
        """A new connection over one link only, for the probe; None where there is no way to have it."""

    def states(self) -> tuple[TierState, ...]:
        """What the tiers of the placement say of themselves now.

        Raises
        ------
        TierError
            A tier is gone, or has other limits than it was given.
        """

    def diagnose(self) -> str | None:
        """Why requests fail: a sentence about a tier or link that is gone or silent, or None where all are well."""


@runtime_checkable
class Backend(Protocol):
    """A way to run tiers. One that is a context manager as well is entered for the session."""

    name: ClassVar[str]

    def describe(self) -> str:
        """How it runs and limits tiers, in one line."""

    def deploy(self, order: Order) -> AbstractContextManager[Deployment]:
        """Start the tiers of a placement; they end with the context.

        Raises
        ------
        TierError
            A tier did not start.
        """


def _ignore(sentence: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Site:
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
    """

    topology: Topology
    allotments: Mapping[str, Allotment]
    placements: tuple[Placement, ...]
    session_id: str
    folder: Path
    image: ImageSpec = field(default_factory=ImageSpec)
    note: Callable[[str], None] = _ignore


BackendFactory = Callable[[Site], Backend]
