"""`identity`: the model as it is, a network exported to ONNX or the ONNX file. The baseline of every comparison."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from pytest_edgeai.operators import BuildError, Job, Operator, networks
from pytest_edgeai.operators import export as exporter
from pytest_edgeai.operators.export import EXPORT_LIBRARIES, export
from pytest_edgeai.serving.repository import GRAPH_NAME
from pytest_edgeai.tiers.specs import Spec


class IdentityParameters(Spec):
    """Parameters of `identity`.

    Parameters
    ----------
    opset
        Version of the ONNX operator set. From 17 on a LayerNorm is one node, from 20 on a GELU.
    """

    opset: int = Field(default=20, ge=18, le=23)


class Identity(Operator[IdentityParameters]):
    """The model as it is."""

    name = "identity"
    parameters_type = IdentityParameters
    libraries: ClassVar[tuple[str, ...]] = EXPORT_LIBRARIES

    @classmethod
    def sources(cls) -> tuple[Path, ...]:
        """Return this file, and those that read networks and export them."""
        return (*super().sources(), Path(exporter.__file__), Path(networks.__file__))

    def build(self, job: Job) -> Mapping[str, Any]:
        """Export the network, or the one that a chain has made of it; copy a graph."""
        if job.subject.graph is not None:
            return _copied(job.subject.graph, job.folder / GRAPH_NAME)
        job.stage("exporting")
        export(job.network(), job.example(), job.folder / GRAPH_NAME, self.parameters.opset)
        return {"engine": "torch", "opset": self.parameters.opset}


def _copied(graph: Path, target: Path) -> Mapping[str, Any]:
    from pytest_edgeai.subjects.graphs import GraphError, copy_graph, read_graph

    try:
        copy_graph(graph, target)
        opsets = {one.domain: one.version for one in read_graph(target).opset_import}
    except GraphError as error:
        raise BuildError(str(error)) from None
    return {"engine": "copy", "opset": opsets.get("", opsets.get("ai.onnx"))}
