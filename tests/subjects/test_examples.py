"""Samples come back from the store as they were generated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pytest_edgeai.arrays import Array
from pytest_edgeai.serving.pipeline import Classification, Pipeline
from pytest_edgeai.store import Store
from pytest_edgeai.subjects import Example, ExampleSource, Split, SubjectModel
from pytest_edgeai.subjects.examples import Examples, recipe, stored

calls: list[str] = []


def _objects(*elements: bytes) -> Array:
    array = np.empty(len(elements), object)
    array[:] = elements
    return array


def _generate(split: Split) -> Sequence[Example]:
    calls.append(split)
    if split == "train":
        return []
    return [
        Example(
            {"text": _objects(b"a" * size, "ä".encode()).reshape(1, 2), "x": np.full((1, 3), size, np.float32)}, size
        )
        for size in (3, 0, 7, 5)
    ]


SOURCE = ExampleSource("words", _generate, (Path(__file__),))


@pytest.fixture
def samples(tmp_path: Path) -> Examples:
    return stored(Store(tmp_path), SOURCE, "validation")


def test_samples_come_back_as_they_were_generated(samples: Examples) -> None:
    expected = _generate("validation")
    assert len(samples) == len(expected)
    for found, sample in zip(samples, expected, strict=True):
        assert found.reference == sample.reference
        assert list(found.inputs) == list(sample.inputs)
        for name, array in sample.inputs.items():
            assert found.inputs[name].dtype == array.dtype
            assert np.array_equal(found.inputs[name], array)


def test_samples_are_a_sequence(samples: Examples) -> None:
    assert samples[-1].reference == samples[3].reference == 5
    assert [sample.reference for sample in samples[1:3]] == [0, 7]
    with pytest.raises(IndexError):
        samples[4]


def test_the_largest_come_first(samples: Examples) -> None:
    assert [samples[number].reference for number in samples.largest(3)] == [7, 5, 3]
    assert len(samples.largest(100)) == 4


def test_a_batch_joins_samples(samples: Examples) -> None:
    batch = samples.batch([0, 2])
    assert batch["text"].tolist() == [[b"aaa", "ä".encode()], [b"aaaaaaa", "ä".encode()]]
    assert batch["x"].shape == (2, 3)


def test_samples_are_generated_once(tmp_path: Path) -> None:
    calls.clear()
    first = stored(Store(tmp_path), SOURCE, "validation")
    second = stored(Store(tmp_path), SOURCE, "validation")
    assert calls == ["validation"]
    assert first.content == second.content


def test_splits_and_sources_have_recipes_of_their_own(tmp_path: Path) -> None:
    source = tmp_path / "source.py"
    source.write_text("a", encoding="utf-8")
    other = ExampleSource("words", _generate, (source,))
    before = recipe(other, "validation").digest
    assert recipe(other, "calibration").digest != before
    source.write_text("b", encoding="utf-8")
    assert recipe(other, "validation").digest != before


def test_a_split_without_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="words has no train samples"):
        stored(Store(tmp_path), SOURCE, "train")


@pytest.mark.parametrize(("name", "metrics"), [("two words", ("top1",)), ("bert-base", ("top1",)), ("bert", ())])
def test_a_definition_that_cannot_be_named_or_judged_is_refused(name: str, metrics: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="subject model"):
        SubjectModel(
            name=name,
            task="",
            network=lambda: None,  # type: ignore[arg-type, return-value]  # never asked for
            graph_inputs=("x",),
            examples=SOURCE,
            pipeline=Pipeline(None, Classification()),
            metrics=metrics,
        )


def test_two_sources_of_one_name_both_decide(tmp_path: Path) -> None:
    files = []
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        files.append(tmp_path / folder / "data.csv")
        files[-1].write_text(folder, encoding="utf-8")
    before = recipe(ExampleSource("words", _generate, tuple(files)), "validation")
    files[0].write_text("changed", encoding="utf-8")
    assert recipe(ExampleSource("words", _generate, tuple(files)), "validation") != before
