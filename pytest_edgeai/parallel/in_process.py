"""All nodes of an artifact in this process: what their answers make where none is late and none is missing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pytest_edgeai.arrays import Array
from pytest_edgeai.parallel import node_folders
from pytest_edgeai.parallel.aggregation import Aggregation
from pytest_edgeai.serving.repository import Execution, Model


class NodesInProcess:
    """Nodes and receiver in one.

    Parameters
    ----------
    artifact
        Its folder.

    Raises
    ------
    AggregationError, ModelError
        A file cannot be read.
    """

    def __init__(self, artifact: Path) -> None:
        self.aggregation = Aggregation.read(artifact)
        self._models = [Model(folder, Execution()) for folder in node_folders(artifact)]

    def answers(self, tensors: Mapping[str, Array]) -> list[dict[str, Array]]:
        """What each node answers; of copies, what any of them does."""
        return [model.infer(tensors)[0] for model in self._models]

    def __call__(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """What the receiver makes of their answers."""
        return self.aggregation(self.answers(tensors))
