"""ILSVRC 2012 by path: photographs in 1,000 classes, read from the folder where they are when they are needed.

Two layouts are understood: a folder for each class, named by its WordNet id; or all files in one folder beside
`labels.csv` (with the header `file,class_index`) or `val.txt` (`file index`). Classes are numbered as torchvision's
weights number them: by the order of the WordNet ids.
"""

from __future__ import annotations

import csv
import hashlib
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, overload

import numpy as np

from pytest_edgeai.subjects import Example, ExampleSource, Split, SubjectError

CLASSES: Final = 1000
CALIBRATION: Final = 256
TRAINING: Final = 20_000
_SUFFIXES: Final = (".jpeg", ".jpg")
_SEED: Final = 0


@dataclass(frozen=True, slots=True)
class Photos:
    """Returns the samples of a split.

    Parameters
    ----------
    folder
        Of the validation images.
    training
        Of the training images, or None.
    images
        How many images to validate on, or None for all.
    largest
        Whether those are the largest files, for latency alone, in place of a random choice.
    """

    folder: Path
    training: Path | None = None
    images: int | None = None
    largest: bool = False

    def __call__(self, split: Split) -> Sequence[Example]:
        """Calibration samples are held out from the validation images; training samples are drawn, at most 20,000.

        Raises
        ------
        SubjectError
            There is no folder of training images, or one has no labels.
        """
        if split == "train":
            if self.training is None:
                raise SubjectError(
                    "data.ilsvrc_train is not set: operators that train need the folder of ILSVRC 2012 training images"
                )
            return _Files(_drawn(labelled(self.training), TRAINING))
        files = labelled(self.folder)
        held_out = _drawn(files, min(CALIBRATION, len(files) // 4))
        if split == "calibration":
            return _Files(held_out)
        kept = sorted(set(files) - set(held_out))
        if self.images is not None and self.largest:
            kept = sorted(kept, key=lambda one: (-one[0].stat().st_size, one))[: self.images]
        elif self.images is not None:
            kept = _drawn(kept, self.images)
        return _Files(kept)


class _Files(Sequence[Example]):
    """Samples that are read when they are asked for."""

    def __init__(self, files: Sequence[tuple[Path, int]]) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    @overload
    def __getitem__(self, number: int) -> Example: ...
    @overload
    def __getitem__(self, number: slice) -> list[Example]: ...
    def __getitem__(self, number: int | slice) -> Example | list[Example]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        path, label = self._files[number]
        return Example({"image": np.array([path.read_bytes()], dtype=object)}, label)


def labelled(folder: Path) -> list[tuple[Path, int]]:
    """The images of a folder with their classes, in the order of their names.

    Raises
    ------
    SubjectError
        The layout is neither of those understood.
    """
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    if classes:
        if len(classes) != CLASSES:
            raise SubjectError(f"{folder} has {len(classes)} class folders; ILSVRC 2012 has {CLASSES}")
        return [(path, number) for number, one in enumerate(classes) for path in _images(one)]
    labels = _labels(folder)
    files = _images(folder)
    unknown = [path.name for path in files if path.name not in labels]
    if unknown or not files:
        raise SubjectError(f"{folder} has no {'label for ' + unknown[0] if unknown else 'JPEG images'}")
    return [(path, labels[path.name]) for path in files]


def source(photos: Photos) -> ExampleSource:
    """The photographs as a subject model's samples.

    They count as changed where the name or size of a validation image changes, or the name of a training image.
    """
    digest = hashlib.sha256(repr((photos.images, photos.largest)).encode())
    for path, size_bytes in _sizes(photos.folder):
        digest.update(f"{path[-1]} {size_bytes}\n".encode())
    if photos.training is not None:
        for folder, _, names in sorted(os.walk(photos.training)):
            digest.update(f"{Path(folder).name} {sorted(names)}\n".encode())
    return ExampleSource("ILSVRC 2012", photos, (Path(__file__),), key=digest.hexdigest())


def _sizes(folder: Path) -> list[tuple[tuple[str, ...], int]]:
    """The files below a folder, as the names on the way there, in their order, and how long they are.

    There are 50,000, and each collection of tests asks: pathlib takes several times as long.
    """
    found = []
    waiting: list[tuple[tuple[str, ...], str]] = [((), str(folder))]
    while waiting:
        names, path = waiting.pop()
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_file():
                    found.append(((*names, entry.name), entry.stat().st_size))
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(((*names, entry.name), entry.path))
    return sorted(found)


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)


def _labels(folder: Path) -> dict[str, int]:
    table, lines = folder / "labels.csv", folder / "val.txt"
    try:
        if table.is_file():
            with table.open(encoding="utf-8", newline="") as file:
                labels = {row["file"]: int(row["class_index"]) for row in csv.DictReader(file)}
        elif lines.is_file():
            pairs = [line.split() for line in lines.read_text(encoding="utf-8").splitlines() if line.strip()]
            labels = {name: int(number) for name, number in pairs}
        else:
            raise SubjectError(
                f"{folder} has no class folders, no labels.csv (file,class_index) and no val.txt (file index)"
            )
    except (ValueError, KeyError, TypeError) as error:
        raise SubjectError(f"the labels in {folder} cannot be read: {error}") from None
    if not all(0 <= number < CLASSES for number in labels.values()):
        raise SubjectError(f"the labels in {folder} are not class indices from 0 to {CLASSES - 1}")
    return labels


def _drawn(files: Sequence[tuple[Path, int]], count: int) -> list[tuple[Path, int]]:
    """Some of the files, the same ones every time, in the order of their names."""
    return sorted(random.Random(_SEED).sample(files, min(count, len(files))))
