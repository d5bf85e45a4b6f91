"""The steps that a pipeline can have: images and sentences to tensors before the graph, logits to labels after it.

A step is data (a frozen dataclass that says what it needs and refuses what it cannot do) and a call. How a step is
read from a file is the business of `pipeline`. Pillow and tokenizers are imported when a step needs them.
"""

from __future__ import annotations

import functools
import io
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.errors import EdgeAIError

Tensors: TypeAlias = Mapping[str, Array]
Interpolation: TypeAlias = Literal["bilinear", "bicubic", "box", "hamming", "lanczos"]
TokenField: TypeAlias = Literal["ids", "attention_mask", "type_ids"]
Compression: TypeAlias = Literal["none", "zlib"]
_INTERPOLATIONS: tuple[Interpolation, ...] = get_args(Interpolation)
_TOKEN_FIELDS: tuple[TokenField, ...] = get_args(TokenField)
_COMPRESSIONS: tuple[Compression, ...] = get_args(Compression)
_IMAGE_FORMATS = ("JPEG", "PNG", "WEBP")
_MAX_PIXELS = 89_478_485  # pillow's own threshold of suspicion: a quarter of a gigabyte in RGB


class PipelineError(EdgeAIError, ValueError):
    """A pipeline that cannot be understood or does not fit its graph; names the file or the field."""


class SampleError(EdgeAIError, ValueError):
    """An input that the pipeline cannot process (not an image, not UTF-8, …); one sentence for the sender."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor as the protocol's metadata names it; -1 in the shape is any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def as_json(self) -> dict[str, object]:
        """The form in model metadata."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


