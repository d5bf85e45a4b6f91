"""Pre- and post-processing as data: what a tier does before and after the graph, read from `pipeline.json`.

A pipeline turns what a client sends (JPEG files, pairs of sentences) into the graph's input tensors and its logits
into ranked labels. It is a closed set of `steps` that need only numpy, pillow and tokenizers, so that a tier without
torch can execute what a subject model declares.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pytest_edgeai.serving.steps import (
    Classification,
    ImagePreprocess,
    NextPart,
    PipelineError,
    SampleError,
    Tensors,
    TensorSpec,
    TextPreprocess,
)

__all__ = [
    "FILE_NAME",
    "Classification",
    "ImagePreprocess",
    "NextPart",
    "Pipeline",
    "PipelineError",
    "Postprocess",
    "Preprocess",
    "SampleError",
    "TensorSpec",
    "Tensors",
    "TextPreprocess",
]

FILE_NAME = "pipeline.json"

Preprocess: TypeAlias = ImagePreprocess | TextPreprocess
Postprocess: TypeAlias = Classification
Onward: TypeAlias = NextPart
_KINDS: Mapping[str, Mapping[str, type[Any]]] = {
    "preprocess": {ImagePreprocess.kind: ImagePreprocess, TextPreprocess.kind: TextPreprocess},
    "postprocess": {Classification.kind: Classification},
    "onward": {NextPart.kind: NextPart},
}


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The steps around a graph; a part of a partitioned graph may lack either, and all but the last go onward.

    Parameters
    ----------
    preprocess
        From the tensors that a client sends to the inputs of the graph; None where a client sends these.
    postprocess
        From the outputs of the graph to those that a client gets; None where it gets the outputs themselves.
    onward
        Whether and how the outputs go to the next tier instead; None where they return to the client.
    """

    preprocess: Preprocess | None = None
    postprocess: Postprocess | None = None
    onward: Onward | None = None

    def as_json(self) -> dict[str, object]:
        """The content of `pipeline.json`."""
        steps = {"preprocess": self.preprocess, "postprocess": self.postprocess, "onward": self.onward}
        return {key: {"kind": step.kind, **asdict(step)} for key, step in steps.items() if step is not None}

    def write(self, folder: Path) -> None:
        """Write `pipeline.json` into a folder.

        Parameters
        ----------
        folder
            Where there is a graph.
        """
        (folder / FILE_NAME).write_text(json.dumps(self.as_json(), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Pipeline | None:
        """Read `pipeline.json` from a folder; None where there is none.

        Parameters
        ----------
        folder
            Where there is a graph.

        Raises
        ------
        PipelineError
            The file is not a pipeline.
        """
        path = folder / FILE_NAME
        if not path.exists():
            return None
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError) as error:
            raise PipelineError(f"{path} is not a pipeline: {error}") from None

    @classmethod
    def from_json(cls, document: object) -> Pipeline:
        """The opposite of `as_json`.

        Parameters
        ----------
        document
            What `json.loads` returned.

        Raises
        ------
        PipelineError
            A field is unknown, missing or has a value that it cannot have.
        """
        if not isinstance(document, dict):
            raise PipelineError("a pipeline is a JSON object")
        _refuse_unknown(document, _KINDS, "the pipeline")
        return cls(**{key: _step(described, _KINDS[key]) for key, described in document.items()})


def _step(described: object, kinds: Mapping[str, type[Any]]) -> Any:
    if described is None:
        return None
    if not isinstance(described, dict) or described.get("kind") not in tuple(kinds):
        raise PipelineError(f"a step is an object whose kind is {' or '.join(kinds)}")
    kind = kinds[described["kind"]]
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in described.items()}
    del fields["kind"]
    known = dataclasses.fields(kind)
    _refuse_unknown(fields, [one.name for one in known], f"the step {kind.kind}")
    missing = [one.name for one in known if one.default is dataclasses.MISSING and one.name not in fields]
    if missing:
        raise PipelineError(f"the step {kind.kind} lacks {', '.join(missing)}")
    return kind(**fields)


def _refuse_unknown(given: Collection[str], known: Collection[str], where: str) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise PipelineError(f"{where} has no field {name!r}: {hint}")
