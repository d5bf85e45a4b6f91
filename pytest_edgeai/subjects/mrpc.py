"""GLUE's Microsoft Research Paraphrase Corpus by path: `train.tsv` and `dev.tsv`, pairs of sentences in two classes."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from pytest_edgeai.subjects import Example, ExampleSource, Split, SubjectError

FILES: Final = ("train.tsv", "dev.tsv")
CALIBRATION: Final = 256
_COLUMNS: Final = ("Quality", "#1 String", "#2 String")
_SEED: Final = 0


@dataclass(frozen=True, slots=True)
class Pairs:
    """Returns the samples of a split.

    Parameters
    ----------
    folder
        Where the files are.
    """

    folder: Path

    def __call__(self, split: Split) -> Sequence[Example]:
        """Validation samples are those of `dev.tsv`; calibration samples are held out from `train.tsv`.

        Raises
        ------
        SubjectError
            A file is not GLUE's.
        """
        if split == "validation":
            return _read(self.folder / "dev.tsv")
        samples = _read(self.folder / "train.tsv")
        held_out = set(random.Random(_SEED).sample(range(len(samples)), min(CALIBRATION, len(samples) // 4)))
        return [sample for number, sample in enumerate(samples) if (number in held_out) == (split == "calibration")]


def source(folder: Path) -> ExampleSource:
    """The pairs as a subject model's samples."""
    return ExampleSource("MRPC", Pairs(folder), (Path(__file__), *(folder / name for name in FILES)))


def pair(first: str, second: str, label: int) -> Example:
    """A sample of one input, `text`: an object array of shape [1, 2] that holds two UTF-8 sentences."""
    payload = np.empty((1, 2), dtype=object)
    payload[0] = [first.encode(), second.encode()]
    return Example({"text": payload}, label)


def _read(path: Path) -> list[Example]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # GLUE's files begin with a byte order mark
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        return [pair(row["#1 String"], row["#2 String"], int(row["Quality"])) for row in rows]
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise SubjectError(f"{path} is not GLUE's MRPC (columns {', '.join(_COLUMNS)}): {error}") from None
