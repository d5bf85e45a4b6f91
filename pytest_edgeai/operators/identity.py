"""`identity`: the model as it is, the ONNX file or a network exported to ONNX. The baseline of every comparison."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from pytest_edgeai.operators import BuildError, Job, Operator, networks
from pytest_edgeai.operators import export as exporter
from pytest_edgeai.operators.export import EXPORT_LIBRARIES, export
from pytest_edgeai.serving.repository import GRAPH_NAME
from pytest_edgeai.subjects import SubjectModel, skeletons
from pytest_edgeai.subjects.graphs import GraphError, opset_of
from pytest_edgeai.tiers.specs import Spec


class IdentityParameters(Spec):
    """Parameters of `identity`.

    Parameters
    ----------
    opset
        Version of the ONNX operator set, for networks. From 17 on a LayerNorm is one node, from 20 on a GELU. A model
        with both a network and a graph is exported where its graph has another.
    """

    opset: int = Field(default=20, ge=18, le=23)


class Identity(Operator[IdentityParameters]):
    """The model as it is."""

    name = "identity"
    parameters_type = IdentityParameters
    libraries: ClassVar[tuple[str, ...]] = EXPORT_LIBRARIES

    @classmethod
    def sources(cls) -> tuple[Path, ...]:
        """Return this file, and those that read networks, export them and fill skeletons of graphs."""
        return (*super().sources(), Path(exporter.__file__), Path(networks.__file__), Path(skeletons.__file__))

    def takes_network(self, subject: SubjectModel, *, first: bool) -> bool:
        """Whether a network is exported: that of a chain, or the model's where its graph is not what is asked for."""
        if not first or subject.graph is None:
            return True
        return subject.network is not None and opset_of(subject.graph) != self.parameters.opset

    def libraries_for(self, subject: SubjectModel, *, first: bool) -> tuple[str, ...]:
        """Those that export, or those that put a graph in place."""
        return self.libraries if self.takes_network(subject, first=first) else skeletons.LIBRARIES

    def requirements_for(self, subject: SubjectModel, *, first: bool) -> tuple[str, ...]:
        """Nothing for a file that is copied as it is, or is refused when it is read."""
        if not self.takes_network(subject, first=first):
            assert subject.graph is not None
            try:
                return skeletons.LIBRARIES if skeletons.is_skeleton(subject.graph) else ()
            except GraphError:
                return ()
        return self.libraries

    def build(self, job: Job) -> Mapping[str, Any]:
        """Export the network, or the one that a chain has made of it; copy or fill a graph."""
        try:
            if not self.takes_network(job.subject, first=job.base is None):
                assert job.subject.graph is not None
                engine = skeletons.put_graph(job.subject.graph, job.folder / GRAPH_NAME)
                return {"engine": engine, "opset": opset_of(job.folder / GRAPH_NAME)}
        except GraphError as error:
            raise BuildError(str(error)) from None
        job.stage("exporting")
        export(job.network(), job.example(), job.folder / GRAPH_NAME, self.parameters.opset)
        return {"engine": "torch", "opset": self.parameters.opset}
