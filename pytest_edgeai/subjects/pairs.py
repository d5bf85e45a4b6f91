"""Examples that a project has in Python: pairs of an input and its reference, in a list or from a function."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.serving.pipeline import ImagePreprocess, Preprocess, TextPreprocess
from pytest_edgeai.subjects import Example, ExampleSource, Split, SubjectError, files
from pytest_edgeai.subjects.files import SUFFIXES, FileExamples, divided

Pair: TypeAlias = tuple[Any, Any]
"""What is sent (a text, two texts, the path of an image, tensors) and its reference."""

GivenExamples: TypeAlias = (
    ExampleSource | Callable[[Split], Iterable[Example | Pair]] | Sequence[Example | Pair] | Path | str
)
"""What `SubjectModel.from_torch` and `from_transformers` take: a function of the split, a list, or a file."""

HERE: Final = Path(__file__)


class Convert(Protocol):
    """From a pair to an example; an object that can be pickled, and whose `repr` says all that it does."""

    def __call__(self, given: Any, reference: Any) -> Example:
        """Raise ValueError, TypeError or OSError where the pair is of no use."""


@dataclass(frozen=True)
class ClassIndex:
    """From a label to the index of its class.

    Parameters
    ----------
    names
        Of the classes, in order; an index is taken as it is.
    """

    names: tuple[str, ...] = ()

    def __call__(self, label: Any) -> Any:
        """The index of a label, or of each of several."""
        if isinstance(label, list | tuple):
            return [self(one) for one in label]
        if not isinstance(label, str):
            return label
        if label not in self.names:
            raise ValueError(f"there is no label {label!r}; there are {', '.join(self.names) or 'none'}")
        return self.names.index(label)


@dataclass(frozen=True)
class TextPair:
    """Takes a text, or two.

    Parameters
    ----------
    preprocess
        The step that tokenizes.
    index
        Of labels.
    """

    preprocess: TextPreprocess
    index: ClassIndex = ClassIndex()

    def __call__(self, given: Any, reference: Any) -> Example:
        """The example of a text and its label."""
        texts = [given] if isinstance(given, str) else list(given)
        if len(texts) != self.preprocess.sentences or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{given!r} is not {('one text', 'two texts')[self.preprocess.sentences - 1]}")
        payload = np.empty((1, len(texts)), dtype=object)
        payload[0] = [text.encode() for text in texts]
        return Example({self.preprocess.input: payload}, self.index(reference))


@dataclass(frozen=True)
class ImagePair:
    """Takes the path of an image, or the bytes of its file.

    Parameters
    ----------
    preprocess
        The step that decodes.
    index
        Of labels.
    """

    preprocess: ImagePreprocess
    index: ClassIndex = ClassIndex()

    def __call__(self, given: Any, reference: Any) -> Example:
        """The example of an image and its label."""
        content = given if isinstance(given, bytes) else Path(given).read_bytes()
        return Example({self.preprocess.input: np.array([content], dtype=object)}, self.index(reference))


@dataclass(frozen=True)
class TokenPair:
    """Takes the words of a text and the label of each, or a text and the label of each of its tokens.

    The first token of a word gets the word's label; other positions of the output do not count (-1).

    Parameters
    ----------
    preprocess
        The step that tokenizes.
    tokenizer
        Its file.
    index
        Of labels.
    """

    preprocess: TextPreprocess
    tokenizer: Path
    index: ClassIndex = ClassIndex()

    def __call__(self, given: Any, reference: Any) -> Example:
        """The example of a text and its labels, one for each position of the output."""
        if isinstance(given, str):
            text, labels = given, list(self.index(list(reference)))
        else:
            if len(given) != len(reference):
                raise ValueError(f"there are {len(given)} words and {len(reference)} labels")
            text, labels = " ".join(given), self._spread(list(given), list(self.index(list(reference))))
        length = self.preprocess.max_length
        if isinstance(given, str) and len(labels) > length:
            raise ValueError(f"there are {len(labels)} labels, and max_length is {length} tokens")
        whole = [*labels, *[-1] * length][:length]
        return TextPair(self.preprocess)(text, whole)

    def _spread(self, words: list[str], labels: list[int]) -> list[int]:
        """The labels of tokens, from those of words."""
        text = " ".join(words)
        ends = np.cumsum([len(word) + 1 for word in words])
        waiting = {int(end) - len(word) - 1: label for word, label, end in zip(words, labels, ends, strict=True)}
        found = []
        for begin, end in _tokenizer(self.tokenizer).encode(text).offsets:
            inside = begin + len(text[begin:end]) - len(text[begin:end].lstrip())  # some tokens begin with the space
            found.append(waiting.pop(inside, -1) if end > inside else -1)
        return found


@functools.lru_cache(maxsize=4)
def _tokenizer(path: Path) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


@dataclass(frozen=True)
class TensorPair:
    """Takes tensors: a mapping, or only one; with a batch of one, or without the dimension of the batch.

    Parameters
    ----------
    inputs
        Name, numpy's name of the type, and shape of each input, without its batch.
    """

    inputs: tuple[tuple[str, str, tuple[int, ...]], ...]

    def __call__(self, given: Any, reference: Any) -> Example:
        """The example of tensors and their reference."""
        tensors = given if isinstance(given, Mapping) else {self.inputs[0][0]: given}
        if set(tensors) != {name for name, _, _ in self.inputs}:
            raise ValueError(
                f"there are the inputs {', '.join(map(str, tensors))}, and the network takes "
                f"{', '.join(name for name, _, _ in self.inputs)}"
            )
        return Example(
            {name: _fitting(tensors[name], name, kind, shape) for name, kind, shape in self.inputs}, reference
        )


def _fitting(value: Any, name: str, kind: str, shape: tuple[int, ...]) -> Array:
    array = np.asarray(value)
    if array.shape == shape:
        array = array[None]
    if array.shape != (1, *shape):
        raise ValueError(f"input {name!r} has shape {list(array.shape)}, and the example input has {[1, *shape]}")
    return np.asarray(array.astype(kind, casting="same_kind"))


@dataclass(frozen=True)
class FunctionExamples:
    """Returns what a function of the split returns, pairs as examples.

    Parameters
    ----------
    function
        At the top of a module.
    convert
        Of its pairs.
    """

    function: Callable[[Split], Iterable[Example | Pair]]
    convert: Convert

    def __call__(self, split: Split) -> Sequence[Example]:
        """The examples of a split."""
        return _converted(self.function(split), self.convert)


@dataclass(frozen=True, eq=False)
class ListedExamples:
    """Returns the examples of a split of a list: every fourth one calibrates, the others are validated on.

    Parameters
    ----------
    listed
        All examples, or pairs.
    convert
        Of pairs.
    """

    listed: tuple[Example | Pair, ...]
    convert: Convert

    def __call__(self, split: Split) -> Sequence[Example]:
        """The examples of a split; there are none to train on."""
        return _converted(divided(self.listed, split, "the list of examples"), self.convert)


def source_of(given: GivenExamples, convert: Convert, preprocess: Preprocess | None) -> ExampleSource:
    """The source of examples that are given in one of several ways.

    Parameters
    ----------
    given
        A source, a function of the split, a list, or a file as `subjects.NAME.examples` in the settings names it.
    convert
        Of pairs.
    preprocess
        The pipeline's first step.

    Raises
    ------
    SubjectError
        They are none of these, or one in a list is of no use.
    """
    if isinstance(given, ExampleSource):
        return given
    if isinstance(given, str | Path):
        return _from_file(Path(given).absolute(), preprocess)
    if callable(given):
        refuse_unpicklable(given, "the function of examples")
        return ExampleSource(
            name_of(given), FunctionExamples(given, convert), (HERE, *source_files(given)), key=repr(convert)
        )
    try:
        listed = tuple(given)
    except TypeError:
        raise SubjectError(f"examples are a list of pairs, a function of the split or a file, not {given!r}") from None
    divided(listed, "validation", "the list of examples")
    digest = hashlib.sha256()
    for number, example in enumerate(_converted(listed, convert)):
        for name, array in example.inputs.items():
            content = array.ravel().tolist() if array.dtype == object else [array.tobytes()]
            _add(digest, name.encode(), str((array.dtype, array.shape)).encode(), *content)
        try:
            _add(digest, json.dumps(example.reference, default=_plain).encode())
        except (TypeError, ValueError) as error:
            raise SubjectError(f"example {number} has a reference that JSON cannot hold: {error}") from None
    return ExampleSource(f"{len(listed)} examples", ListedExamples(listed, convert), (HERE,), key=digest.hexdigest())


def name_of(function: Any) -> str:
    """What a function is called, or the class of an object that is called as one."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def source_files(function: Any) -> tuple[Path, ...]:
    """The file that a function or a class is in, where there is one."""
    try:
        found = inspect.getsourcefile(inspect.unwrap(function) if inspect.isroutine(function) else _class_of(function))
    except TypeError:
        return ()
    return () if found is None or not Path(found).is_file() else (Path(found),)


