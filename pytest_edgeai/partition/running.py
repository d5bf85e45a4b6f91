"""Graphs run by ONNX Runtime for what only a run tells: values inside a graph, shapes that inference does not find."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pytest_edgeai.arrays import Array
from pytest_edgeai.partition.cuts import Cut, find_cuts
from pytest_edgeai.partition.graph import Graph, PartitionError, Role, inputs_of
from pytest_edgeai.partition.shapes import Tensor, infer_with, skeleton

if TYPE_CHECKING:
    import onnx

Level: TypeAlias = Literal["none", "basic", "all"]


def open_session(
    path: Path | bytes,
    level: Level = "all",
    *,
    outputs: Sequence[str] = (),
    threads: int = 1,
    profile: Path | None = None,
    optimized: Path | None = None,
) -> Any:
    """A session of ONNX Runtime on the CPU.

    Parameters
    ----------
    path
        The graph's file; or the model itself, serialized, which has all its weights then.
    level
        How much the graph is optimized.
    outputs
        Tensors to be had as outputs besides the graph's own.
    threads
        Intra-op threads.
    profile
        What the names of the profiler's files begin with; None turns it off. Every node then has a name of its own.
    optimized
        Where to write the optimized graph.

    Raises
    ------
    PartitionError
        The graph cannot be loaded.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.graph_optimization_level = {
        "none": levels.ORT_DISABLE_ALL,
        "basic": levels.ORT_ENABLE_BASIC,
        "all": levels.ORT_ENABLE_ALL,
    }[level]
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source: str | bytes
    if isinstance(path, bytes):
        source, path = path, Path("a part of it")
    else:  # a model that comes as bytes, as one with more outputs does, has to be told where its weights are
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
        source = str(path) if not outputs and profile is None else _edited(path, outputs)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  # ONNX Runtime's own classes derive from RuntimeError and Exception
        raise PartitionError(f"{path} cannot be loaded: {str(error).splitlines()[0]}") from None


def run_chain(sessions: Sequence[Any], feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Run graphs one after the other, each on the outputs of the one before; the outputs of the last."""
    tensors = dict(feeds)
    for session in sessions:
        names = [one.name for one in session.get_outputs()]
        fed = {one.name: tensors[one.name] for one in session.get_inputs()}
        tensors = dict(zip(names, session.run(names, fed), strict=True))
    return tensors


def values_of(path: Path, names: Sequence[str], feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Values of tensors inside a graph."""
    session = open_session(path, "basic", outputs=names)
    taken = {one.name: feeds[one.name] for one in session.get_inputs()}
    return dict(zip(names, session.run(list(names), taken), strict=True))


def completed(graph: Graph, model: onnx.ModelProto, path: Path, feeds: Mapping[str, Array]) -> Graph:
    """The graph with the shapes that inference alone did not find.

    What is computed of inputs and small constants alone (positions, shapes) is run, and inferred from again: that is
    quick. The whole graph is run only where this leaves shapes unknown.

    Parameters
    ----------
    graph, model
        As read from `path`.
    path
        The graph's file.
    feeds
        The example that it was read with.
    """
    from onnx import helper

    if not _unknown(graph):
        return graph
    part = _light_part(model, graph)
    if part is not None:
        session = open_session(part.SerializeToString(), "none")
        names = [one.name for one in session.get_outputs()]
        taken = {one.name: feeds[one.name] for one in session.get_inputs()}
        values = dict(zip(names, session.run(names, taken), strict=True))
        graph = graph.with_tensors(infer_with(model, values, _shapes(feeds)))
    unknown = _unknown(graph)
    if not unknown:
        return graph
    values = values_of(path, unknown, feeds)
    found = {name: Tensor(helper.np_dtype_to_tensor_dtype(value.dtype), value.shape) for name, value in values.items()}
    return graph.with_tensors(found)


def _unknown(graph: Graph) -> list[str]:
    return [name for node in graph.nodes for name in node.outputs if name not in graph.tensors]


def cuts_of(path: Path, feeds: Mapping[str, Array]) -> tuple[onnx.ModelProto, Graph, tuple[Cut, ...]]:
    """The model in a file, its graph with all shapes, and all cuts of it.

    Parameters
    ----------
    path
        The graph's file.
    feeds
        An example, a batch of one: sizes are for its shapes.

    Raises
    ------
    PartitionError
        The graph cannot be read or run.
    """
    import onnx

    model = onnx.load(path)
    graph = completed(Graph.read(model, example=_shapes(feeds)), model, path, feeds)
    return model, graph, find_cuts(graph)


def _shapes(feeds: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in feeds.items()}


def _light_part(model: onnx.ModelProto, graph: Graph) -> onnx.ModelProto | None:
    """What a model computes of its inputs and small constants alone, as a model with all its tensors as outputs."""
    import onnx

    roles = {name: role for node, role in zip(graph.nodes, graph.roles, strict=True) for name in node.outputs}
    part = skeleton(model)
    known = {"", *graph.inputs, *(one.name for one in part.graph.initializer)}
    nodes = []
    for node in part.graph.node:
        if roles.get(node.output[0]) in (Role.SIDE, Role.CONSTANT) and known.issuperset(inputs_of(node)):
            nodes.append(node)
            known.update(node.output)
    if not nodes:
        return None
    needed = {name for node in nodes for name in inputs_of(node)}
    inputs = [one for one in part.graph.input if one.name in needed]
    del part.graph.node[:], part.graph.input[:], part.graph.output[:]
    part.graph.node.extend(nodes)
    part.graph.input.extend(inputs)
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for node in nodes for name in node.output if name)
    return part


def _edited(path: Path, outputs: Sequence[str]) -> bytes:
    """The model with further outputs, and with a name of its own for each node."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    have = {one.name for one in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs if name not in have)
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.name}#{number}"
    return bytes(model.SerializeToString())
