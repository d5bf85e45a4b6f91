"""Subject models from folders that transformers' `save_pretrained` wrote, for each of the tasks."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from pytest_edgeai import Classification, ImagePreprocess, SubjectError, SubjectModel, TextPreprocess
from pytest_edgeai.measure.host import this_host
from pytest_edgeai.operators.identity import Identity, IdentityParameters
from pytest_edgeai.operators.preparation import Plan

WORDS = ("good", "bad", "day", "night", "was", "the", "un", "##kind")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
OPERATORS: Any = {"identity": Identity(IdentityParameters())}
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
LABELS = {0: "negative", 1: "positive"}
TEXTS = [(f"the {noun} was {word}", label) for noun in ("day", "night") for word, label in (
    ("good", "positive"), ("bad", "negative"))] * 3  # fmt: skip


def write_tokenizer(folder: Path) -> None:
    plain = Tokenizer(models.WordPiece({word: n for n, word in enumerate((*SPECIAL, *WORDS))}, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    plain.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=plain, **names).save_pretrained(folder)  # type: ignore[no-untyped-call, unused-ignore]


def write_model(folder: Path, head: str, **options: Any) -> None:
    torch.manual_seed(0)
    family = "ViT" if "Image" in head or head == "image" else "Bert"
    size = {"image_size": 16, "patch_size": 8} if family == "ViT" else {"vocab_size": len(SPECIAL) + len(WORDS)}
    config = getattr(transformers, f"{family}Config")(**SIZES, **size, **options)
    getattr(transformers, f"{family}{head if head[0].isupper() else 'Model'}")(config).save_pretrained(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each task, and images."""
    root = tmp_path_factory.mktemp("models")
    names = {"id2label": LABELS, "label2id": {name: number for number, name in LABELS.items()}}
    write_model(root / "text", "ForSequenceClassification", **names)
    write_model(root / "token", "ForTokenClassification", **names)
    write_model(root / "encoder", "text")
    for folder in ("text", "token", "encoder"):
        write_tokenizer(root / folder)
    write_model(root / "image", "ForImageClassification", id2label={n: str(n) for n in range(3)})
    write_model(root / "features", "image")
    processor = {"size": {"height": 16, "width": 16}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3, "resample": 3}
    for folder in ("image", "features"):
        (root / folder / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    random = np.random.default_rng(0)
    for number in range(8):
        pixels = random.integers(0, 255, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{number}.png")
    return root


def examples_of(folders: Path, folder: str) -> Any:
    if folder in ("image", "features"):
        return [(folders / f"{number}.png", str(number % 3) if folder == "image" else None) for number in range(8)]
    if folder == "token":
        return [
            (["the", "unkind", "day"], ["negative", "positive", "negative"]),
            (["bad", "day"], [0, 1]),
            (["night"], [1]),
        ] * 4
    return TEXTS if folder == "text" else [(text, None) for text, _ in TEXTS]


TASKS = {
    "text": ("text-classification", "f1", (2,)),
    "token": ("token-classification", "accuracy", (12, 2)),
    "image": ("image-classification", "top1", (3,)),
    "encoder": ("feature-extraction", "cosine", (12, 16)),
    "features": ("feature-extraction", "cosine", (5, 16)),
}


def subject(folders: Path, folder: str, **changes: Any) -> SubjectModel:
    options: dict[str, Any] = {"name": "theirs", "examples": examples_of(folders, folder)}
    if folder in ("text", "token", "encoder"):
        options["max_length"] = 12
    return SubjectModel.from_transformers(folders / folder, TASKS[folder][0], **(options | changes))


@pytest.mark.parametrize("folder", TASKS)
def test_the_network_answers_as_transformers_own_model_does(folders: Path, tmp_path: Path, folder: str) -> None:
    made = pickle.loads(pickle.dumps(subject(folders, folder)))
    assert made.metrics == (TASKS[folder][1],)
    feeds = made.pipeline.preprocess(made.examples.generate("calibration")[0].inputs, folders / folder)
    auto = {"text": "SequenceClassification", "token": "TokenClassification", "image": "ImageClassification"}
    name = f"AutoModelFor{auto[folder]}" if folder in auto else "AutoModel"
    theirs = getattr(transformers, name).from_pretrained(folders / folder)
    with torch.no_grad():
        tensors = {name: torch.from_numpy(array) for name, array in feeds.items()}
        ours, own = made.trained()(*tensors.values()), theirs(**tensors)
    expected = own.last_hidden_state if TASKS[folder][0] == "feature-extraction" else own.logits
    assert tuple(ours.shape[1:]) == TASKS[folder][2]
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("folder", ["token", "features"])
def test_answers_of_several_positions_are_exported_and_judged(folders: Path, tmp_path: Path, folder: str) -> None:
    made = subject(folders, folder)
    plan = Plan(tmp_path / "store", {"theirs": made}, OPERATORS, this_host())
    found = plan.prepare("theirs", "identity", lambda stage: None, lambda note: None)
    assert np.shape(found.evaluation.predictions.values)[1:] == TASKS[folder][2]
    assert 0 <= found.evaluation.metrics[TASKS[folder][1]] <= 100
    if folder == "features":
        assert found.evaluation.metrics["cosine"] == pytest.approx(100)


def test_the_preprocess_is_what_the_folder_says(folders: Path) -> None:
    text, image = (subject(folders, folder).pipeline.preprocess for folder in ("text", "image"))
    outputs = {"ids": "input_ids", "attention_mask": "attention_mask", "type_ids": "token_type_ids"}
    assert text == TextPreprocess("text", outputs, 12, "tokenizer.json", 1, 0, "[PAD]")  # type: ignore[arg-type]
    assert image == ImagePreprocess("image", "pixel_values", (16, 16), (0.5,) * 3, (0.25,) * 3, interpolation="bicubic")
    assert subject(folders, "image").pipeline.postprocess == Classification(k=3)
    assert subject(folders, "token").pipeline.postprocess is None


def test_images_become_what_transformers_own_processor_makes_of_them(folders: Path) -> None:
    made = subject(folders, "image")
    assert made.pipeline.preprocess is not None
    ours = made.pipeline.preprocess(made.examples.generate("calibration")[0].inputs, folders)["pixel_values"]
    processor = transformers.ViTImageProcessorPil.from_pretrained(folders / "image")  # type: ignore[attr-defined, unused-ignore]
    with Image.open(folders / "0.png") as opened:
        theirs = processor(opened, return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_label_of_a_word_is_that_of_its_first_token(folders: Path) -> None:
    first = subject(folders, "token").examples.generate("calibration")[0]
    assert first.inputs["text"].tolist() == [[b"the unkind day"]]
    assert first.reference == [-1, 0, 1, -1, 0, -1, -1, -1, -1, -1, -1, -1]  # un, ##kind


def test_listing_a_model_imports_neither_torch_nor_transformers(folders: Path) -> None:
    script = (
        "import sys\nfrom pytest_edgeai import SubjectModel\n"
        f"folder, examples = {str(folders / 'text')!r}, {TEXTS}\n"
        "SubjectModel.from_transformers(folder, 'text-classification', name='a', examples=examples)\n"
        "print([one for one in ('torch', 'transformers') if one in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_content_of_the_folder_decides_the_key(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "text", tmp_path / "text")
    before = subject(tmp_path, "text").key
    assert before == subject(folders, "text").key
    weights = tmp_path / "text" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    assert subject(tmp_path, "text").key != before


def _changed(root: Path, folder: str, file: str, **values: Any) -> Path:
    target = shutil.copytree(root / folder, root.parent / f"{folder}-{file}-{'-'.join(values)}", dirs_exist_ok=True)
    path = target / file
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **values}), encoding="utf-8")
    return target


@pytest.mark.parametrize(
    ("folder", "task", "file", "values", "sentence"),
    [
        ("text", "translation", "", {}, "task is one of text-classification, .*, not 'translation'"),
        (
            "encoder",
            "text-classification",
            "",
            {},
            "holds BertModel, and text-classification takes a model whose class",
        ),
        ("text", "image-classification", "", {}, "holds BertForSequenceClassification, and image-classification"),
        ("text", "text-classification", "config.json", {"id2label": {"0": "x"}}, "a model with one label"),
        ("text", "text-classification", "tokenizer_config.json", {"pad_token": None}, "has no padding token"),
        ("text", "text-classification", "config.json", {"max_position_embeddings": 8}, "max_length is 12, .* 8 tokens"),
        ("image", "image-classification", "preprocessor_config.json", {"resample": 0}, "resizes by filter 0"),
        ("image", "image-classification", "preprocessor_config.json", {"rescale_factor": 1}, "other values than 0…1"),
        ("image", "image-classification", "preprocessor_config.json", {"size": {"longest_edge": 9}}, "gives no size"),
    ],
)
def test_a_folder_that_does_not_fit_is_one_sentence(
    folders: Path, folder: str, task: str, file: str, values: dict[str, Any], sentence: str
) -> None:
    path = _changed(folders, folder, file, **values) if file else folders / folder
    with pytest.raises(SubjectError, match=f"^subject model theirs: .*{sentence}"):
        SubjectModel.from_transformers(
            path,
            task,
            name="theirs",
            examples=examples_of(folders, folder),
            max_length=12 if folder != "image" else None,
        )


@pytest.mark.parametrize(
    ("examples", "sentence"),
    [
        ([("good", "fine")] * 8, "example 0 is of no use: there is no label 'fine'; there are negative, positive"),
        ([(["good", "bad"], 1)] * 8, r"example 0 is of no use: \['good', 'bad'\] is not one text"),
    ],
)
def test_an_example_that_does_not_fit_is_one_sentence(folders: Path, examples: Any, sentence: str) -> None:
    with pytest.raises(SubjectError, match=sentence):
        subject(folders, "text", examples=examples)


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        ("./nothing", "there is no folder .*nothing"),
        ("someone/nothing", "'someone/nothing' cannot be downloaded .*: download the model into a folder and give its"),
    ],
)
def test_a_folder_that_is_not_there_is_one_sentence(
    folder: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SubjectError, match=sentence):
        SubjectModel.from_transformers(folder, "feature-extraction", name="theirs", examples=TEXTS)


def test_a_folder_without_a_fast_tokenizer_names_what_writes_it(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "text", tmp_path / "text")
    (tmp_path / "text" / "tokenizer.json").unlink()
    with pytest.raises(SubjectError, match=r"has no tokenizer.json; AutoTokenizer.from_pretrained.*writes it"):
        subject(tmp_path, "text")