def refuse_unpicklable(given: Any, what: str) -> None:
    """Refuse what cannot be sent to the process that builds artifacts.

    Raises
    ------
    SubjectError
        It cannot; says how it could.
    """
    try:
        pickle.dumps(given)
    except Exception as error:  # noqa: BLE001  # whatever a class of others does when it is pickled
        raise SubjectError(
            f"{what} cannot be sent to the process that builds artifacts ({' '.join(str(error).split())[:200]}): "
            "define functions and classes at the top of a module, and no lambdas"
        ) from None


def _plain(one: Any) -> Any:
    """What JSON holds in the place of an array or a tensor."""
    found = np.asarray(one).tolist()
    if not isinstance(found, list | int | float):
        raise TypeError(f"it is of {type(one).__name__}")
    return found


def _class_of(one: Any) -> type:
    return one if isinstance(one, type) else type(one)


def _from_file(path: Path, preprocess: Preprocess | None) -> ExampleSource:
    if not path.is_file():
        raise SubjectError(f"there is no file of examples {path}")
    if path.suffix not in SUFFIXES:
        raise SubjectError(f"the file of examples {path} is none of {', '.join(SUFFIXES)}")
    read = FileExamples(path, None, preprocess)
    return ExampleSource(path.name, read, (Path(files.__file__), path), key=read.key)


def _converted(given: Iterable[Example | Pair], convert: Convert) -> list[Example]:
    found = []
    for number, one in enumerate(given):
        if isinstance(one, Example):
            found.append(one)
            continue
        try:
            what, reference = one
            found.append(convert(what, reference))
        except (ValueError, TypeError, OSError) as error:
            raise SubjectError(f"example {number} is of no use: {' '.join(str(error).split())[:300]}") from None
    return found


def _add(digest: Any, *contents: bytes) -> None:
    for content in contents:
        digest.update(len(content).to_bytes(8, "little") + content)
