"""`data_parallel`: copies of a whole graph on several nodes, each of which answers every n-th request.

A request takes as long as on one node; there are n times as many in the same time.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pytest_edgeai.operators import Job, Operator, nodes
from pytest_edgeai.operators.nodes import NodesParameters, add_node, results_of
from pytest_edgeai.parallel.aggregation import Aggregation
from pytest_edgeai.serving.repository import GRAPH_NAME


class DataParallel(Operator[NodesParameters]):
    """Copies of a graph."""

    name = "data_parallel"
    takes = "any graph"
    gives = "nodes"
    parameters_type = NodesParameters
    libraries: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    @classmethod
    def sources(cls) -> tuple[Path, ...]:
        """Return this file, and that which writes nodes."""
        return (*super().sources(), Path(nodes.__file__))

    @property
    def nodes(self) -> int:
        """How many copies there are."""
        return self.parameters.n

    def build(self, job: Job) -> Mapping[str, Any]:
        """Copy the base's graph into the one folder that all nodes serve."""
        import onnxruntime

        assert job.base is not None
        node = add_node(job, 0, job.subject.pipeline)
        for path in job.base.folder.glob(f"{GRAPH_NAME}*"):
            shutil.copy(path, node.folder)
        session = onnxruntime.InferenceSession(str(node.folder / GRAPH_NAME), providers=["CPUExecutionProvider"])
        classes = session.run(None, node.example())[0].shape[1]
        Aggregation("copies", self.parameters.n, classes, results_of(job.subject.pipeline)).write(job.folder)
        return {"engine": "onnxruntime", "copies": self.parameters.n}
