"""Artifacts for several nodes while they are made: a graph with a pipeline for each node, verified and counted.

What a folder of such an artifact holds, and what the receiver makes of the nodes' answers, is said in
`pytest_edgeai.parallel`.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from pytest_edgeai.operators import BuildError, Job
from pytest_edgeai.operators.export import export
from pytest_edgeai.operators.verification import graph_size, verify, weight_counts
from pytest_edgeai.parallel import node_folder, node_folders
from pytest_edgeai.parallel.aggregation import Aggregation, AggregationError
from pytest_edgeai.serving.pipeline import Classification, Pipeline
from pytest_edgeai.serving.repository import GRAPH_NAME, Execution, Model
from pytest_edgeai.tiers.specs import Spec

if TYPE_CHECKING:
    import torch


class NodesParameters(Spec):
    """The parameter that all operators for several nodes share.

    Parameters
    ----------
    n
        How many nodes the artifact is made for.
    """

    n: int = Field(default=5, ge=2, le=64)


def add_node(job: Job, number: int, pipeline: Pipeline) -> Job:
    """Make a node's folder with its pipeline and what that names.

    Returns
    -------
    Job
        That of the node's graph: its folder, and samples that are pre-processed as its pipeline says.
    """
    folder = node_folder(job.folder, number)
    folder.mkdir()
    pipeline.write(folder)
    for asset in job.subject.assets:
        shutil.copy(job.assets / asset.name, folder)
    return _job_of(job, folder)


def export_node(job: Job, number: int, pipeline: Pipeline, network: torch.nn.Module, opset: int) -> None:
    """Make a node's folder with its pipeline and the graph of its network."""
    node = add_node(job, number, pipeline)
    export(network, node.example(), node.folder / GRAPH_NAME, opset)


def classes_of(job: Job, network: torch.nn.Module) -> int:
    """How many logits a network has."""
    import torch

    with torch.no_grad():
        logits = network(*(torch.from_numpy(array) for array in job.example().values()))
    return int(logits.shape[1])


def results_of(pipeline: Pipeline) -> int:
    """How many labels the whole model answers with, and so the receiver."""
    return pipeline.postprocess.k if pipeline.postprocess is not None else Classification().k


def verify_nodes(job: Job) -> dict[str, Any]:
    """Check each node's graph as that of a whole artifact is checked, and count what is in it.

    Returns
    -------
    dict
        What `graph_size` returns, over the graphs of all nodes (of copies there is one), and under `nodes` of each by
        itself with the size of its graph in bytes.

    Raises
    ------
    BuildError
        A graph is broken, a variant answers one class whatever it is asked, or a folder is missing.
    """
    try:
        aggregation = Aggregation.read(job.folder)
    except AggregationError as error:
        raise BuildError(f"the operator wrote no usable aggregation: {error}") from None
    folders = node_folders(job.folder)
    wanted = 1 if aggregation.kind == "copies" else aggregation.nodes
    if len(folders) != wanted:
        raise BuildError(f"the operator wrote graphs for {len(folders)} nodes, and there should be {wanted}")
    counted = []
    for number, folder in enumerate(folders):
        node = _job_of(job, folder)
        try:
            verify(node)
            if aggregation.kind == "variants" and not job.subject.unmeasured:
                _refuse_one_answer(node)
        except BuildError as error:
            raise BuildError(f"node {number}: {error}") from None
        size_bytes = sum(path.stat().st_size for path in folder.glob(f"{GRAPH_NAME}*"))
        counted.append({**graph_size(node), "size_bytes": size_bytes})
    weights, zeros = np.sum([weight_counts(folder / GRAPH_NAME) for folder in folders], axis=0).tolist()
    summed = {key: sum(one[key] for one in counted) for key in ("parameters", "nonzero_parameters", "macs")}
    return {**summed, "sparsity": zeros / weights if weights else 0.0, "nodes": counted}


def _refuse_one_answer(node: Job) -> None:
    """Refuse a classifier whose best class is the same for all calibration samples.

    It may be weak: whether the variants together are better than guessing is judged by the evaluation.
    """
    model = Model(node.folder, Execution())
    answers = {int(model.infer(sample.inputs)[0]["labels"][0, 0]) for sample in node.calibration}
    if len(answers) == 1 and len(set(node.calibration.labels.tolist())) > 1:
        raise BuildError(
            f"its best class is {answers.pop()} for all {len(node.calibration)} calibration samples: it has collapsed"
        )


def _job_of(job: Job, folder: Path) -> Job:
    pipeline = Pipeline.read(folder)
    if pipeline is None:
        raise BuildError(f"the operator wrote no pipeline into {folder.name}")
    subject = dataclasses.replace(job.subject, pipeline=pipeline)
    return dataclasses.replace(job, subject=subject, folder=folder, assets=folder)
