"""Samples on the store's shelf: generated once, then read without the libraries that generate them."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.store import Entry, Recipe, Store, library_versions, source_digest
from pytest_edgeai.subjects import Sample, SampleSource, Split
from pytest_edgeai.wire import protocol

_BODIES, _INDEX = "requests.bin", "index.npz"


class Samples(Sequence[Sample]):
    """A split read from the store, decoded one by one when asked for.

    Parameters
    ----------
    entry
        What `stored` returned.
    """

    def __init__(self, entry: Entry) -> None:
        self.content = entry.content
        with (entry.folder / _BODIES).open("rb") as file:  # mapped: a data set may be larger than the memory
            self._bodies = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        with np.load(entry.folder / _INDEX) as index:
            self.labels: Array = index["labels"]
            self._ends: Array = index["ends"]
            self._json_lengths: Array = index["json_lengths"]

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, number: int) -> Sample: ...
    @overload
    def __getitem__(self, number: slice) -> list[Sample]: ...
    def __getitem__(self, number: int | slice) -> Sample | list[Sample]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        if number < 0:
            number += len(self)
        if not 0 <= number < len(self):
            raise IndexError(number)
        begin = int(self._ends[number - 1]) if number else 0
        body = self._bodies[begin : int(self._ends[number])]
        request = protocol.decode_request(body, int(self._json_lengths[number]))
        return Sample(request.inputs, int(self.labels[number]))

    def __iter__(self) -> Iterator[Sample]:
        return (self[number] for number in range(len(self)))

    @property
    def sizes_bytes(self) -> Array:
        """Size of each sample as a request, shape [n]."""
        return np.diff(self._ends, prepend=0)

    def largest(self, count: int) -> list[int]:
        """Numbers of the `count` largest samples, largest first; the study measures latency with those."""
        return [int(number) for number in np.argsort(-self.sizes_bytes, kind="stable")[:count]]

    def batch(self, numbers: Sequence[int]) -> dict[str, Array]:
        """The inputs of several samples as one batch."""
        chosen = [self[number].inputs for number in numbers]
        return {name: np.concatenate([inputs[name] for inputs in chosen]) for name in chosen[0]}


def recipe(source: SampleSource, split: Split) -> Recipe:
    """What decides a split's content."""
    return Recipe(
        "samples",
        {
            "source": source.name,
            "split": split,
            "sources": {path.name: source_digest(path) for path in source.sources},
            "libraries": library_versions(source.libraries),
            **({"key": source.key} if source.key else {}),
        },
    )


def stored(store: Store, source: SampleSource, split: Split) -> Samples:
    """A split, generated now if the store does not have it.

    Raises
    ------
    ValueError
        The source returns no samples, or samples that the protocol cannot carry.
    """

    def build(folder: Path) -> Mapping[str, Any]:
        samples = source.generate(split)
        if not samples:
            raise ValueError(f"{source.name} has no {split} samples")
        ends, json_lengths = [], []
        size = 0
        with (folder / _BODIES).open("wb") as file:
            for sample in samples:
                body = protocol.encode_request(protocol.InferRequest(sample.inputs))
                size += file.write(body.join())
                ends.append(size)
                json_lengths.append(body.json_length or body.length)
        labels = np.array([sample.label for sample in samples], dtype=np.int64)
        np.savez(folder / _INDEX, labels=labels, ends=np.array(ends), json_lengths=np.array(json_lengths))
        return {"samples": len(samples)}

    return Samples(store.find_or_build(recipe(source, split), build))
