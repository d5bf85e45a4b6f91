"""`partition`: a graph cut into parts for a chain of tiers, with no manual step.

Where a graph can be cut and how is the business of `pytest_edgeai.partition`; this chooses, writes the parts and makes
sure that their chain computes what the whole does.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

import pytest_edgeai.partition
from pytest_edgeai.arrays import Array
from pytest_edgeai.operators import BuildError, Job, Operator
from pytest_edgeai.serving.pipeline import FILE_NAME, NextPart, Pipeline, TextPreprocess
from pytest_edgeai.serving.repository import GRAPH_NAME, part_folder
from pytest_edgeai.tiers.allotment import Allotment
from pytest_edgeai.tiers.specs import Spec, Topology

if TYPE_CHECKING:
    from pytest_edgeai.partition.choosing import Stage
    from pytest_edgeai.partition.cuts import Cut
    from pytest_edgeai.partition.graph import Graph
    from pytest_edgeai.partition.splitting import Coding

_WIRE_RATIO: Mapping[str, float] = {"none": 1.0, "zlib": 1.0, "fp16": 0.5, "int8": 0.25}


class StageParameters(Spec):
    """A tier of the chain and the way to the next one, filled in from the topology.

    Parameters
    ----------
    threads, compute_scale
        Of the tier.
    rate_bps, delay_s
        Of the way to the next tier, on which each tier has to have a message before it hands it on: as one link has
        to be to take as long as all of them, and the sum of their delays; None for the last.
    """

    threads: int
    compute_scale: float
    rate_bps: float | None = None
    delay_s: float = 0.0


class PartitionParameters(Spec):
    """Parameters of `partition`, and so of `sptq_partition` and other chains that end with it.

    Parameters
    ----------
    cut
        `half`: parts of nearly equal size, the first not larger for text, as in the paper. `best`: the least latency
        predicted for `chain`. `all`: a strategy for each cut, or for each choice of cuts where there are more parts.
        Else the tensors after which to cut, by name, or the cuts' numbers from 0 in the graph's order; one fewer
        than there are parts.
    chain
        The tiers that the parts are made for; they run on any chain of as many tiers.
    compression
        Of the tensors that cross: `fp16` and `int8` (scale from calibration samples) by nodes of the graphs,
        `zlib` on the wire.
    calibration_samples
        How many samples the parts are compared with the whole on.
    stages
        Of `best`: what the tiers and links are; filled in from the topology where it is not given.
    """

    cut: Literal["half", "best", "all"] | int | str | tuple[int | str, ...] = "half"
    chain: str = "mobile+edge"
    compression: Literal["none", "fp16", "int8", "zlib"] = "none"
    calibration_samples: int = Field(default=16, ge=1)
    stages: tuple[StageParameters, ...] | None = None

    @field_validator("chain")
    @classmethod
    def _has_parts(cls, chain: str) -> str:
        tiers = chain.split("+")
        if len(tiers) < 2 or not all(tiers) or len(set(tiers)) < len(tiers):
            raise ValueError("a chain is two tiers or more joined by +, for example mobile+edge")
        return chain


class Partition(Operator[PartitionParameters]):
    """A graph in parts."""

    name = "partition"
    takes = "any graph"
    gives = "parts"
    parameters_type = PartitionParameters
    libraries: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")

    @classmethod
    def sources(cls) -> tuple[Path, ...]:
        """Return this file and all that cuts."""
        return (Path(__file__), Path(pytest_edgeai.partition.__file__).parent)

    @property
    def tiers(self) -> tuple[str, ...]:
        """The tiers that the parts are made for."""
        return tuple(self.parameters.chain.split("+"))

    def numbered(self, name: str, numbers: tuple[int, ...]) -> Partition:
        """The operator that takes the cuts of these numbers, under a name of its own."""
        one = type(self)(self.parameters.model_copy(update={"cut": numbers}))
        one.name = name
        return one

    def bind(self, topology: Topology, allotments: Mapping[str, Allotment]) -> Operator[PartitionParameters]:
        """Fill in what `best` has to know; other cuts are the same whatever the tiers are."""
        given = self.parameters
        if given.cut != "best" or given.stages is not None or not set(self.tiers) <= set(topology.tiers):
            return self
        ways = [topology.route(far, near) for near, far in itertools.pairwise(self.tiers)]
        stages = [
            StageParameters(
                threads=allotments[tier].threads,
                compute_scale=allotments[tier].compute_scale,
                rate_bps=1 / sum(1 / hop.link.rate_bps for hop in way) if way else None,
                delay_s=sum(hop.link.delay_s for hop in way),
            )
            for tier, way in zip(self.tiers, [*ways, ()], strict=True)
        ]
        return type(self)(given.model_copy(update={"stages": tuple(stages)}))

    def build(self, job: Job) -> Mapping[str, Any]:
        """Copy the base's graph, for it to be verified whole."""
        assert job.base is not None
        for path in job.base.folder.glob(f"{GRAPH_NAME}*"):
            shutil.copy(path, job.folder)
        return {"engine": "onnx"}

    def divide(self, job: Job) -> Mapping[str, Any]:
        """Cut the graph."""
        from pytest_edgeai.partition.graph import PartitionError

        try:
            return self._divide(job)
        except PartitionError as error:
            raise BuildError(f"{self.name}: {error}") from None

    def _divide(self, job: Job) -> Mapping[str, Any]:
        from pytest_edgeai.partition import equivalence
        from pytest_edgeai.partition.cuts import what_ties
        from pytest_edgeai.partition.graph import PartitionError
        from pytest_edgeai.partition.running import cuts_of

        whole = job.folder / GRAPH_NAME
        count = min(self.parameters.calibration_samples, len(job.calibration))
        batches = [job.feeds(job.calibration, [number]) for number in range(count)]
        job.stage("cutting")
        model, graph, cuts = cuts_of(whole, job.feeds(job.calibration, job.calibration.largest(1)))
        if not cuts:
            raise PartitionError(what_ties(graph))
        chosen, predicted_s = self._choose(job, graph, cuts, batches)
        provenance: dict[str, Any] = {
            "cuts": len(cuts),
            "cut": [cut.name for cut in chosen],
            "crossing": [list(cut.crossing) for cut in chosen],
            "crossing_bytes": [cut.crossing_bytes for cut in chosen],
            "part_bytes": _differences([cut.size_bytes for cut in chosen]),
            "part_parameters": _differences([cut.parameters for cut in chosen]),
            "part_macs": _differences([cut.macs for cut in chosen]),
            "compression": self.parameters.compression,
            **({} if predicted_s is None else {"predicted_s": predicted_s}),
        }
        # The cut itself has to be right; what compression costs on top is for the accuracy to say.
        plain = _write(model, graph, chosen, job.scratch, {})
        job.stage("comparing")
        found = equivalence.compare(whole, plain, batches)
        found.check(quantized=any(node.op_type == "QuantizeLinear" for node in graph.nodes))
        provenance["equivalence"] = found.as_json()
        codings = self._codings(whole, graph, chosen, batches)
        if codings:
            plain = _write(model, graph, chosen, job.scratch, codings)
            provenance["compressed"] = equivalence.compare(whole, plain, batches).as_json()
        self._place(job, plain)
        return provenance

    def _choose(
        self, job: Job, graph: Graph, cuts: Sequence[Cut], batches: Sequence[Mapping[str, Array]]
    ) -> tuple[tuple[Cut, ...], float | None]:
        from pytest_edgeai.partition import choosing
        from pytest_edgeai.partition.graph import PartitionError

        given, parts = self.parameters, len(self.tiers)
        if given.cut == "half":
            is_text = isinstance(job.subject.pipeline.preprocess, TextPreprocess)
            return choosing.halves(cuts, parts, first_not_larger=is_text), None
        if given.cut == "all":  # a session has put an operator for each cut in its place
            raise PartitionError(
                "cut = 'all' makes every cut a strategy, and this graph has none that could be counted"
            )
        if given.cut != "best":
            names = given.cut if isinstance(given.cut, tuple) else (given.cut,)
            if len(names) != parts - 1:
                raise PartitionError(f"{len(names)} cuts make {len(names) + 1} parts, but {given.chain} has {parts}")
            named = [
                choosing.by_name(cuts, one) if isinstance(one, str) else choosing.by_number(cuts, one) for one in names
            ]
            return tuple(sorted(named, key=lambda cut: cut.position)), None
        if given.stages is None or len(given.stages) != parts:
            raise PartitionError(f"cut = 'best' needs the tiers of {given.chain} in the topology, or stages for them")
        job.stage("profiling")
        stages = measured_stages(job.folder / GRAPH_NAME, graph, batches, given.stages)
        ratio = _WIRE_RATIO[given.compression]
        chosen = choosing.best(cuts, stages, ratio, choosing.MESSAGE_BYTES)
        return chosen, choosing.predicted_s(chosen, stages, ratio, choosing.MESSAGE_BYTES)

    def _codings(
        self, whole: Path, graph: Graph, chosen: Sequence[Cut], batches: Sequence[Mapping[str, Array]]
    ) -> dict[str, Coding]:
        import onnx

        from pytest_edgeai.partition.running import values_of
        from pytest_edgeai.partition.splitting import Byte, Half

        crossing = dict.fromkeys(name for cut in chosen for name in cut.crossing)
        floats = [name for name in crossing if graph.tensors[name].element_type == onnx.TensorProto.FLOAT]
        if self.parameters.compression == "fp16":
            return dict.fromkeys(floats, Half())
        if self.parameters.compression != "int8" or not floats:
            return {}
        ranges = {name: [0.0, 0.0] for name in floats}
        for batch in batches:
            for name, value in values_of(whole, floats, batch).items():
                least, most = ranges[name]
                ranges[name] = [min(least, float(value.min())), max(most, float(value.max()))]
        return {name: Byte.spanning(least, most) for name, (least, most) in ranges.items()}

    def _place(self, job: Job, graphs: Sequence[Path]) -> None:
        """Put each part into a folder of its own, with its share of the pipeline, in place of the whole."""
        pipeline = job.subject.pipeline
        last = len(graphs) - 1
        onward = NextPart("zlib" if self.parameters.compression == "zlib" else "none")
        for number, graph in enumerate(graphs):
            folder = part_folder(job.folder, number)
            folder.mkdir()
            for path in graph.parent.iterdir():
                shutil.move(path, folder)
            Pipeline(
                pipeline.preprocess if number == 0 else None,
                pipeline.postprocess if number == last else None,
                onward if number < last else None,
            ).write(folder)
        for asset in job.subject.assets:
            shutil.move(job.assets / asset.name, part_folder(job.folder, 0))
        for path in (*job.folder.glob(f"{GRAPH_NAME}*"), job.folder / FILE_NAME):
            path.unlink()


