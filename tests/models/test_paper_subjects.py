"""The study's own models at full size: the right networks, and one sentence where weights or data are missing."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer

from fixtures import generated
from models import bert as small_bert
from models import paper
from models import roberta as small_roberta
from models.paper import bert, resnet, roberta
from pytest_edgeai.errors import SettingsError
from pytest_edgeai.measure.host import this_host
from pytest_edgeai.operators import registry
from pytest_edgeai.operators.preparation import Plan
from pytest_edgeai.settings_tables import Data
from pytest_edgeai.subjects import SubjectError, SubjectModel
from pytest_edgeai.subjects import resnet as family
from pytest_edgeai.subjects.resnet import ARCHITECTURES, Architecture, ResNet
from pytest_edgeai.subjects.weights import ImageNetwork, TextNetwork, Weights

ROOT = Path(__file__).parents[2]
RANDOM = Weights("resnet", "random")
GENERATED = Data(ilsvrc=Path("generated"), mrpc=Path("generated"))
TINY = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 500}


def _subject(name: str, weights: str = "random", data: Data = GENERATED, root: Path = ROOT) -> SubjectModel:
    return {one.name: one for one in paper.subjects({name: weights, "default": "random"}, data, root)}[name]


@pytest.fixture
def tiny_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    """One block a stage, and an eighth of the width or a quarter of the groups."""
    tiny = {
        "wide_resnet101_2": Architecture((1, 1, 1, 1), 1, 16),
        "wide_resnet50_2": Architecture((1, 1, 1, 1), 1, 8),
        "resnext101_64x4d": Architecture((1, 1, 1, 1), 16, 4),
    }
    monkeypatch.setattr(family, "ARCHITECTURES", {**ARCHITECTURES, **tiny})


@pytest.fixture
def meta_device() -> Iterator[None]:
    """Shapes without memory."""
    with torch.device("meta"):
        yield


@pytest.mark.parametrize(
    ("architecture", "parameters"),
    [
        ("wide_resnet101_2", 126_886_696),
        ("resnext101_64x4d", 83_455_272),
        ("wide_resnet50_2", 68_883_240),
        ("resnext50_32x4d", 25_028_904),
    ],
)
def test_image_networks_have_as_many_parameters_as_torchvisions(
    meta_device: None, architecture: str, parameters: int
) -> None:
    network = ResNet(ARCHITECTURES[architecture])
    assert sum(one.numel() for one in network.parameters()) == parameters


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_parameters_are_named_as_torchvisions_are(meta_device: None, architecture: str) -> None:
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = {"conv1.weight", "fc.weight", "fc.bias", *(f"bn1.{one}" for one in norm)}
    for stage, blocks in enumerate(ARCHITECTURES[architecture].layers, start=1):
        for block in range(blocks):
            prefix = f"layer{stage}.{block}"
            for number in (1, 2, 3):
                names |= {f"{prefix}.conv{number}.weight", *(f"{prefix}.bn{number}.{one}" for one in norm)}
        prefix = f"layer{stage}.0.downsample"
        names |= {f"{prefix}.0.weight", *(f"{prefix}.1.{one}" for one in norm)}
    network = ResNet(ARCHITECTURES[architecture])
    assert set(network.state_dict()) == names
    assert network.state_dict()["layer4.0.downsample.0.weight"].shape == (2048, 1024, 1, 1)


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (_subject("bert").network, 109_483_778),
        (_subject("roberta").network, 124_647_170),
        (bert.student(RANDOM), 28_764_674),
        (roberta.student(RANDOM), 38_873_602),
    ],
    ids=["bert", "roberta", "bert student", "roberta student"],
)
def test_text_networks_have_as_many_parameters_as_the_hubs(
    meta_device: None, network: TextNetwork, parameters: int
) -> None:
    assert sum(one.numel() for one in network().parameters()) == parameters


def test_students_are_half_the_depth_or_less(meta_device: None) -> None:
    for name in ("resnet", "resnext"):
        subject = _subject(name)
        assert subject.training is not None
        teacher, student = subject.network, subject.training.student
        assert isinstance(teacher, ImageNetwork)
        assert isinstance(student, ImageNetwork)
        assert sum(ARCHITECTURES[student.architecture].layers) < sum(ARCHITECTURES[teacher.architecture].layers) / 2 + 1


def test_listing_them_imports_nothing_heavy() -> None:
    script = (
        "import sys; from pathlib import Path; from models import paper; "
        "from pytest_edgeai.settings_tables import Data; "
        "print(len(paper.subjects({'default': 'random'}, Data(), Path()))); "
        "print([m for m in ('torch', 'transformers', 'huggingface_hub', 'onnxruntime', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["4", "[]"]


def test_random_weights_are_the_same_every_time(tiny_architecture: None) -> None:
    network = ImageNetwork("wide_resnet101_2", "", RANDOM)
    generator = torch.get_rng_state()
    first, second = network().state_dict(), network().state_dict()
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_weights_by_path_are_those_of_the_file(tiny_architecture: None, tmp_path: Path, suffix: str) -> None:
    from safetensors.torch import save_file

    path = tmp_path / f"weights.{suffix}"
    state = {
        name: torch.full_like(one, 2)
        for name, one in ImageNetwork("wide_resnet101_2", "", RANDOM)().state_dict().items()
    }
    torch.save(state, path) if suffix == "pth" else save_file(state, path)
    loaded = ImageNetwork("wide_resnet101_2", "", Weights("resnet", "path", path))()
    assert all(bool((one == 2).all()) for one in loaded.state_dict().values())
    assert not loaded.training


def test_weights_that_do_not_fit_are_one_sentence_that_names_the_setting(
    tiny_architecture: None, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"fc.weight": torch.zeros(1)}, path)
    for content in (None, b"not torch's"):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(
            SubjectError, match=r"weights of resnet cannot be loaded from .*weights.pth.*set weights.resnet"
        ):
            ImageNetwork("wide_resnet101_2", "", Weights("resnet", "path", path))()


def test_a_hub_that_does_not_answer_is_one_sentence_that_names_the_setting(
    tiny_architecture: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **keywords: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    with pytest.raises(SubjectError, match=r"https://\S+\.pth: no route to host; set weights.resnet .* random"):
        ImageNetwork("wide_resnet101_2", resnet.URL, Weights("resnet"))()


def test_text_weights_by_path_are_those_of_the_folder(tmp_path: Path) -> None:
    weights = Weights("bert", "path", tmp_path)
    with pytest.raises(SubjectError, match=r"weights of bert cannot be loaded from .*set weights.bert"):
        TextNetwork("bert", bert.HUB_ID, weights)()
    network = TextNetwork("bert", bert.HUB_ID, Weights("bert", "random"), TINY)()
    network.model.save_pretrained(tmp_path)
    loaded = TextNetwork("bert", bert.HUB_ID, weights)()
    tokens = torch.tensor([[2, 5, 7, 3]])
    with torch.inference_mode():
        assert torch.equal(loaded(tokens, torch.ones_like(tokens)), network(tokens, torch.ones_like(tokens)))


def test_a_student_of_another_vocabulary_keeps_its_layers_and_gets_a_table_of_its_own(tmp_path: Path) -> None:
    TextNetwork("bert", "", Weights("bert", "random"), TINY)().model.save_pretrained(tmp_path)
    student = TextNetwork("bert", "", Weights("bert", "path", tmp_path), changed={"vocab_size": 600})()
    weights = dict(student.model.named_parameters())
    origin = dict(TextNetwork("bert", "", Weights("bert", "path", tmp_path))().model.named_parameters())
    table, layer = "bert.embeddings.word_embeddings.weight", "bert.encoder.layer.0.output.dense.weight"
    assert weights[table].shape == (600, 32)
    assert torch.equal(weights[layer], origin[layer])


@pytest.mark.parametrize(
    ("name", "weights", "data", "sentence"),
    [
        ("resnet", "absent.pth", GENERATED, "weights.resnet: /root/absent.pth does not exist; "),
        ("bert", "absent", GENERATED, "weights.bert: /root/absent does not exist; "),
        ("resnext", "hub", Data(), "data.ilsvrc is not set: name the folder of "),
        ("resnet", "random", Data(ilsvrc=Path("absent")), "data.ilsvrc: there is no folder /root/absent"),
        ("roberta", "random", Data(mrpc=Path("absent")), "data.mrpc: /root/absent has no train.tsv and no dev.tsv"),
    ],
)
def test_what_is_missing_is_said_in_a_sentence_that_names_the_setting(
    name: str, weights: str, data: Data, sentence: str
) -> None:
    missing = _subject(name, weights, data, Path("/root")).missing
    assert missing.startswith(sentence)
    assert "\n" not in missing
    others = {one.name: one.missing for one in paper.subjects({"default": "random"}, Data(), ROOT)}
    assert set(others.values()) == {""}


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    assert _subject("bert", str(tmp_path)).missing.startswith(f"weights.bert: {tmp_path} has no tokenizer.json")
    (tmp_path / "tokenizer.json").write_bytes(small_bert.TOKENIZER.read_bytes())
    subject = _subject("bert", str(tmp_path))
    assert (subject.missing, subject.assets) == ("", (tmp_path / "tokenizer.json",))


def test_weights_of_an_unknown_model_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"there is no model 'resnt'; did you mean 'resnet'\?"):
        paper.subjects({"resnt": "random"}, Data(), ROOT)


def test_where_weights_are_random_or_samples_generated_accuracy_is_not_measured(tmp_path: Path) -> None:
    assert _subject("resnet").unmeasured == "random weights, generated samples"
    assert _subject("resnet", data=Data()).unmeasured == "random weights, generated samples"
    (tmp_path / "weights").touch()
    assert _subject("resnet", "weights", root=tmp_path).unmeasured == "generated samples"
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / name).write_text("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n", encoding="utf-8")
    assert _subject("bert", data=Data(mrpc=tmp_path)).unmeasured == "random weights"


def test_where_weights_come_from_decides_the_artifact(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"a")
    keys = [
        (one.key, one.sources)
        for one in (_subject("resnet"), _subject("resnet", "hub"), _subject("resnet", str(tmp_path / "a.pth")))
    ]
    assert len({repr(key) for key in keys}) == 3


def test_generated_photographs_are_as_large_as_photographs() -> None:
    payloads = [sample.inputs["image"][0] for sample in generated.photographs("calibration")]
    assert np.mean([len(payload) for payload in payloads]) == pytest.approx(generated.PHOTO_BYTES, rel=0.2)
    assert {Image.open(io.BytesIO(payload)).size for payload in payloads} == {(500, 375)}
    assert payloads == [sample.inputs["image"][0] for sample in generated.photographs("calibration")]


@pytest.mark.parametrize("tokenizer", [small_bert.TOKENIZER, small_roberta.TOKENIZER])
def test_generated_sentence_pairs_fill_128_tokens(tokenizer: Path) -> None:
    encoder = Tokenizer.from_file(str(tokenizer))
    pairs = [[text.decode() for text in sample.inputs["text"][0]] for sample in generated.sentence_pairs("validation")]
    assert min(len(encoder.encode(*pair).ids) for pair in pairs) >= 128


def test_a_full_size_definition_is_exported_quantized_and_evaluated(
    tiny_architecture: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generated, "COUNTS", {"train": 4, "calibration": 4, "validation": 4})
    operators = registry.instantiate(registry.merged([]), {"sptq": {"batch": 2}})
    plan = Plan(tmp_path, {"resnext": _subject("resnext")}, operators, this_host())
    sizes = []
    for operator in ("identity", "sptq"):
        prepared = plan.prepare("resnext", operator, lambda text: None, lambda text: None)
        assert prepared.evaluation.metrics == {}
        assert prepared.evaluation.unmeasured == "random weights, generated samples"
        assert prepared.evaluation.predictions.ranked.shape == (4, 5)
        sizes.append(prepared.artifact.entry.files["model.onnx"])
    assert sizes[1] < 0.35 * sizes[0]
    # of 4, 8, 16 and 32 channels a group
    assert prepared.artifact.entry.provenance["convolutions_with_merged_groups"] == 2


@pytest.mark.parametrize("operator", ["qat", "distilled"])
def test_a_full_size_definition_is_trained(
    tiny_architecture: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operator: str
) -> None:
    monkeypatch.setattr(generated, "COUNTS", {"train": 4, "calibration": 4, "validation": 4})
    operators = registry.instantiate(registry.merged([]), {operator: {"training_samples": 4, "batch": 2}})
    plan = Plan(tmp_path, {"resnet": _subject("resnet")}, operators, this_host())
    prepared = plan.prepare("resnet", operator, lambda text: None, lambda text: None)
    assert prepared.artifact.entry.provenance["training_samples"] == 4
    assert plan.find("resnet", operator) is not None
