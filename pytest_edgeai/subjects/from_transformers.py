"""Subject models from folders as transformers' `save_pretrained` writes them; listed without importing transformers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from pytest_edgeai.serving.pipeline import Classification, ImagePreprocess, Pipeline, PipelineError, TextPreprocess
from pytest_edgeai.serving.steps import Interpolation, TokenField
from pytest_edgeai.store import file_digest
from pytest_edgeai.subjects import SubjectError, SubjectModel, Training
from pytest_edgeai.subjects.metrics import Metric
from pytest_edgeai.subjects.pairs import ClassIndex, Convert, GivenExamples, ImagePair, TextPair, TokenPair, source_of

if TYPE_CHECKING:
    import torch

Task: TypeAlias = Literal["text-classification", "token-classification", "image-classification", "feature-extraction"]

_HEADS: Final[Mapping[Task, tuple[str, str]]] = {
    "text-classification": ("AutoModelForSequenceClassification", "ForSequenceClassification"),
    "token-classification": ("AutoModelForTokenClassification", "ForTokenClassification"),
    "image-classification": ("AutoModelForImageClassification", "ForImageClassification"),
    "feature-extraction": ("AutoModel", ""),
}
"""transformers' class for each task, and how the names of the models end that have its head."""
_INTERPOLATIONS: Final[Mapping[int, Interpolation]] = {
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
    4: "box",
    5: "hamming",
}
_LENGTH: Final = 128
_OFFSET_POSITIONS: Final = ("roberta", "xlm-roberta", "camembert", "longformer", "mpnet", "roberta-prelayernorm")
_UNCROPPED: Final = 384
_HASHED_BYTES: Final = 1 << 30  # beyond, reading a file at every collection takes longer than it is worth
_TOKENIZER: Final = "tokenizer.json"
_PREPROCESSOR: Final = "preprocessor_config.json"
_TEXT, _IMAGE, _PIXELS = "text", "image", "pixel_values"


@dataclass(frozen=True)
class FolderNetwork:
    """Returns the model in a folder as a network.

    Parameters
    ----------
    folder
        As `save_pretrained` writes it.
    task
        One of transformers' names.
    takes_images
        Whether it takes images and not texts.
    """

    folder: Path
    task: Task
    takes_images: bool

    def __call__(self) -> torch.nn.Module:
        """Load the network.

        Raises
        ------
        SubjectError
            transformers cannot load it.
        """
        import torch
        import transformers

        from pytest_edgeai.subjects.encoder import FeatureExtractor, ImageNetwork, SequenceClassifier

        try:
            model = getattr(transformers, _HEADS[self.task][0]).from_pretrained(
                self.folder, local_files_only=True, dtype=torch.float32
            )
        except Exception as error:
            raise SubjectError(f"{self.folder} cannot be loaded: {' '.join(str(error).split())[:300]}") from error
        if self.takes_images:
            return ImageNetwork(model, has_classes=self.task == "image-classification").eval()
        return (FeatureExtractor if self.task == "feature-extraction" else SequenceClassifier)(model).eval()


def subject_from_transformers(
    folder: Path | str,
    task: str,
    *,
    name: str,
    examples: GivenExamples,
    metrics: tuple[str | Metric, ...] | None,
    max_length: int | None,
    sentences: Literal[1, 2],
    training: Training | None,
) -> SubjectModel:
    """As `SubjectModel.from_transformers` says.

    Raises
    ------
    SubjectError
        The folder cannot be used for the task, or something else that is given.
    """
    known = {str(one): one for one in _HEADS}
    if task not in known:
        raise SubjectError(f"subject model {name}: task is one of {', '.join(known)}, not {task!r}")
    try:
        return _subject(_local(folder), known[task], name, examples, metrics, max_length, sentences, training)
    except (SubjectError, PipelineError) as error:
        raise SubjectError(f"subject model {name}: {error}") from None