@dataclass(frozen=True, slots=True)
class ImagePreprocess:
    """Decode images, resize, crop, scale to 0…1, normalize; one NCHW float32 tensor.

    Parameters
    ----------
    input, output
        The BYTES tensor of shape [n] that is sent and the tensor [n, channels, height, width] for the graph.
    resize
        (height, width) in pixels, or one number for the shorter side, keeping the aspect ratio.
    mean, std
        A value per channel, applied after scaling to 0…1.
    mode
        `RGB` or `L` (grey).
    crop
        (height, width) of a centre crop after resizing, or None.
    interpolation
        A resampling filter of pillow.
    """

    kind: ClassVar[str] = "image"
    input: str
    output: str
    resize: tuple[int, int] | int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mode: Literal["RGB", "L"] = "RGB"
    crop: tuple[int, int] | None = None
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        _require(_is_text(self.input) and _is_text(self.output), "image: input and output are names of tensors")
        _require(self.mode in ("RGB", "L"), "image: mode is RGB or L")
        _require(_is_whole(self.resize) or _is_size(self.resize), "image: resize is [height, width] or one number")
        _require(self.crop is None or _is_size(self.crop), "image: crop is [height, width] or null")
        _require(
            self.interpolation in _INTERPOLATIONS,
            f"image: interpolation is one of {', '.join(_INTERPOLATIONS)}",
        )
        if self.crop is not None:
            height, width = self.resize if isinstance(self.resize, tuple) else (self.resize, self.resize)
            _require(self.crop[0] <= height and self.crop[1] <= width, "image: crop is larger than resize")
        channels = 3 if self.mode == "RGB" else 1
        for name, values in (("mean", self.mean), ("std", self.std)):
            is_vector = isinstance(values, tuple) and all(_is_finite(value) for value in values)
            _require(
                is_vector and len(values) == channels,
                f"image: {name} has {channels} numbers for mode {self.mode}",
            )
        _require(0 not in self.std, "image: std has no zero")

    def inputs(self) -> tuple[TensorSpec, ...]:
        """What a client sends."""
        return (TensorSpec(self.input, "BYTES", (-1,)),)

    def produced(self) -> tuple[str, ...]:
        """The tensors that the step makes."""
        return (self.output,)

    def prepare(self, folder: Path) -> None:  # noqa: ARG002  # same call for all steps
        """Import what the step needs, so that the first request does not.

        Parameters
        ----------
        folder
            Where the artifact is.
        """
        from PIL import Image

        Image.preinit()

    def __call__(self, tensors: Tensors, folder: Path) -> dict[str, Array]:  # noqa: ARG002  # same call for all steps
        """Process a batch."""
        payloads = tensors[self.input].ravel().tolist()
        if not payloads:
            raise SampleError(f"tensor {self.input!r} has no images")
        images = [self._decode(payload, number) for number, payload in enumerate(payloads)]
        if len({image.shape for image in images}) > 1:  # only where one number is given to resize, and no crop
            raise SampleError(f"the images in {self.input!r} have different proportions, so they make no batch")
        pixels = np.stack(images)
        scaled = pixels.astype(np.float32) / np.float32(255)
        normalized = (scaled - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return {self.output: np.ascontiguousarray(normalized.transpose(0, 3, 1, 2))}

    def _decode(self, payload: bytes, number: int) -> Array:
        from PIL import Image

        what = f"element {number} of {self.input!r}"
        try:
            # Not warnings.catch_warnings: it changes the filters of all threads. The size is checked here anyway.
            with Image.open(io.BytesIO(payload), formats=_IMAGE_FORMATS) as opened:
                width, height = self._size(*opened.size)
                if max(math.prod(opened.size), width * height) > _MAX_PIXELS:
                    raise SampleError(f"{what} is too large an image: {opened.width} x {opened.height} pixels")
                image = opened.convert(self.mode)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise SampleError(f"{what} is too large an image: {error}") from None
        except SampleError:
            raise
        except Exception as error:  # noqa: BLE001  # pillow's decoders raise nearly anything on a corrupt file
            raise SampleError(f"{what} is not a {', '.join(_IMAGE_FORMATS)} image: {_one_line(error)}") from None
        image = image.resize((width, height), Image.Resampling[self.interpolation.upper()])
        if self.crop is not None:
            top, left = (height - self.crop[0]) // 2, (width - self.crop[1]) // 2
            image = image.crop((left, top, left + self.crop[1], top + self.crop[0]))
        return np.asarray(image).reshape(image.height, image.width, len(self.mean))

    def _size(self, width: int, height: int) -> tuple[int, int]:
        if isinstance(self.resize, int):
            factor = self.resize / min(width, height)
            return max(1, round(width * factor)), max(1, round(height * factor))
        return self.resize[1], self.resize[0]


@dataclass(frozen=True, slots=True)
class TextPreprocess:
    """Tokenize sentences or pairs of sentences with a `tokenizers` file; INT64 tensors [n, max_length].

    Parameters
    ----------
    input
        The BYTES tensor of shape [n, sentences] that is sent, UTF-8.
    outputs
        The graph's tensor for each of `ids`, `attention_mask`, `type_ids` that it takes.
    max_length
        In tokens; longer inputs are cut, the longest sentence first, and shorter ones padded.
    tokenizer
        File name beside `pipeline.json`.
    sentences
        1 or 2.
    pad_id, pad_token
        What shorter inputs are padded with.
    """

    kind: ClassVar[str] = "text"
    input: str
    outputs: Mapping[TokenField, str]
    max_length: int
    tokenizer: str = "tokenizer.json"
    sentences: Literal[1, 2] = 2
    pad_id: int = 0
    pad_token: str = "[PAD]"

    def __post_init__(self) -> None:
        _require(_is_text(self.input), "text: input is the name of a tensor")
        fits = isinstance(self.outputs, Mapping) and self.outputs and set(self.outputs) <= set(_TOKEN_FIELDS)
        _require(fits, f"text: outputs names tensors for some of {', '.join(_TOKEN_FIELDS)}")
        _require(all(_is_text(name) for name in self.outputs.values()), "text: outputs names tensors")
        _require(_is_whole(self.max_length), "text: max_length is a number of tokens")
        is_file_name = _is_text(self.tokenizer) and Path(self.tokenizer).name == self.tokenizer
        _require(is_file_name, "text: tokenizer is the name of a file beside pipeline.json")
        _require(self.sentences in (1, 2), "text: sentences is 1 or 2")
        _require(self.pad_id == 0 or _is_whole(self.pad_id), "text: pad_id is a token's number")
        _require(isinstance(self.pad_token, str), "text: pad_token is text")

    def inputs(self) -> tuple[TensorSpec, ...]:
        """What a client sends."""
        return (TensorSpec(self.input, "BYTES", (-1, self.sentences)),)

    def produced(self) -> tuple[str, ...]:
        """The tensors that the step makes."""
        return tuple(self.outputs.values())

    def prepare(self, folder: Path) -> None:
        """Load the tokenizer.

        Parameters
        ----------
        folder
            Where the artifact is, and the tokenizer beside it.

        Raises
        ------
        PipelineError
            It is missing, corrupt or cannot keep to `max_length`.
        """
        path = folder / self.tokenizer
        try:
            tokenizer = self._tokenizer(folder)
            words = "a " * (self.max_length + 1)
            length = len(tokenizer.encode(words, None if self.sentences == 1 else words).ids)
        except Exception as error:  # noqa: BLE001  # the library raises Exception itself
            raise PipelineError(f"{path} is not a tokenizer: {_one_line(error)}") from None
        if length != self.max_length:  # the special tokens alone may be more, and then nothing is cut at all
            raise PipelineError(f"{path} makes {length} tokens where max_length is {self.max_length}")

    def __call__(self, tensors: Tensors, folder: Path) -> dict[str, Array]:
        """Process a batch."""
        rows = tensors[self.input].reshape(-1, self.sentences).tolist()
        if not rows:
            raise SampleError(f"tensor {self.input!r} has no sentences")
        try:
            texts = [tuple(element.decode() for element in row) for row in rows]
        except UnicodeDecodeError as error:
            raise SampleError(f"a sentence in {self.input!r} is not UTF-8: {error}") from None
        tokenizer = self._tokenizer(folder)
        encoded = tokenizer.encode_batch([text[0] if self.sentences == 1 else text for text in texts])
        return {
            name: np.array([getattr(one, source) for one in encoded], dtype=np.int64)
            for source, name in self.outputs.items()
        }

    def _tokenizer(self, folder: Path) -> Any:
        return _load_tokenizer(folder / self.tokenizer, self.max_length, self.pad_id, self.pad_token)


@dataclass(frozen=True, slots=True)
class NextPart:
    """Send the graph's outputs to the next tier, where the next part of a partitioned graph has the same name.

    Parameters
    ----------
    compression
        Of the body on the wire: `none` or `zlib`.
    """

    kind: ClassVar[str] = "next_part"
    compression: Compression = "none"

    def __post_init__(self) -> None:
        _require(self.compression in _COMPRESSIONS, f"next_part: compression is {' or '.join(_COMPRESSIONS)}")


@dataclass(frozen=True, slots=True)
class Classification:
    """Softmax and the k best classes, best first, ties in class order.

    Parameters
    ----------
    input
        The graph's logits [n, classes].
    k
        How many labels and scores to return.
    """

    kind: ClassVar[str] = "classification"
    input: str = "logits"
    k: int = 5

    def __post_init__(self) -> None:
        _require(_is_text(self.input), "classification: input is the name of a tensor")
        _require(_is_whole(self.k), "classification: k is 1 or more")

    def outputs(self, classes: int | None = None) -> tuple[TensorSpec, ...]:
        """What a client gets; never more labels than there are classes, where their number is known.

        Parameters
        ----------
        classes
            How many classes there are; None where the graph does not tell.
        """
        k = self.k if classes is None else min(self.k, classes)
        return (TensorSpec("labels", "INT64", (-1, k)), TensorSpec("scores", "FP32", (-1, k)))

    def __call__(self, tensors: Tensors) -> dict[str, Array]:
        """Process a batch.

        Raises
        ------
        SampleError
            The graph made something else than [n, classes].
        """
        logits = tensors[self.input].astype(np.float64)
        if logits.ndim != 2 or not logits.shape[1]:
            raise SampleError(f"the graph's {self.input!r} has shape {list(logits.shape)}, not [n, classes]")
        # NaN sorts last, so a broken graph gives labels with NaN scores, never an exception.
        labels = np.argsort(-logits, axis=1, kind="stable")[:, : self.k]
        with np.errstate(invalid="ignore"):  # infinity minus infinity
            shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = np.take_along_axis(shifted / shifted.sum(axis=1, keepdims=True), labels, axis=1)
        return {"labels": labels.astype(np.int64), "scores": scores.astype(np.float32)}


@functools.lru_cache(maxsize=16)
def _load_tokenizer(path: Path, max_length: int, pad_id: int, pad_token: str) -> Any:
    # Its own threads would escape the number of threads that the tier was given.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.enable_truncation(max_length)
    tokenizer.enable_padding(length=max_length, pad_id=pad_id, pad_token=pad_token)
    return tokenizer


def _require(condition: object, sentence: str) -> None:
    if not condition:
        raise PipelineError(sentence)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**20


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_size(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(_is_whole(side) for side in value)


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
