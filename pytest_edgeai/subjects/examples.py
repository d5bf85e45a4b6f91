"""Examples on the store's shelf: generated once, then read without the libraries that generate them."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.store import Entry, Recipe, Store, library_versions, source_digest
from pytest_edgeai.subjects import Example, ExampleSource, Split
from pytest_edgeai.subjects.predictions import References, integers
from pytest_edgeai.wire import protocol

_BODIES, _INDEX, _REFERENCES = "requests.bin", "index.npz", "references.json"


class Examples(Sequence[Example]):
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
            self._ends: Array = index["ends"]
            self._json_lengths: Array = index["json_lengths"]
            labels = index.get("labels")
        self.references: References = labels if labels is not None else _read_references(entry.folder / _REFERENCES)
        """What is right for each example: an array [n] of whole numbers, or a list."""

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, number: int) -> Example: ...
    @overload
    def __getitem__(self, number: slice) -> list[Example]: ...
    def __getitem__(self, number: int | slice) -> Example | list[Example]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        if number < 0:
            number += len(self)
        if not 0 <= number < len(self):
            raise IndexError(number)
        begin = int(self._ends[number - 1]) if number else 0
        body = self._bodies[begin : int(self._ends[number])]
        request = protocol.decode_request(body, int(self._json_lengths[number]))
        reference = self.references[number]
        return Example(request.inputs, int(reference) if isinstance(self.references, np.ndarray) else reference)

    def __iter__(self) -> Iterator[Example]:
        return (self[number] for number in range(len(self)))

    @property
    def labels(self) -> Array:
        """References as indices of classes, shape [n].

        Raises
        ------
        ValueError
            They are something else.
        """
        found = integers(self.references)
        if found is None:
            raise ValueError("the references of these examples are not indices of classes")
        return found

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


def recipe(source: ExampleSource, split: Split) -> Recipe:
    """What decides a split's content."""
    return Recipe(
        "samples",
        {
            "source": source.name,
            "split": split,
            "sources": [[path.name, source_digest(path)] for path in source.sources],  # two files may have one name
            "libraries": library_versions(source.libraries),
            **({"key": source.key} if source.key else {}),
        },
    )


def stored(store: Store, source: ExampleSource, split: Split) -> Examples:
    """A split, generated now if the store does not have it.

    Raises
    ------
    ValueError
        The source returns no examples, examples that the protocol cannot carry, or references that JSON cannot hold.
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
        index = {"ends": np.array(ends), "json_lengths": np.array(json_lengths)}
        references = [sample.reference for sample in samples]
        labels = integers(references)
        if labels is not None:
            index["labels"] = labels
        else:
            _write_references(folder / _REFERENCES, references, source.name)
        np.savez(folder / _INDEX, **index)
        return {"samples": len(samples)}

    return Examples(store.find_or_build(recipe(source, split), build))


def _write_references(path: Path, references: Sequence[Any], source: str) -> None:
    try:
        path.write_text(json.dumps([_plain(one) for one in references], allow_nan=False), encoding="utf-8")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{source}: a reference cannot be kept as JSON ({error})") from None


def _plain(reference: Any) -> Any:
    """A reference as JSON has it: arrays become nested lists."""
    if isinstance(reference, np.ndarray | np.generic):
        return reference.tolist()
    if isinstance(reference, Mapping):
        return {str(key): _plain(value) for key, value in reference.items()}
    if isinstance(reference, list | tuple):
        return [_plain(one) for one in reference]
    return reference


def _read_references(path: Path) -> list[Any]:
    found: list[Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
