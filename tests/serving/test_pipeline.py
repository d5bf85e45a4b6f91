"""Pre- and post-processing: images, sentences and labels, and the file that describes them."""

from __future__ import annotations

import io
import itertools
import json
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from pytest_edgeai.arrays import Array
from pytest_edgeai.serving.pipeline import (
    Classification,
    ImagePreprocess,
    Pipeline,
    PipelineError,
    SampleError,
    TextPreprocess,
)

NOWHERE = Path("nowhere")
IMAGE = ImagePreprocess("images", "x", resize=(4, 6), mean=(0.5, 0.25, 0.0), std=(0.5, 1.0, 2.0))
TEXT = TextPreprocess(
    "text", {"ids": "input_ids", "attention_mask": "mask", "type_ids": "types"}, max_length=8, pad_id=1
)


def bytes_tensor(*elements: bytes) -> Array:
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:  # noqa: A002  # as pillow names it
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    channels = {"RGB": (3,), "L": (), "RGBA": (4,)}[mode]
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, *channels), np.uint8)
    return Image.fromarray(pixels)


def process(step: ImagePreprocess, *payloads: bytes) -> Array:
    return step({step.input: bytes_tensor(*payloads)}, NOWHERE)[step.output]


class TestImages:
    def test_pixels_are_scaled_and_normalized_per_channel_into_nchw(self) -> None:
        image = noise(6, 4)
        pixels = np.asarray(image, np.float32).transpose(2, 0, 1) / 255
        expected = (pixels - np.array(IMAGE.mean).reshape(3, 1, 1)) / np.array(IMAGE.std).reshape(3, 1, 1)
        result = process(IMAGE, encoded(image), encoded(image))
        assert result.shape == (2, 3, 4, 6)
        assert result.dtype == np.float32
        assert result.flags.c_contiguous
        np.testing.assert_allclose(result[1], expected, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize(
        ("format_", "options"), [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {})]
    )
    def test_the_usual_formats_are_read(self, format_: str, options: dict[str, Any]) -> None:
        assert process(IMAGE, encoded(noise(30, 20), format_, **options)).shape == (1, 3, 4, 6)

    @pytest.mark.parametrize("mode", ["L", "RGBA"])
    def test_other_colour_modes_are_converted(self, mode: str) -> None:
        assert process(IMAGE, encoded(noise(30, 20, mode))).shape == (1, 3, 4, 6)

    def test_grey_images_have_one_channel(self) -> None:
        step = ImagePreprocess("images", "x", resize=(4, 6), mean=(0.0,), std=(1.0,), mode="L")
        image = noise(6, 4, "L")
        np.testing.assert_allclose(process(step, encoded(image))[0, 0], np.asarray(image) / np.float32(255))

    @pytest.mark.parametrize(
        ("width", "height", "shape"),
        [(40, 20, (10, 20)), (20, 40, (20, 10)), (7, 7, (10, 10)), (1000, 1, (10, 10_000))],
    )
    def test_one_number_scales_the_shorter_side(self, width: int, height: int, shape: tuple[int, int]) -> None:
        step = ImagePreprocess("images", "x", resize=10, mean=(0.0,) * 3, std=(1.0,) * 3)
        assert process(step, encoded(noise(width, height))).shape == (1, 3, *shape)

    def test_the_crop_is_from_the_centre(self) -> None:
        step = ImagePreprocess("images", "x", resize=(6, 8), crop=(2, 4), mean=(0.0,) * 3, std=(1 / 255,) * 3)
        image = noise(8, 6)
        expected = np.asarray(image)[2:4, 2:6].transpose(2, 0, 1)
        np.testing.assert_allclose(process(step, encoded(image))[0], expected, rtol=1e-5)

    @pytest.mark.parametrize(
        "payload",
        [
            b"",
            b"garbage",
            b"\xff\xd8\xff\xe0" + b"\0" * 100,
            encoded(noise(30, 20), "JPEG")[:300],
            encoded(noise(30, 20), "PNG")[:100],
            encoded(noise(30, 20), "BMP"),
            b"GIF89a" + b"\0" * 50,
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        ],
        ids=["empty", "garbage", "JPEG of zeros", "cut JPEG", "cut PNG", "BMP", "GIF", "PostScript"],
    )
    def test_what_is_not_an_image_is_refused_and_its_number_named(self, payload: bytes) -> None:
        with pytest.raises(SampleError, match="element 1 of 'images' is not a JPEG, PNG, WEBP image"):
            process(IMAGE, encoded(noise(3, 3)), payload)

    @given(st.data())
    @settings(deadline=None, max_examples=150)
    def test_a_corrupted_image_is_read_or_refused(self, data: st.DataObject) -> None:
        payload = bytearray(data.draw(st.sampled_from([JPEG, PNG, WEBP])))
        for _ in range(data.draw(st.integers(1, 4))):
            payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
        payload = payload[: data.draw(st.integers(1, len(payload)))]
        with warnings.catch_warnings(action="ignore"):
            try:
                assert process(IMAGE, bytes(payload)).shape == (1, 3, 4, 6)
            except SampleError as error:
                assert "\n" not in str(error)  # noqa: PT017  # both ways are right

    @pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
    @pytest.mark.parametrize("side", [9_500, 15_000, 60_000])
    def test_a_bomb_is_refused_before_it_goes_off(self, side: int) -> None:
        with pytest.raises(SampleError, match="too large an image"):
            process(IMAGE, bomb(side, side))

    def test_an_image_that_only_becomes_too_large_by_resizing_is_refused(self) -> None:
        step = ImagePreprocess("images", "x", resize=1000, mean=(0.0,) * 3, std=(1.0,) * 3)
        with pytest.raises(SampleError, match="too large an image: 1 x 60000 pixels"):
            process(step, bomb(1, 60_000))

    def test_images_of_different_proportions_make_no_batch(self) -> None:
        step = ImagePreprocess("images", "x", resize=10, mean=(0.0,) * 3, std=(1.0,) * 3)
        with pytest.raises(SampleError, match="different proportions"):
            process(step, encoded(noise(20, 10)), encoded(noise(10, 10)))

    def test_no_image_is_refused(self) -> None:
        with pytest.raises(SampleError, match="has no images"):
            process(IMAGE)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that says it is very large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + b"\x08\x00\x00\x00\x00"
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