def measured_stages(
    path: Path, graph: Graph, batches: Sequence[Mapping[str, Array]], tiers: Sequence[StageParameters]
) -> list[Stage]:
    """What is known of the tiers of a chain before anything is served: the graph is profiled here for each of them.

    Parameters
    ----------
    path, graph
        The graph's file, and the same as it was read.
    batches
        Inputs, each a batch of one.
    tiers
        The tiers; those with as many threads share a profile.
    """
    from pytest_edgeai.partition.choosing import Stage
    from pytest_edgeai.partition.profiling import measure_prefix_s

    prefixes = {
        threads: measure_prefix_s(path, graph, batches, threads=threads) for threads in {one.threads for one in tiers}
    }
    return [
        Stage(
            [cost_s * one.compute_scale for cost_s in prefixes[one.threads]],
            one.rate_bps or float("inf"),
            one.delay_s,
        )
        for one in tiers
    ]


def _write(model: Any, graph: Graph, chosen: Sequence[Cut], scratch: Path, codings: Mapping[str, Coding]) -> list[Path]:
    """Write the parts that cuts make, each into a folder of its own."""
    from pytest_edgeai.partition.choosing import by_name
    from pytest_edgeai.partition.cuts import find_cuts
    from pytest_edgeai.partition.graph import Graph
    from pytest_edgeai.partition.splitting import save, split

    parts, rest, cuts = [], model, list(chosen)
    while cuts:
        cut = cuts.pop(0)
        first, rest = split(rest, graph, cut.crossing, codings)
        parts.append(first)
        if cuts:  # what is left is a graph of its own, in which the next cut has the same name
            passed = {name for name in cut.crossing if graph.is_main(name)}
            shapes = {name: graph.tensors[name].shape for name in cut.crossing}
            example = {one.name: shapes[name] for one, name in zip(rest.graph.input, cut.crossing, strict=True)}
            graph = Graph.read(rest, example=example, main_inputs=passed).with_tensors(graph.tensors)
            cuts[0] = by_name(find_cuts(graph), cuts[0].name)
    paths = []
    for number, part in enumerate([*parts, rest]):
        folder = part_folder(scratch, number)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        save(part, folder / GRAPH_NAME)
        paths.append(folder / GRAPH_NAME)
    return paths


def _differences(pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Each part's share, given what is before and after each cut."""
    ends = [0, *(before for before, _ in pairs), sum(pairs[-1])]
    return [after - before for before, after in itertools.pairwise(ends)]
