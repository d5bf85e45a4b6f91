"""Examples from files: tensors (`.npz`), images that a table lists (`.csv`), lines of text (`.jsonl`)."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from zipfile import BadZipFile

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.serving.pipeline import Preprocess, TextPreprocess
from pytest_edgeai.subjects import Example, Split, SubjectError

REFERENCE: Final = "reference"
_CALIBRATION_STEP: Final = 4

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FileExamples:
    """Returns the examples of a split from a file.

    Parameters
    ----------
    path
        Of `.npz`, `.csv` or `.jsonl`.
    calibration
        Another file for calibration, or None.
    preprocess
        The pipeline's first step, which names the tensor that images or texts are sent as.
    """

    path: Path
    calibration: Path | None
    preprocess: Preprocess | None

    @property
    def key(self) -> str:
        """What decides the examples beside the files."""
        return "" if self.preprocess is None else repr(self.preprocess.inputs())

    def __call__(self, split: Split) -> Sequence[Example]:
        """The examples of a split; there are none to train on.

        Raises
        ------
        SubjectError
            The file cannot be read; names the place.
        """
        if self.calibration is not None and split != "train":
            return self._read(self.calibration if split == "calibration" else self.path)
        return divided([] if split == "train" else self._read(self.path), split, str(self.path))

    def _read(self, path: Path) -> list[Example]:
        try:
            return list(_READERS[path.suffix](path, self.preprocess))
        except SubjectError:
            raise
        except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
            raise SubjectError(f"{path} cannot be read: {type(error).__name__}: {error}") from None


def array_names(path: Path) -> tuple[str, ...]:
    """The names of the arrays in an `.npz` file but for the references, of which none is read.

    Raises
    ------
    SubjectError
        The file cannot be read.
    """
    try:
        with np.load(path) as file:
            return tuple(name for name in file.files if name != REFERENCE)
    except (OSError, ValueError, TypeError, AttributeError, BadZipFile) as error:  # one array is no file of several
        raise SubjectError(f"{path} cannot be read as an .npz file: {error}") from None


def divided(every: Sequence[T], split: Split, what: str) -> list[T]:
    """The examples of a split where all are in one place: every fourth one calibrates, and the others are validated on.

    Parameters
    ----------
    every
        All examples.
    split
        Which of them.
    what
        What they are, for errors.

    Raises
    ------
    SubjectError
        They are to be trained on, or too few.
    """
    if split == "train":
        raise SubjectError(f"{what} is not divided into examples to train on and others")
    if len(every) < 2 * _CALIBRATION_STEP:
        raise SubjectError(
            f"{what} has {len(every)} examples, and {2 * _CALIBRATION_STEP} are needed to calibrate on some "
            "and to validate on the others"
        )
    return [one for number, one in enumerate(every) if (number % _CALIBRATION_STEP == 0) == (split == "calibration")]


def _arrays(path: Path, preprocess: Preprocess | None) -> Iterator[Example]:  # noqa: ARG001  # the same call for all
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    references = arrays.pop(REFERENCE, None)
    lengths = {name: len(array) for name, array in arrays.items() if array.ndim}
    if len(lengths) < max(1, len(arrays)) or len({*lengths.values()}) > 1:
        raise SubjectError(f"{path} has arrays of different lengths: {lengths}")
    count = next(iter(lengths.values()))
    if references is not None and len(references) != count:
        raise SubjectError(f"{path} has {count} examples and {len(references)} references")
    for number in range(count):
        reference = None if references is None else references[number].tolist()
        yield Example({name: array[number : number + 1] for name, array in arrays.items()}, reference)


def _images(path: Path, preprocess: Preprocess | None) -> Iterator[Example]:
    if preprocess is None:
        raise SubjectError(f"{path} lists images, and the subject model has no preprocess that decodes them")
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if "file" not in (rows.fieldnames or ()):
            raise SubjectError(f"{path} has no column 'file'")
        for number, row in enumerate(rows, 2):
            image = path.parent / row["file"]
            if not image.is_file():
                raise SubjectError(f"{path}, line {number}: there is no file {image}")
            payload = np.array([image.read_bytes()], dtype=object)
            yield Example({preprocess.input: payload}, _number(row.get(REFERENCE)))


def _lines(path: Path, preprocess: Preprocess | None) -> Iterator[Example]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row: Mapping[str, Any] = json.loads(line)
            yield Example(_inputs(row, preprocess), row.get(REFERENCE))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SubjectError(f"{path}, line {number}: {type(error).__name__}: {error}") from None


def _inputs(row: Mapping[str, Any], preprocess: Preprocess | None) -> dict[str, Array]:
    if "inputs" in row:
        return {name: _floats_of_32_bits(np.array([value])) for name, value in row["inputs"].items()}
    if not isinstance(preprocess, TextPreprocess):
        raise ValueError("there is text, and the subject model has no preprocess that tokenizes it")
    texts = [row["text"]] if isinstance(row["text"], str) else list(row["text"])
    if len(texts) != preprocess.sentences:
        raise ValueError(f"there are {len(texts)} sentences, and the preprocess takes {preprocess.sentences}")
    payload = np.empty((1, len(texts)), dtype=object)
    payload[0] = [text.encode() for text in texts]
    return {preprocess.input: payload}


def _floats_of_32_bits(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _number(text: str | None) -> int | float | str | None:
    """A cell of a CSV file as the number that it is, or as text."""
    if text is None or text == "":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


_READERS: Final[Mapping[str, Callable[[Path, Preprocess | None], Iterator[Example]]]] = {
    ".npz": _arrays,
    ".csv": _images,
    ".jsonl": _lines,
}

SUFFIXES: Final = tuple(_READERS)
"""The kinds of files that there are."""
