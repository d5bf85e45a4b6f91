"""The suite's subject models: trained, light to list, and learnt from what they say they learnt from."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures.subjects import MORE, all_subjects, pytest_edgeai_subjects, small_subjects
from models import checkpoint
from pytest_edgeai.collection.options import Options
from pytest_edgeai.collection.state import State
from pytest_edgeai.settings import Settings
from pytest_edgeai.settings_tables import AccuracyBudgets, Budgets
from pytest_edgeai.subjects import Example, Split, SubjectModel

SUBJECTS = {subject.name: subject for subject in all_subjects()}
BY_GUESSING = {
    "top1": 1.0,  # of 100 classes
    "f1": 100 * 2 * 0.5 / 1.5,  # whoever calls everything a paraphrase
}
ROOT = Path(__file__).parents[2]


@functools.cache
def generated(generate: Callable[[Split], Sequence[Example]], split: Split) -> Sequence[Example]:
    """Examples, which several models have in common and which take seconds to draw."""
    return generate(split)


@pytest.fixture(params=SUBJECTS)
def subject(request: pytest.FixtureRequest) -> SubjectModel:
    return SUBJECTS[request.param]


def test_there_is_one_of_each_family() -> None:
    assert [subject.name for subject in small_subjects()] == ["resnet", "resnext", "bert", "roberta"]
    assert list(SUBJECTS) == ["resnet", "resnext", "bert", "roberta", *MORE]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(), False),
        (Settings(models=("resnet", "bert")), False),
        (Settings(models=("mobilenet",)), True),
        (Settings(budgets=Budgets(accuracy_drop_pp=AccuracyBudgets(models={"mobilenet": {"sptq": 3.0}}))), True),
    ],
)
def test_mobilenet_is_there_where_a_setting_names_it(settings: Settings, expected: bool) -> None:
    state = State(Options({}, 0, False, None, 0, None, None, None, False, False, False), settings=settings)
    plugins = SimpleNamespace(get_plugin=lambda name: state)
    config: Any = SimpleNamespace(pluginmanager=plugins, getoption=lambda name: None)
    found = [subject.name for subject in pytest_edgeai_subjects(config)]
    assert found[:4] == ["resnet", "resnext", "bert", "roberta"]
    assert ("mobilenet" in found) is expected


def test_listing_them_imports_nothing_heavy() -> None:
    script = (
        "import sys; from fixtures.subjects import all_subjects; all_subjects(); "
        "print([m for m in ('torch', 'transformers', 'onnxruntime', 'sklearn', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_definitions_can_be_sent_to_the_process_that_builds(subject: SubjectModel) -> None:
    assert pickle.loads(pickle.dumps(subject)) == subject


def test_files_are_there_and_small(subject: SubjectModel) -> None:
    for path in (*subject.assets, *subject.sources):
        assert path.is_file(), path
    weights = checkpoint.path_of(subject.name)
    assert weights in subject.sources
    assert weights.stat().st_size < 5_000_000
    assert sum(path.stat().st_size for path in subject.assets) < 100_000


def test_accuracy_is_far_above_guessing(subject: SubjectModel) -> None:
    pytest.importorskip("torch")
    from models.train import accuracy

    examples = dataclasses.replace(subject.examples, generate=functools.partial(generated, subject.examples.generate))
    measured = accuracy(dataclasses.replace(subject, examples=examples), subject.trained(), limit=150)
    metric = str(subject.metrics[0])
    assert measured[metric] > BY_GUESSING[metric] + (100 - BY_GUESSING[metric]) / 2
    assert measured.get("top5", 100.0) >= measured[metric]


def test_students_are_half_of_their_teachers_and_answer_as_those_do(subject: SubjectModel) -> None:
    torch = pytest.importorskip("torch")
    from models.lessons import graph_inputs

    assert subject.training is not None
    assert subject.training.student is not None
    inputs = graph_inputs(subject, generated(subject.examples.generate, "calibration")[:2])
    student, teacher = subject.training.student().eval(), subject.trained()
    with torch.no_grad():
        assert student(*inputs).shape == teacher(*inputs).shape
    sizes = [sum(one.numel() for one in network.parameters()) for network in (student, teacher)]
    assert sizes[0] < 0.65 * sizes[1]


def test_the_loss_of_a_right_answer_is_small(subject: SubjectModel) -> None:
    torch = pytest.importorskip("torch")
    assert subject.training is not None
    labels = torch.tensor([0, 1])
    right = torch.full((2, 100 if subject.metrics[0] == "top1" else 2), -20.0)
    right[labels, labels] = 20.0
    assert subject.training.loss(right, labels) < 1e-6
    assert subject.training.loss(-right, labels) > 10


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    checkpoint.save(torch.nn.Linear(2, 2), tmp_path / "other.safetensors")
    with pytest.raises(RuntimeError, match="size mismatch"):
        checkpoint.load(torch.nn.Linear(3, 2), tmp_path / "other.safetensors")


def test_weights_are_halves_on_disk_and_singles_in_memory(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    network[1].running_var.fill_(1e-9)  # nothing in half precision
    path = tmp_path / "network.safetensors"
    checkpoint.save(network, path)
    stored = load_file(path)
    assert stored["0.weight"].dtype == torch.float16
    assert stored["1.running_var"].dtype == torch.float32
    loaded = checkpoint.load(torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3)), path)
    assert loaded[0].weight.dtype == torch.float32
    assert torch.equal(loaded[0].weight, network[0].weight.half().float())
    assert loaded[1].running_var[0].item() == pytest.approx(1e-9)
    assert not loaded.training


@pytest.mark.parametrize("name", ["resnet", "mobilenet", "bert"])
def test_training_learns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from fixtures import paraphrases
    from models import train

    definition = importlib.import_module(f"models.{name}")
    few = generated(definition.SUBJECT.examples.generate, "calibration")[:16]

    def generate(split: Split) -> list[Example]:
        return list(few)

    pairs = paraphrases.pairs("calibration")[:32]
    monkeypatch.setattr(paraphrases, "pairs", lambda part, count=None: pairs)
    samples = dataclasses.replace(definition.SUBJECT.examples, generate=generate)
    subject = dataclasses.replace(definition.SUBJECT, examples=samples)
    torch.manual_seed(0)
    epochs = 3 if name == "bert" else 10  # an epoch of sentences is a course from the shortest on, of several passes
    recipe = dataclasses.replace(train.RECIPES[name], epochs=epochs, batch=8 if name == "bert" else 4)
    lesson = recipe.lesson(subject, definition.build().train())
    done, losses = zip(*train.fit(lesson, recipe), strict=True)
    assert len(losses) >= 40
    assert done[-1] == 1.0
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])


def test_sentences_are_learnt_from_the_shortest_on_in_batches_of_as_many_tokens() -> None:
    torch = pytest.importorskip("torch")
    from models import lessons

    lesson = object.__new__(lessons.Paraphrases)
    lesson._lengths = torch.arange(10, 60).repeat(20)
    lesson._course = (0.5, 1.0)
    batches = lesson.batches(8, 1, torch.Generator().manual_seed(0))
    seen = torch.cat(batches).tolist()
    assert sorted(seen[:500]) == sorted(lesson._lengths.argsort(stable=True)[:500].tolist())
    assert sorted(seen[500:]) == list(range(1000))
    lengths = [lesson._lengths[batch] for batch in batches]
    assert all(int(some.min()) * len(some) <= 8 * 25 for some in lengths)
    assert sum(int(some.max() - some.min()) for some in lengths) / len(lengths) < 12


@pytest.mark.parametrize("again", [False, True])
def test_a_trained_network_learns_again_from_what_it_has(again: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from fixtures import paraphrases
    from models import roberta, train

    pairs = paraphrases.pairs("calibration")[:16]
    monkeypatch.setattr(paraphrases, "pairs", lambda part, count=None: pairs)
    network = roberta.build()
    embeddings = network.model.get_input_embeddings()
    assert isinstance(embeddings, torch.nn.Embedding)
    before = embeddings.weight.detach().clone()
    train.RECIPES["roberta"].lesson(roberta.SUBJECT, network, again=again)
    assert torch.equal(before, embeddings.weight) is again


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_tokenizers_are_what_the_training_script_makes(name: str) -> None:
    pytest.importorskip("tokenizers")
    from models import vocabulary

    committed = SUBJECTS[name].assets[0].read_text(encoding="utf-8")
    assert vocabulary.MAKERS[name]().to_str(pretty=True) == committed


def test_the_training_script_knows_its_models(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    from models import train

    with pytest.raises(SystemExit):
        train.main(["resnot"])
    assert (
        "no subject model is called resnot; there are resnet, resnext, mobilenet, bert, roberta"
        in capsys.readouterr().err
    )
    with pytest.raises(SystemExit):
        train.main(["bert", "resnet", "--again"])
    assert "--again is for bert and roberta" in capsys.readouterr().err


def test_a_seed_trains_other_weights_beside_the_committed_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    from models import train
    from pytest_edgeai.operators.training import reproducible

    definition = importlib.import_module("models.mobilenet")
    few = definition.SUBJECT.examples.generate("calibration")[:16]

    def generate(split: Split) -> list[Example]:
        return list(few)

    samples = dataclasses.replace(definition.SUBJECT.examples, generate=generate)
    monkeypatch.setattr(definition, "SUBJECT", dataclasses.replace(definition.SUBJECT, examples=samples))
    recipe = dataclasses.replace(train.RECIPES["mobilenet"], epochs=3, batch=8)
    monkeypatch.setattr(train, "RECIPES", {"mobilenet": recipe})
    committed = checkpoint.path_of("mobilenet").read_bytes()
    for folder, seed in (("one", "1"), ("again", "1"), ("two", "2")):
        with reproducible(0):  # puts torch's switches back that a training sets
            assert train.main(["mobilenet", "--seed", seed, "--into", str(tmp_path / folder)]) == 0
        assert f"mobilenet, seed {seed}: validation" in capsys.readouterr().out
    one, again, two = ((tmp_path / name / "mobilenet.safetensors").read_bytes() for name in ("one", "again", "two"))
    assert one == again
    assert one != two
    assert checkpoint.path_of("mobilenet").read_bytes() == committed
