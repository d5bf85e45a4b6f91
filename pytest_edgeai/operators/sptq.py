"""`sptq`: static post-training quantization to int8 of the exported graph, with calibration data.

Done by Intel Neural Compressor; by ONNX Runtime's own quantizer where that cannot, and then the provenance says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from pytest_edgeai.arrays import Array
from pytest_edgeai.operators import BuildError, Job, groups, neural_compressor
from pytest_edgeai.operators.neural_compressor import graphs
from pytest_edgeai.operators.reduced_range import QuantizingOperator, RangeParameters
from pytest_edgeai.serving.repository import GRAPH_NAME
from pytest_edgeai.subjects import SubjectModel

_Batches = Sequence[Mapping[str, Array]]
_QUANTIZATION_OPSET = 13  # from here on there are scales by channel


class SptqParameters(RangeParameters):
    """Parameters of `sptq`.

    Parameters
    ----------
    calibration_samples
        How many samples activations are observed on.
    batch
        Examples in a calibration batch; 1 where the graph takes no other.
    operator_types
        ONNX operators to quantize; None chooses by the graph: convolutions and all around them in a convolutional
        network, only matrix products and look-ups in a transformer, where quantizing the additions of the attention
        mask destroys accuracy.
    narrow_group, wide_group
        Grouped convolutions with fewer channels a group than the first are merged, with zeros between them, into groups
        of up to the second: int8 kernels are slow for narrow groups. 1 merges nothing.
    engine
        `auto` takes Neural Compressor, and ONNX Runtime where it fails or is not installed.
    """

    calibration_samples: int = Field(default=128, ge=1)
    batch: int = Field(default=16, ge=1)
    operator_types: tuple[str, ...] | None = None
    narrow_group: int = Field(default=16, ge=1)
    wide_group: int = Field(default=32, ge=1)
    engine: Literal["auto", "neural-compressor", "onnxruntime"] = "auto"


class StaticQuantization(QuantizingOperator[SptqParameters]):
    """Static post-training quantization."""

    name = "sptq"
    takes = "graph"
    gives = "int8 graph"
    promises_speed = True
    parameters_type = SptqParameters
    libraries: ClassVar[tuple[str, ...]] = neural_compressor.LIBRARIES

    @classmethod
    def sources(cls) -> tuple[Path, ...]:
        """Return this file and those that do parts of the work."""
        return (*super().sources(), neural_compressor.SOURCES, Path(groups.__file__))

    def requirements_for(self, subject: SubjectModel, *, first: bool) -> tuple[str, ...]:
        """Neural Compressor only where no other engine will do."""
        everything = self.libraries_for(subject, first=first)
        is_needed = self.parameters.engine == neural_compressor.LIBRARY
        return everything if is_needed else tuple(one for one in everything if one != neural_compressor.LIBRARY)

    def build(self, job: Job) -> Mapping[str, Any]:
        """Quantize the base's graph."""
        import onnx

        assert job.base is not None
        source, merged = self._merged(job.base.folder / GRAPH_NAME, job.scratch / "merged.onnx")
        job.stage("calibrating")
        batches = self._batches(job)
        operator_types = self.parameters.operator_types or _fitting_types(source)
        provenance: dict[str, Any] = {
            "operator_types": operator_types,
            "convolutions_with_merged_groups": merged,
            "calibration_samples": _count(batches),
            "reduce_range": self.reduces_range,
        }
        if self.parameters.engine != "onnxruntime":
            try:
                model = graphs.quantize_static(
                    source, batches, job.scratch, operator_types, reduce_range=self.reduces_range
                )
            except Exception as error:
                if self.parameters.engine == "neural-compressor":
                    raise
                provenance["fallback_because"] = f"{type(error).__name__}: {error}"
            else:
                onnx.save(model, job.folder / GRAPH_NAME)
                return {**provenance, "engine": neural_compressor.LIBRARY}
        target = job.folder / GRAPH_NAME
        _quantize_with_onnxruntime(
            source, target, batches, operator_types, job.scratch, reduce_range=self.reduces_range
        )
        return {**provenance, "engine": "onnxruntime"}

    def _merged(self, source: Path, target: Path) -> tuple[Path, int]:
        """The graph to quantize, and how many of its convolutions were changed for it."""
        import onnx

        model, is_raised = _raised(onnx.load(source))
        changed = groups.merge_narrow_groups(model, self.parameters.narrow_group, self.parameters.wide_group)
        if not changed and not is_raised:
            return source, 0
        onnx.save(model, target)
        return target, changed

    def _batches(self, job: Job) -> _Batches:
        wanted = min(self.parameters.calibration_samples, len(job.calibration))
        size = min(self.parameters.batch, wanted) if job.has_batch else 1
        count, names = wanted // size, job.graph_inputs
        return [
            {name: feeds[name] for name in names}
            for feeds in (job.feeds(job.calibration, range(at, at + size)) for at in range(0, count * size, size))
        ]


