"""What a server of the Open Inference Protocol v2 says of itself and of a model, and what that means for a pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

from pytest_edgeai.serving.pipeline import Pipeline

_OURS: Final = "pytest-edgeai"
_BINARY: Final = "binary_tensor_data"


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    """What `GET /v2` says.

    Parameters
    ----------
    is_known
        Whether it says anything: some gateways show no more than the models.
    is_ours
        Whether the server is one of this package.
    takes_binary
        Whether it announces the binary tensor extension.
    """

    is_known: bool = False
    is_ours: bool = False
    takes_binary: bool = False

    @classmethod
    def read(cls, document: Any) -> Self:
        """Read the document; what is not as the protocol has it says nothing."""
        if not isinstance(document, dict):
            return cls()
        extensions = document.get("extensions")
        announced = isinstance(extensions, list) and _BINARY in extensions
        is_ours = document.get("name") == _OURS
        return cls(True, is_ours, announced or is_ours)


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What `GET /v2/models/NAME` says.

    Parameters
    ----------
    inputs, outputs
        Names of tensors; None where it says nothing of them.
    """

    inputs: tuple[str, ...] | None = None
    outputs: tuple[str, ...] | None = None

    @classmethod
    def read(cls, document: Any) -> Self:
        """Read the document; what is not as the protocol has it says nothing."""
        if not isinstance(document, dict):
            return cls()
        return cls(_names(document.get("inputs")), _names(document.get("outputs")))

    def misfit_of_server(self, pipeline: Pipeline) -> str | None:
        """Why the model cannot be what runs a pipeline with its graph; None where nothing speaks against it."""
        before, after = pipeline.preprocess, pipeline.postprocess
        sent = [] if before is None else [spec.name for spec in before.inputs()]
        expected = [] if after is None else [spec.name for spec in after.outputs()]
        if self.inputs is not None and not set(sent) <= set(self.inputs):
            return f"takes {', '.join(self.inputs)} and not {', '.join(sent)}, which is sent to be pre-processed there"
        if self.outputs is not None and not set(expected) <= set(self.outputs):
            return f"gives {', '.join(self.outputs)} and not {', '.join(expected)}, which post-processing there makes"
        return None

    def misfit_of_graph(self, pipeline: Pipeline) -> str | None:
        """Why the model cannot be the graph that a pipeline is for; None where nothing speaks against it."""
        before, after = pipeline.preprocess, pipeline.postprocess
        if before is not None and self.inputs is not None and not set(self.inputs) <= set(before.produced()):
            made = ", ".join(before.produced())
            return f"takes {', '.join(self.inputs)}, where pre-processing at the client makes {made}"
        if after is not None and self.outputs is not None and after.input not in self.outputs:
            return f"gives {', '.join(self.outputs)}, where post-processing at the client takes {after.input}"
        return None


def _names(described: Any) -> tuple[str, ...] | None:
    """The names of tensors in metadata; None where there are none, as where a server was not told its model's."""
    if not isinstance(described, list) or not described:
        return None
    names = [one.get("name") if isinstance(one, dict) else None for one in described]
    known = tuple(name for name in names if isinstance(name, str))
    return known if len(known) == len(names) else None