def _subject(
    folder: Path,
    task: Task,
    name: str,
    examples: GivenExamples,
    metrics: tuple[str | Metric, ...] | None,
    max_length: int | None,
    sentences: Literal[1, 2],
    training: Training | None,
) -> SubjectModel:
    config = _read(folder, "config.json")
    labels = _labels(folder, config, task)
    takes_images = _takes_images(folder, task)
    step = _image_step(folder, config) if takes_images else _text_step(folder, config, max_length, sentences)
    convert: Convert
    if isinstance(step, ImagePreprocess):
        convert = ImagePair(step, ClassIndex(labels))
    elif task == "token-classification":
        convert = TokenPair(step, folder / _TOKENIZER, ClassIndex(labels))
    else:
        convert = TextPair(step, ClassIndex(labels))
    is_ranked = task in ("text-classification", "image-classification")
    return SubjectModel(
        name=name,
        task=f"{task} by {folder.name}",
        network=FolderNetwork(folder, task, takes_images),
        graph_inputs=step.produced(),
        examples=source_of(examples, convert, step),
        pipeline=Pipeline(step, Classification(k=min(5, len(labels))) if is_ranked else None),
        metrics=metrics or (_metric(task, len(labels)),),
        assets=() if takes_images else (folder / _TOKENIZER,),
        sources=(Path(__file__), Path(__file__).with_name("encoder.py")),
        libraries=("torch", "transformers", "safetensors"),
        key=_digest(folder),
        training=training,
    )


def _metric(task: Task, classes: int) -> str:
    if task == "feature-extraction":
        return "cosine"
    if task == "token-classification":
        return "accuracy"
    return "f1" if classes == 2 else "top1"


