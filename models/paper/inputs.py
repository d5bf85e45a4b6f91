"""Which samples a full-size subject model gets: the data set at the path that the settings name, or generated ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fixtures import generated
from pytest_edgeai.settings_tables import Data
from pytest_edgeai.subjects import ExampleSource, SubjectError, ilsvrc, mrpc
from pytest_edgeai.subjects.weights import Weights

_GENERATED = Path("generated")
_LATENCY_ONLY = 100
"""Samples where accuracy is not measured: as many as the study sends."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Samples, and what is to be said about them.

    Parameters
    ----------
    source
        Where they come from.
    unmeasured
        Why accuracy is not measured, or empty.
    missing
        Why there are none, in a sentence, or empty.
    """

    source: ExampleSource
    unmeasured: str = ""
    missing: str = ""


def photographs(data: Data, root: Path, weights: Weights) -> Inputs:
    """ILSVRC 2012, or generated photographs.

    Parameters
    ----------
    data
        The settings.
    root
        Where relative paths start.
    weights
        With random ones no data is needed, and of a data set only the largest samples are.
    """
    if _is_generated(data.ilsvrc, weights):
        return _generated(generated.PHOTOGRAPHS, weights)
    if data.ilsvrc is None:
        return Inputs(generated.PHOTOGRAPHS, missing=_unset("ilsvrc", "the ILSVRC 2012 validation images", weights))
    folder = root / data.ilsvrc
    training = None if data.ilsvrc_train is None else root / data.ilsvrc_train
    for name, path in (("ilsvrc", folder), ("ilsvrc_train", training)):
        if path is not None and not path.is_dir():
            return Inputs(generated.PHOTOGRAPHS, missing=f"data.{name}: there is no folder {path}")
    only = weights.origin == "random"
    photos = ilsvrc.Photos(folder, training, _LATENCY_ONLY if only else data.images, largest=only)
    try:
        ilsvrc.labelled(folder)
    except SubjectError as error:
        return Inputs(generated.PHOTOGRAPHS, missing=f"data.ilsvrc: {error}")
    return Inputs(ilsvrc.source(photos), weights.unmeasured)


def sentence_pairs(data: Data, root: Path, weights: Weights) -> Inputs:
    """MRPC, or generated sentence pairs; parameters as for `photographs`."""
    if _is_generated(data.mrpc, weights):
        return _generated(generated.SENTENCE_PAIRS, weights)
    if data.mrpc is None:
        return Inputs(generated.SENTENCE_PAIRS, missing=_unset("mrpc", "train.tsv and dev.tsv of GLUE's MRPC", weights))
    folder = root / data.mrpc
    absent = [name for name in mrpc.FILES if not (folder / name).is_file()]
    if absent:
        return Inputs(generated.SENTENCE_PAIRS, missing=f"data.mrpc: {folder} has no {' and no '.join(absent)}")
    return Inputs(mrpc.source(folder), weights.unmeasured)


def _is_generated(path: Path | None, weights: Weights) -> bool:
    return path == _GENERATED or (path is None and weights.origin == "random")


def _generated(source: ExampleSource, weights: Weights) -> Inputs:
    return Inputs(source, ", ".join(filter(None, (weights.unmeasured, "generated samples"))))


def _unset(name: str, what: str, weights: Weights) -> str:
    return (
        f"data.{name} is not set: name the folder of {what} in edgeai.toml; to measure latency only, set it to "
        f"'generated', or use --edgeai-weights random ({weights.model} needs it)"
    )
