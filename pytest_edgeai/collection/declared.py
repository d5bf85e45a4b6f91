"""Subject models that settings declare: an ONNX file with examples from a file, and no Python."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_edgeai.errors import SettingsError
from pytest_edgeai.serving.pipeline import Pipeline, PipelineError
from pytest_edgeai.subjects import ExampleSource, SubjectError, SubjectModel, files
from pytest_edgeai.subjects.files import REFERENCE, SUFFIXES, FileExamples, array_names
from pytest_edgeai.subjects.graphs import GraphError, inputs_of

if TYPE_CHECKING:
    from pytest_edgeai.settings_tables import DeclaredSubject


def subject_of(name: str, declared: DeclaredSubject, where: str) -> SubjectModel:
    """The subject model of a table `subjects.NAME`.

    Parameters
    ----------
    name
        Its name.
    declared
        The table; its paths are absolute.
    where
        Where it stands, for the message.

    Raises
    ------
    SettingsError
        A file is missing or of no known kind, or the pipeline is wrong.
    """
    steps = {"preprocess": declared.preprocess, "postprocess": declared.postprocess}
    try:
        pipeline = Pipeline.from_json({key: dict(step) for key, step in steps.items() if step is not None})
    except PipelineError as error:
        raise SettingsError(f"{where}: {error}") from None
    paths = {"graph": declared.graph, "examples": declared.examples, "calibration": declared.calibration}
    for key, path in paths.items():
        if path is not None and not path.is_file():
            raise SettingsError(f"{where}.{key}: there is no file {path}")
    for path in declared.assets:
        if not path.is_file():
            raise SettingsError(f"{where}.assets: there is no file {path}")
    for key in ("examples", "calibration"):
        path = paths[key]
        if path is not None and path.suffix not in SUFFIXES:
            raise SettingsError(f"{where}.{key}: {path.name} is none of {', '.join(SUFFIXES)}")
    read = tuple(path for path in (declared.examples, declared.calibration) if path is not None)
    if pipeline.preprocess is None:
        _check_arrays(declared, where)
    source = FileExamples(declared.examples, declared.calibration, pipeline.preprocess)
    try:
        return SubjectModel(
            name=name,
            task=declared.task or f"the outputs of {declared.graph.name}",
            graph=declared.graph,
            examples=ExampleSource(declared.examples.name, source, (Path(files.__file__), *read), key=source.key),
            pipeline=pipeline,
            metrics=declared.metrics,
            assets=declared.assets,
        )
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from None


def _check_arrays(declared: DeclaredSubject, where: str) -> None:
    """Refuse tensors that are not named after the graph's inputs, where these can be read."""
    try:
        inputs = set(inputs_of(declared.graph).shapes)
    except GraphError:  # building says so
        return
    for key, path in (("examples", declared.examples), ("calibration", declared.calibration)):
        if path is None or path.suffix != ".npz":
            continue
        try:
            arrays = set(array_names(path))
        except SubjectError as error:
            raise SettingsError(f"{where}.{key}: {error}") from None
        if inputs != arrays:
            raise SettingsError(
                f"{where}.{key}: {path.name} has the arrays {', '.join(sorted(arrays)) or 'none'}, and the inputs of "
                f"{declared.graph.name} are {', '.join(sorted(inputs))}: name each array after the input that it is "
                f"for, and the right answers {REFERENCE!r}"
            )