def _raised(model: Any) -> tuple[Any, bool]:
    """The graph in an operator set that has quantization by channel, and whether it was in an earlier one."""
    from onnx import version_converter

    versions = {one.domain: one.version for one in model.opset_import}
    if versions.get("", versions.get("ai.onnx", _QUANTIZATION_OPSET)) >= _QUANTIZATION_OPSET:
        return model, False
    try:
        return version_converter.convert_version(model, _QUANTIZATION_OPSET), True
    except Exception as error:  # noqa: BLE001  # the converter raises RuntimeError and its own
        reason = " ".join(str(error).split())[:200]
        raise BuildError(f"the graph cannot be converted to operator set {_QUANTIZATION_OPSET}: {reason}") from None


def _count(batches: _Batches) -> int:
    return sum(len(next(iter(batch.values()))) for batch in batches)


def _fitting_types(graph: Path) -> tuple[str, ...] | None:
    import onnx

    present = {node.op_type for node in onnx.load(graph, load_external_data=False).graph.node}
    return None if "Conv" in present else ("MatMul", "Gemm", "Gather")


def _quantize_with_onnxruntime(
    source: Path,
    target: Path,
    batches: _Batches,
    operator_types: tuple[str, ...] | None,
    scratch: Path,
    *,
    reduce_range: bool,
) -> None:
    try:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise BuildError(f"ONNX Runtime's quantizer cannot be imported: {error}") from None

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # has no types
        def __init__(self) -> None:
            self._batches: Iterator[Mapping[str, Array]] = iter(batches)

        def get_next(self) -> Mapping[str, Array] | None:
            return next(self._batches, None)

    prepared = scratch / "prepared.onnx"
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    _flatten_biases(prepared)
    quantize_static(
        str(prepared),
        str(target),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,  # signed activations are 2 to 3 times slower on x86
        weight_type=QuantType.QInt8,
        reduce_range=reduce_range,
        op_types_to_quantize=list(operator_types) if operator_types is not None else None,
    )


def _flatten_biases(path: Path) -> None:
    """Give the biases of matrix products one dimension: skl2onnx writes [1, n], and the quantizer fails on two."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    flat: dict[str, str] = {}
    for node in model.graph.node:
        bias = initializers.get(node.input[2]) if node.op_type == "Gemm" and len(node.input) > 2 else None
        if bias is None or len(bias.dims) != 2 or bias.dims[0] != 1:
            continue
        if bias.name not in flat:  # the graph may use it elsewhere, with two dimensions
            flat[bias.name] = f"{bias.name}_flat"
            values = numpy_helper.to_array(bias).reshape(-1)
            model.graph.initializer.append(numpy_helper.from_array(values, flat[bias.name]))
        node.input[2] = flat[bias.name]
    if flat:
        onnx.save(model, path)  # the quantizer drops what is not used any more