def _local(folder: Path | str) -> Path:
    """The folder; that of a model of the hub if it has been downloaded or can be."""
    path = Path(folder).absolute()
    if path.is_dir():
        return path
    if isinstance(folder, Path) or folder.startswith((".", "/")) or folder.count("/") > 1:
        raise SubjectError(f"there is no folder {path}")
    try:
        from huggingface_hub import snapshot_download

        try:
            return Path(snapshot_download(folder, local_files_only=True))
        except Exception:  # noqa: BLE001  # it is not in the cache, in whatever way
            return Path(snapshot_download(folder, allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model"]))
    except Exception as error:  # noqa: BLE001  # no library, no network, no such model: each with classes of its own
        raise SubjectError(
            f"there is no folder {path}, and {folder!r} cannot be downloaded from the hub "
            f"({type(error).__name__}): download the model into a folder and give its path"
        ) from None


def _read(folder: Path, file: str) -> Mapping[str, Any]:
    try:
        found = json.loads((folder / file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SubjectError(f"{folder} has no {file}: it is not a folder that save_pretrained wrote") from None
    except (OSError, ValueError) as error:
        raise SubjectError(f"{folder / file} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise SubjectError(f"{folder / file} is not a JSON object")
    return found


def _labels(folder: Path, config: Mapping[str, Any], task: Task) -> tuple[str, ...]:
    """Names of the classes; none where there is no head, which the folder has to hold for a task that needs one."""
    ending = _HEADS[task][1]
    architectures = [str(one) for one in config.get("architectures") or ()]
    if not any(one.endswith(ending) for one in architectures):
        raise SubjectError(
            f"{folder} holds {', '.join(architectures) or 'no known architecture'}, and {task} takes a model whose "
            f"class ends in {ending!r}: the head of another one would be random"
        )
    if not ending:
        return ()
    names = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}  # left out by transformers where it is this
    labels = tuple(str(names[number]) for number in sorted(names, key=int))
    if len(labels) < 2:
        raise SubjectError(f"{folder} has a model with one label: a regression is for SubjectModel.from_torch")
    return labels


def _takes_images(folder: Path, task: Task) -> bool:
    has_image, has_text = (folder / _PREPROCESSOR).is_file(), (folder / _TOKENIZER).is_file()
    if task == "feature-extraction":
        if has_image == has_text:
            state = "both" if has_image else "neither"
            raise SubjectError(
                f"{folder} has {state} of {_TOKENIZER} and {_PREPROCESSOR}, and one of them has to tell what is sent; "
                "a model of texts and images is for SubjectModel.from_torch"
            )
        return has_image
    wanted = _PREPROCESSOR if task == "image-classification" else _TOKENIZER
    if not (folder / wanted).is_file():
        auto = "AutoImageProcessor" if task == "image-classification" else "AutoTokenizer"
        raise SubjectError(f"{folder} has no {wanted}; {auto}.from_pretrained(…).save_pretrained(…) writes it")
    return task == "image-classification"


def _text_step(
    folder: Path, config: Mapping[str, Any], max_length: int | None, sentences: Literal[1, 2]
) -> TextPreprocess:
    tokenizer = _read(folder, _TOKENIZER)
    described = _read(folder, "tokenizer_config.json")
    given = described.get("pad_token") or (tokenizer.get("padding") or {}).get("pad_token")
    pad_token = given.get("content") if isinstance(given, dict) else given
    added = {one["content"]: one["id"] for one in tokenizer.get("added_tokens") or ()}
    vocabulary = tokenizer.get("model", {}).get("vocab")
    known = {**(vocabulary if isinstance(vocabulary, dict) else {}), **added}
    if not isinstance(pad_token, str) or pad_token not in known:
        raise SubjectError(f"the tokenizer of {folder} has no padding token: set tokenizer.pad_token and save it again")
    pad_id = known[pad_token]
    # RoBERTa and its kin count positions from the one behind the padding token's number.
    offset = pad_id + 1 if config.get("model_type") in _OFFSET_POSITIONS else 0
    limits = [described.get("model_max_length"), config.get("max_position_embeddings")]
    positions = min([int(one) - offset * number for number, one in enumerate(limits) if one], default=_LENGTH)
    if max_length is not None and max_length > positions:
        raise SubjectError(f"max_length is {max_length}, and {folder} takes {positions} tokens at most")
    outputs: dict[TokenField, str] = {"ids": "input_ids", "attention_mask": "attention_mask"}
    known_inputs = described.get("model_input_names") or ("token_type_ids",)
    if int(config.get("type_vocab_size") or 0) > 1 and "token_type_ids" in known_inputs:
        outputs["type_ids"] = "token_type_ids"
    length = min(_LENGTH, positions) if max_length is None else max_length
    return TextPreprocess(_TEXT, outputs, length, _TOKENIZER, sentences, pad_id, pad_token)


def _image_step(folder: Path, config: Mapping[str, Any]) -> ImagePreprocess:
    told = _read(folder, _PREPROCESSOR)
    factor = told.get("rescale_factor", 1 / 255)
    if not told.get("do_rescale", True) or abs(factor * 255 - 1) > 1e-6 or told.get("rescale_offset"):
        raise SubjectError(f"{folder / _PREPROCESSOR} scales pixels to other values than 0…1, which no pipeline does")
    resample = told.get("resample", 2)
    if resample not in _INTERPOLATIONS:
        raise SubjectError(f"{folder / _PREPROCESSOR} resizes by filter {resample} of pillow, which no pipeline has")
    resize = _sides(told.get("size"))
    crop: tuple[int, int] | None = None
    if not told.get("do_resize", True):
        raise SubjectError(f"{folder / _PREPROCESSOR} does not resize, and a network takes images of one size")
    if told.get("do_center_crop"):
        cropped = _sides(told.get("crop_size", told.get("size")))
        crop = (cropped, cropped) if isinstance(cropped, int) else cropped
    elif told.get("crop_pct") and isinstance(resize, int):  # of ConvNeXT
        crop = (resize, resize) if resize < _UNCROPPED else None
        resize = int(resize / told["crop_pct"]) if resize < _UNCROPPED else (resize, resize)
    if resize is None or (isinstance(resize, int) and crop is None):
        raise SubjectError(f"{folder / _PREPROCESSOR} gives no size that all images get: {told.get('size')}")
    channels = int(config.get("num_channels") or 3)
    if channels not in (1, 3):
        raise SubjectError(f"{folder} takes images of {channels} channels, and there are those of 1 and 3")
    normalizes = told.get("do_normalize", True)
    mean = tuple(map(float, told["image_mean"])) if normalizes and told.get("image_mean") else (0.0,) * channels
    std = tuple(map(float, told["image_std"])) if normalizes and told.get("image_std") else (1.0,) * channels
    mode: Literal["RGB", "L"] = "RGB" if channels == 3 else "L"
    return ImagePreprocess(_IMAGE, _PIXELS, resize, mean, std, mode, crop, _INTERPOLATIONS[resample])


def _sides(size: Any) -> tuple[int, int] | int | None:
    """(height, width), or the shorter side."""
    if isinstance(size, int):
        return (size, size)
    if isinstance(size, dict) and {"height", "width"} <= set(size):
        return (int(size["height"]), int(size["width"]))
    return int(size["shortest_edge"]) if isinstance(size, dict) and set(size) == {"shortest_edge"} else None


def _digest(folder: Path) -> str:
    """Of the files in a folder, not of those in folders below it, such as a training's checkpoints."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            state = path.stat()
            content = file_digest(path) if state.st_size < _HASHED_BYTES else f"{state.st_size} {state.st_mtime_ns}"
            digest.update(f"{path.name} {content}\n".encode())
    return digest.hexdigest()