JPEG, PNG, WEBP = (encoded(noise(16, 12), format_) for format_ in ("JPEG", "PNG", "WEBP"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer of a few words; [CLS] is 2, [SEP] is 3."""
    folder = tmp_path_factory.mktemp("tokenizer")
    words = {word: number for number, word in enumerate(["[UNK]", "[PAD]", "[CLS]", "[SEP]", "a", "b", "grün"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


class TestText:
    def tokens(self, folder: Path, *rows: tuple[str, ...], step: TextPreprocess = TEXT) -> dict[str, Any]:
        payload = np.empty((len(rows), step.sentences), dtype=object)
        for number, row in enumerate(rows):
            payload[number] = [text.encode() for text in row]
        return {name: array.tolist() for name, array in step({"text": payload}, folder).items()}

    def test_short_pairs_are_padded(self, folder: Path) -> None:
        assert self.tokens(folder, ("a", "b grün")) == {
            "input_ids": [[2, 4, 3, 5, 6, 3, 1, 1]],
            "mask": [[1, 1, 1, 1, 1, 1, 0, 0]],
            "types": [[0, 0, 0, 1, 1, 1, 0, 0]],
        }

    def test_long_pairs_are_cut_the_longest_sentence_first(self, folder: Path) -> None:
        assert self.tokens(folder, ("a " * 9, "b"))["input_ids"] == [[2, 4, 4, 4, 4, 3, 5, 3]]
        assert self.tokens(folder, ("a", "b " * 9))["input_ids"] == [[2, 4, 3, 5, 5, 5, 5, 3]]

    def test_unknown_and_empty_sentences_have_tokens_too(self, folder: Path) -> None:
        assert self.tokens(folder, ("zzz", ""))["input_ids"] == [[2, 0, 3, 3, 1, 1, 1, 1]]

    def test_single_sentences_are_taken(self, folder: Path) -> None:
        step = TextPreprocess("text", {"ids": "input_ids"}, max_length=4, sentences=1, pad_id=1)
        assert self.tokens(folder, ("a",), ("b " * 9,), step=step) == {"input_ids": [[2, 4, 3, 1], [2, 5, 5, 3]]}

    def test_a_batch_gives_what_its_rows_give(self, folder: Path) -> None:
        rows = [("a", "b"), ("grün " * 5, "a"), ("", "")]
        together = self.tokens(folder, *rows)["input_ids"]
        assert together == [self.tokens(folder, row)["input_ids"][0] for row in rows]

    @given(st.lists(st.binary(max_size=20), min_size=2, max_size=2))
    @settings(deadline=None, max_examples=100)
    def test_any_bytes_are_tokens_or_refused(self, folder: Path, row: list[bytes]) -> None:
        try:
            tokens = TEXT({"text": bytes_tensor(*row).reshape(1, 2)}, folder)
        except SampleError as error:
            assert "is not UTF-8" in str(error)  # noqa: PT017  # both ways are right
        else:
            assert {array.shape for array in tokens.values()} == {(1, 8)}

    def test_bytes_that_are_not_utf8_are_refused(self, folder: Path) -> None:
        with pytest.raises(SampleError, match="a sentence in 'text' is not UTF-8"):
            TEXT({"text": bytes_tensor(b"a", b"\xff").reshape(1, 2)}, folder)

    def test_no_sentence_is_refused(self, folder: Path) -> None:
        with pytest.raises(SampleError, match="has no sentences"):
            self.tokens(folder)

    def test_a_tokenizer_is_checked_when_it_is_prepared(self, folder: Path, tmp_path: Path) -> None:
        TEXT.prepare(folder)
        with pytest.raises(PipelineError, match=r"tokenizer\.json is not a tokenizer"):
            TEXT.prepare(tmp_path)
        (tmp_path / "tokenizer.json").write_text('{"model": 3}', encoding="utf-8")
        with pytest.raises(PipelineError, match=r"tokenizer\.json is not a tokenizer"):
            TEXT.prepare(tmp_path)

    def test_a_length_that_special_tokens_alone_exceed_is_refused_when_it_is_prepared(self, folder: Path) -> None:
        with pytest.raises(PipelineError, match="where max_length is 2"):
            TextPreprocess("text", {"ids": "input_ids"}, max_length=2).prepare(folder)


class TestClassification:
    def classify(self, logits: Any, k: int = 2) -> dict[str, Any]:
        outputs = Classification(k=k)({"logits": np.array(logits)})
        assert {name: array.dtype.str for name, array in outputs.items()} == {"labels": "<i8", "scores": "<f4"}
        return {name: array.tolist() for name, array in outputs.items()}

    def test_the_best_classes_come_first_with_their_softmax(self) -> None:
        outputs = self.classify([[0.0, np.log(3), np.log(2)]])
        assert outputs["labels"] == [[1, 2]]
        np.testing.assert_allclose(outputs["scores"], [[1 / 2, 1 / 3]], rtol=1e-6)

    def test_ties_are_in_the_order_of_classes(self) -> None:
        assert self.classify([[1.0, 2.0, 2.0, 1.0, 2.0]], k=5)["labels"] == [[1, 2, 4, 0, 3]]

    def test_there_are_never_more_labels_than_classes(self) -> None:
        assert self.classify([[1.0, 2.0]], k=5)["labels"] == [[1, 0]]
        assert Classification(k=5).outputs(2)[0].shape == (-1, 2)
        assert Classification(k=5).outputs()[0].shape == (-1, 5)

    @pytest.mark.parametrize("logits", [[[np.nan, 1.0, 2.0]], [[np.nan] * 3]])
    def test_nan_gives_labels_with_scores_of_nan(self, logits: Any) -> None:
        outputs = self.classify(logits, k=3)
        assert sorted(outputs["labels"][0]) == [0, 1, 2]
        assert np.isnan(outputs["scores"]).all()
        assert outputs["labels"][0][-1] == (0 if logits[0][1] == 1 else 2), "NaN is the worst"

    @pytest.mark.parametrize("logits", [[[np.inf, 1.0]], [[np.inf, np.inf]], [[-np.inf, -np.inf]]])
    def test_infinite_logits_are_no_error_and_no_warning(self, logits: Any) -> None:
        with warnings.catch_warnings(action="error"):
            assert self.classify(logits)["labels"] == [[0, 1]]

    @pytest.mark.parametrize("shape", [(3,), (2, 3, 1), (), (2, 0)])
    def test_logits_of_another_shape_are_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(SampleError, match=r"not \[n, classes\]"):
            Classification()({"logits": np.zeros(shape)})

    @given(npst.arrays(np.float32, npst.array_shapes(min_dims=2, max_dims=2, max_side=6)), st.integers(1, 6))
    @settings(deadline=None)
    def test_any_logits_give_a_ranking(self, logits: Array, k: int) -> None:
        outputs = self.classify(logits, k)
        rows, classes = logits.shape
        assert np.shape(outputs["labels"]) == np.shape(outputs["scores"]) == (rows, min(k, classes))
        for row, labels in zip(logits, outputs["labels"], strict=True):
            assert len(set(labels)) == len(labels)
            ranked = row[labels]
            assert all(np.isnan(after) or before >= after for before, after in itertools.pairwise(ranked))


class TestTheFile:
    @pytest.mark.parametrize(
        "pipeline",
        [
            Pipeline(),
            Pipeline(IMAGE, Classification()),
            Pipeline(ImagePreprocess("i", "x", 8, (0.5,), (1,), "L", (4, 4), "lanczos")),
            Pipeline(TEXT),
            Pipeline(postprocess=Classification("y", 1)),
        ],
    )
    def test_what_is_written_is_read_again(self, tmp_path: Path, pipeline: Pipeline) -> None:
        pipeline.write(tmp_path)
        assert Pipeline.read(tmp_path) == pipeline

    def test_no_file_is_no_pipeline(self, tmp_path: Path) -> None:
        assert Pipeline.read(tmp_path) is None

    @pytest.mark.parametrize(
        ("part", "changes", "words"),
        [
            (None, {"preproces": None}, "the pipeline has no field 'preproces': did you mean 'preprocess'?"),
            (None, {"preprocess": 3}, "a step is an object whose kind is image or text"),
            (None, {"preprocess": {"kind": "sound"}}, "a step is an object whose kind is image or text"),
            (None, {"preprocess": {"kind": ["image"]}}, "a step is an object whose kind is image or text"),
            (None, {"postprocess": {"kind": "image"}}, "a step is an object whose kind is classification"),
            (IMAGE, {"resise": 3}, "the step image has no field 'resise': did you mean 'resize'?"),
            (IMAGE, {"zzz": 3}, "the step image has no field 'zzz': there are input, output, resize"),
            (IMAGE, {"std": ...}, "the step image lacks std"),
            (IMAGE, {"input": 3}, "input and output are names"),
            (IMAGE, {"output": ""}, "input and output are names"),
            (IMAGE, {"mode": "CMYK"}, "mode is RGB or L"),
            (IMAGE, {"mode": "L"}, "mean has 1 numbers for mode L"),
            (IMAGE, {"resize": 0}, "resize is"),
            (IMAGE, {"resize": "224"}, "resize is"),
            (IMAGE, {"resize": [224]}, "resize is"),
            (IMAGE, {"resize": [224, 0.5]}, "resize is"),
            (IMAGE, {"resize": True}, "resize is"),
            (IMAGE, {"crop": 2}, "crop is"),
            (IMAGE, {"crop": [5, 6]}, "crop is larger than resize"),
            (IMAGE, {"resize": 4, "crop": [4, 5]}, "crop is larger than resize"),
            (IMAGE, {"interpolation": "nearest-ish"}, "interpolation is one of bilinear"),
            (IMAGE, {"mean": [0.5]}, "mean has 3 numbers"),
            (IMAGE, {"mean": 0.5}, "mean has 3 numbers"),
            (IMAGE, {"mean": ["0", "0", "0"]}, "mean has 3 numbers"),
            (IMAGE, {"std": [1, 0, 1]}, "std has no zero"),
            (TEXT, {"input": None}, "input is the name"),
            (TEXT, {"outputs": {}}, "outputs names tensors for some of ids, attention_mask, type_ids"),
            (TEXT, {"outputs": {"words": "x"}}, "outputs names tensors for some of"),
            (TEXT, {"outputs": ["ids"]}, "outputs names tensors for some of"),
            (TEXT, {"outputs": {"ids": 3}}, "outputs names tensors"),
            (TEXT, {"max_length": "8"}, "max_length is a number"),
            (TEXT, {"max_length": 0}, "max_length is a number"),
            (TEXT, {"tokenizer": "../tokenizer.json"}, "tokenizer is the name of a file"),
            (TEXT, {"tokenizer": "/etc/passwd"}, "tokenizer is the name of a file"),
            (TEXT, {"sentences": 3}, "sentences is 1 or 2"),
            (TEXT, {"pad_id": -1}, "pad_id is"),
            (TEXT, {"pad_token": 1}, "pad_token is"),
            (Classification(), {"k": 0}, "k is 1 or more"),
            (Classification(), {"k": 2.5}, "k is 1 or more"),
            (Classification(), {"input": 1}, "input is the name"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_in_it_is_named(self, tmp_path: Path, part: Any, changes: dict[str, Any], words: str) -> None:
        document: dict[str, Any] = changes
        if part is not None:
            kept = {key: value for key, value in step_json(part).items() if changes.get(key) is not ...}
            where = "postprocess" if isinstance(part, Classification) else "preprocess"
            document = {where: {**kept, **{key: value for key, value in changes.items() if value is not ...}}}
        (tmp_path / "pipeline.json").write_text(json.dumps(document), encoding="utf-8")
        with pytest.raises(PipelineError) as caught:
            Pipeline.read(tmp_path)
        assert words in str(caught.value)
        assert str(tmp_path / "pipeline.json") in str(caught.value)

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
    def test_what_is_no_json_object_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "pipeline.json").write_bytes(content)
        with pytest.raises(PipelineError, match=r"pipeline\.json is not a pipeline"):
            Pipeline.read(tmp_path)


def step_json(step: Any) -> dict[str, Any]:
    pipeline = Pipeline(postprocess=step) if isinstance(step, Classification) else Pipeline(step)
    (described,) = pipeline.as_json().values()
    assert isinstance(described, dict)
    return described
