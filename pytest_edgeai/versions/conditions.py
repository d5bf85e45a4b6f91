"""What two sessions have to have in common to be compared: settings, host, tiers, and the code that measures."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_edgeai.measured import SessionPlan
    from pytest_edgeai.tiers.allotment import Allotment
    from pytest_edgeai.tiers.specs import Topology

_MEASURING = ("measure", "parallel", "partition", "serving", "tiers", "wire")
"""Folders of this package whose code runs while a request is on its way."""


def code_digest(folders: Sequence[str] = _MEASURING) -> str:
    """Digest of the code that measures: what is part of every latency and of no artifact.

    Parameters
    ----------
    folders
        Those of this package that count.
    """
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted((package / folder).rglob("*.py")):
            digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def session_conditions(plan: SessionPlan) -> dict[str, Any]:
    """All that two sessions have to have in common to be compared."""
    settings, host = plan.settings, plan.host
    profile = settings.measurement
    return {
        "scale": settings.scale,
        "host": {
            "processor": host.processor,
            "instructions": list(host.instructions),
            "cores": host.cores,
            "system": host.system,
        },
        "backend": plan.backend,
        **tier_conditions(settings.topology, plan.allotments),
        "measurement": {
            "warmup": profile.warmup,
            "inputs": profile.inputs,
            "passes": profile.passes,
            "session": profile.session,
            "wire": profile.wire,
        },
    }


def tier_conditions(topology: Topology, allotments: Mapping[str, Allotment], servers: str = "") -> dict[str, Any]:
    """Those of the conditions that are of tiers.

    Parameters
    ----------
    topology, allotments
        By the settings of a version.
    servers
        Digest of the code of its servers, where versions have their own.
    """
    return {
        "topology": topology.model_dump(mode="json", exclude={"tiers": {"__all__": {"token_file", "ca_file"}}}),
        "tiers": {
            name: {"cores": one.cores, "threads": one.threads, "compute_scale": one.compute_scale}
            for name, one in allotments.items()
        },
        **({"code of the servers": servers[:10]} if servers else {}),
    }
