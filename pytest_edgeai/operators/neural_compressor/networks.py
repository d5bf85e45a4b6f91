"""Compression of torch networks by Neural Compressor while they are trained: the loop is its caller's."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pytest_edgeai.arrays import Array
from pytest_edgeai.operators.export import OUTPUT, tidy
from pytest_edgeai.operators.neural_compressor import imported
from pytest_edgeai.operators.training import Batch, Interventions

if TYPE_CHECKING:
    import torch

    Train: TypeAlias = Callable[[torch.nn.Module, Interventions], int]

# Module types that must stay float in a transformer: quantized embeddings cannot be exported (its export fails with
# "unpack_quantized_weights: incompatible arguments"), and between the matrix products there is nothing to be gained.
FLOAT_IN_TRANSFORMERS = ("Embedding", "LayerNorm", "Dropout", "input_tensor")


def train_quantized(
    network: torch.nn.Module,
    train: Train,
    example: Mapping[str, Array],
    path: Path,
    workspace: Path,
    *,
    opset: int,
    keep_float: Sequence[str],
    reduce_range: bool,
) -> int:
    """Quantization-aware training, exported as an int8 graph of QuantizeLinear/DequantizeLinear pairs.

    Parameters
    ----------
    network
        What to start from; is used up.
    train
        Trains the network that it is given, in place, with the interventions that it is given.
    example
        A batch for each graph input, in the order of the network's arguments.
    path
        The graph's file.
    workspace
        See `imported`.
    opset
        Version of the ONNX operator set.
    keep_float
        Types of modules that are not quantized.
    reduce_range
        Whether activations take 7 bits.

    Returns
    -------
    int
        What `train` returned.
    """
    import torch

    tensors = tuple(torch.from_numpy(array) for array in example.values())
    # It tells one tensor from several by a name for each, which then are the forward's arguments.
    arguments = tensors[0] if len(tensors) == 1 else dict(zip(_arguments(network), tensors, strict=False))
    names = list(example)
    with _training(workspace) as package, _range(reduce_range):
        fp32 = {"weight": {"dtype": ["fp32"]}, "activation": {"dtype": ["fp32"]}}
        settings = package.QuantizationAwareTrainingConfig(op_type_dict=dict.fromkeys(keep_float, fp32) or None)
        manager = _prepare(network, settings)
        manager.callbacks.on_train_begin()
        seen = train(manager.model.model, _Callbacks(manager.callbacks))
        manager.callbacks.on_train_end()
        configuration = importlib.import_module("neural_compressor.config")
        with _legacy_exporter():
            manager.export(
                str(path),
                configuration.Torch2ONNXConfig(
                    dtype="int8",
                    opset_version=opset,
                    quant_format="QDQ",
                    example_inputs=arguments,
                    input_names=names,
                    output_names=[OUTPUT],
                    dynamic_axes={name: {0: "batch"} for name in (*names, OUTPUT)},
                ),
            )
    tidy(path)  # the old exporter writes weights as nodes of the graph
    return seen


def prune(
    network: torch.nn.Module,
    train: Train,
    workspace: Path,
    *,
    pattern: str,
    sparsity: float,
    first_step: int,
    last_step: int,
    frequency: int,
    excluded: Sequence[str],
    model: torch.nn.Module | None = None,
    matched: Sequence[str] = (),
    loss_weight: float = 1.0,
) -> int:
    """Prune weights in blocks while training, by SNIP with momentum; what is pruned is zero afterwards.

    Parameters
    ----------
    network
        Is pruned in place.
    train, workspace
        As in `train_quantized`.
    pattern
        Blocks of output channels by input channels, for example `2x1`.
    sparsity
        Share of the weights of all convolutions and matrix products, without the last one.
    first_step, last_step, frequency
        When masks are drawn, from the first to the last step of training.
    excluded
        Regular expressions of the names of modules that are left alone.
    model
        The network as it was before; needed where something is matched with it.
    matched
        Names of modules whose outputs are to stay as the model's: their mean squared errors are added to the loss.
    loss_weight
        Of the subject model's loss beside those.

    Returns
    -------
    int
        What `train` returned.
    """
    with _training(workspace) as package:
        settings: list[Any] = []
        if matched:
            configuration = importlib.import_module("neural_compressor.config")
            criterion = configuration.IntermediateLayersKnowledgeDistillationLossConfig(
                layer_mappings=[[name] for name in matched],
                loss_types=["MSE"] * len(matched),
                loss_weights=[1.0] * len(matched),
                add_origin_loss=True,
            )
            settings.append(configuration.DistillationConfig(teacher_model=model, criterion=criterion))
        pruning = package.WeightPruningConfig(
            [{"excluded_op_names": list(excluded)}],
            target_sparsity=sparsity,
            pattern=pattern,
            pruning_type="snip_momentum",
            pruning_scope="global",
            start_step=first_step,
            end_step=last_step,
            pruning_frequency=frequency,
        )
        manager = _prepare(network, [pruning, *settings])
        manager.callbacks.on_train_begin()
        seen = train(network, _Callbacks(manager.callbacks, changes_loss=bool(matched), weight=loss_weight))
        manager.callbacks.on_train_end()
        if matched:
            criterion.criterion.remove_all_hooks()
    return seen


def distil(
    student: torch.nn.Module,
    teacher: Callable[[Batch], torch.Tensor],
    train: Train,
    workspace: Path,
    *,
    temperature: float,
    teacher_loss: Literal["CE", "KL", "MSE"],
    teacher_weight: float,
) -> int:
    """Train a student to answer as its teacher does.

    Parameters
    ----------
    student
        Is trained in place.
    teacher
        The teacher's logits for a batch.
    train, workspace
        As in `train_quantized`.
    temperature
        By which both logits are divided.
    teacher_loss
        Between student and teacher; that between student and labels is the subject model's.
    teacher_weight
        Of the loss between student and teacher; that of the other is what is left to 1.

    Returns
    -------
    int
        What `train` returned.
    """
    with _training(workspace):
        configuration = importlib.import_module("neural_compressor.config")
        # It would take cross-entropy between student and labels where we did not hand it the loss.
        criterion = configuration.KnowledgeDistillationLossConfig(
            temperature, ["CE", teacher_loss], [1 - teacher_weight, teacher_weight]
        )
        # It asks for a teacher, and never runs it where it is given what the teacher says.
        manager = _prepare(student, configuration.DistillationConfig(teacher_model=student, criterion=criterion))
        manager.callbacks.on_train_begin()
        seen = train(student, _Callbacks(manager.callbacks, teacher, changes_loss=True))
        manager.callbacks.on_train_end()
    return seen


class _Callbacks(Interventions):
    """Its callbacks as our interventions."""

    def __init__(
        self,
        callbacks: Any,
        teacher: Callable[[Batch], torch.Tensor] | None = None,
        *,
        changes_loss: bool = False,
        weight: float = 1.0,
    ) -> None:
        self._callbacks = callbacks
        self._teacher = teacher
        self._changes_loss = changes_loss
        self._weight = weight

    def before_step(self, step: int) -> None:
        self._callbacks.on_step_begin(step)

    def loss(self, batch: Batch, logits: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
        if not self._changes_loss:
            return loss
        says = None if self._teacher is None else self._teacher(batch)  # None: it runs the teacher itself
        changed: torch.Tensor = self._callbacks.on_after_compute_loss(batch.inputs, logits, self._weight * loss, says)
        return changed

    def before_update(self) -> None:
        self._callbacks.on_before_optimizer_step()

    def after_update(self) -> None:
        self._callbacks.on_after_optimizer_step()
        self._callbacks.on_step_end()


@contextlib.contextmanager
def _training(workspace: Path) -> Iterator[types.ModuleType]:
    """The package for work on torch networks."""
    import torch

    with imported(workspace) as package, torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates what it uses, and there is no other way to it
        yield package


@contextlib.contextmanager
def _range(reduced: bool) -> Iterator[None]:
    """Let activations take 7 bits or 8.

    It has a parameter for that, which it does not look at for torch networks: it takes 7 bits where the processor of
    this host has no AVX-512 VNNI, as a constant of the module and again for each operator.
    """
    adaptor = importlib.import_module("neural_compressor.adaptor.pytorch")
    processor = importlib.import_module("neural_compressor.utils.utility").CpuInfo()
    places = ((adaptor, "REDUCE_RANGE", reduced), (processor, "_vnni", not reduced))
    before = [getattr(place, name) for place, name, _ in places]
    for place, name, value in places:
        setattr(place, name, value)
    try:
        yield
    finally:
        for (place, name, _), value in zip(places, before, strict=True):
            setattr(place, name, value)


def _prepare(network: torch.nn.Module, settings: Any) -> Any:
    return importlib.import_module("neural_compressor.training").prepare_compression(network, settings)


def _arguments(network: torch.nn.Module) -> list[str]:
    return list(inspect.signature(network.forward).parameters)


@contextlib.contextmanager
def _legacy_exporter() -> Iterator[None]:
    """Let `torch.onnx.export` mean the TorchScript exporter, as it did until torch 2.9.

    It exports modules of `torch.ao.nn.quantized`, which the exporter that has become the default cannot trace.
    """
    import torch

    original = torch.onnx.export
    torch.onnx.export = functools.partial(original, dynamo=False)
    try:
        yield
    finally:
        torch.onnx.export = original
