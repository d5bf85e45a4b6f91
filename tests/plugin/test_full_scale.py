"""Subject models whose accuracy is not measured, or that lack something: what a session says, never green."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugin.conftest import CONFTEST, SETTINGS, Project

ROOT = Path(__file__).parents[2]
_SUBJECTS = 'return [toy_models.subject("toy"), toy_models.subject("other")]'


def _change(project: Project, **fields: str) -> None:
    """Let the toy have other fields."""
    changed = ", ".join(f"{name}={value!r}" for name, value in fields.items())
    replaced = f'return [dataclasses.replace(toy_models.subject("toy"), {changed}), toy_models.subject("other")]'
    project.pytester.makeconftest("import dataclasses\n" + CONFTEST.replace(_SUBJECTS, replaced))


def test_accuracy_that_is_not_measured_is_said_in_every_report_and_is_not_green(project: Project) -> None:
    _change(project, unmeasured="random weights")
    project.settings(SETTINGS.replace("default = 100", "default = 0"))
    result = project.run("--benchmark-only")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    said = "accuracy: not measured for toy (random weights): no accuracy budget is judged"
    result.stdout.fnmatch_lines(
        [
            f"edgeai: {said}",
            "toy-worse-edge: inconclusive: accuracy: not measured *",
            "*What to do:*accuracy*",
            "*not green*",
        ]
    )
    summary = (project.report / "summary.md").read_text(encoding="utf-8")
    assert f"- {said}" in summary
    assert "| not measured |" in summary
    results = project.results
    assert (results["green"], said in results["remarks"]) == (False, True)
    for row in results["strategies"]:
        assert row["verdict"] == "inconclusive"
        assert row["accuracy_not_measured"] == "random weights"
        assert (row["metrics"], row["accuracy"], row["accuracy_drop"]) == ({}, None, None)
        assert row["median_s"] > 0


def test_a_latency_budget_is_judged_without_accuracy(project: Project) -> None:
    _change(project, unmeasured="random weights")
    budget = '[[budgets.latency]]\nstrategies = "toy-*-edge"\nmax_median_s = 1e-9\n'
    project.settings(SETTINGS.replace("replicates = 2", "replicates = 5") + budget)
    project.run("--benchmark-only")
    assert project.verdicts()["toy-worse-edge"] == "fail"
    assert project.verdicts()["toy-worse-mobile"] == "inconclusive"


def test_preparing_says_that_accuracy_is_not_measured(project: Project) -> None:
    _change(project, unmeasured="random weights")
    result = project.run("--edgeai-prepare")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*toy-identity: *accuracy: not measured*"])


def test_a_subject_that_lacks_something_is_refused_before_anything_is_built(project: Project) -> None:
    _change(project, missing="data.toys: there is no folder toys")
    result = project.run("--benchmark-only")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: data.toys: there is no folder toys"])
    assert not (project.path / "reports").exists()
    prepared = project.run("--edgeai-prepare")
    assert prepared.ret == pytest.ExitCode.USAGE_ERROR
    prepared.stderr.fnmatch_lines(["ERROR: data.toys: there is no folder toys"])


def test_a_subject_that_lacks_something_and_is_not_selected_is_in_nobodys_way(project: Project) -> None:
    _change(project, missing="data.toys: there is no folder toys")
    assert project.run("--benchmark-only", "--edgeai-models=other").ret == pytest.ExitCode.OK


def test_a_subject_that_an_operator_cannot_be_used_on_is_refused_before_anything_is_built(project: Project) -> None:
    picky = """

class Picky(toy_models.Worse):
    name = "picky"

    def incompatibility(self, subject):
        return "it has no wheels" if subject.name == "other" else ""
"""
    listed = CONFTEST.replace("toy_models.Slow]", "toy_models.Slow, Picky]")
    project.pytester.makeconftest(listed + picky)
    result = project.run("--benchmark-only", "--edgeai-models=toy,other", "--edgeai-operators=picky,worse>picky")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    because = "cannot be used on model other (--edgeai-models): it has no wheels"
    result.stderr.fnmatch_lines([f"ERROR: operator picky {because}", f"operator worse>picky {because}"])
    assert not (project.path / "reports").exists()


def _suite(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "suites", "-p", "no:cacheprovider", "-q", *arguments]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_the_suite_names_what_full_scale_lacks() -> None:
    done = _suite("--benchmark-only", "--edgeai-scale=paper", "--edgeai-models=resnet", "--edgeai-backend=process")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert done.stderr.startswith("ERROR: data.ilsvrc is not set: name the folder of the ILSVRC 2012 validation images")
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--edgeai-scale=papr"],
            "--edgeai-scale: there is no scale 'papr'; did you mean 'paper'? (known: ",
        ),
        (["--edgeai-weights=random"], "--edgeai-weights: no subject model of the scale 'small' uses it"),
    ],
)
def test_a_choice_that_there_is_not_is_one_sentence(arguments: list[str], sentence: str) -> None:
    done = _suite("--collect-only", *arguments)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert sentence in done.stderr


def test_the_suites_matrix_is_the_same_at_full_scale() -> None:
    small = _suite("--collect-only", "--edgeai-seed=1")
    full = _suite("--collect-only", "--edgeai-seed=1", "--edgeai-scale=paper", "--edgeai-weights=random")
    ids = [line for line in small.stdout.splitlines() if line.startswith("suites/")]
    assert len(ids) == 120
    assert ids == [line for line in full.stdout.splitlines() if line.startswith("suites/")]


@pytest.mark.parametrize("mode", [["--collect-only"], ["--edgeai-prepare"], ["--benchmark-only"]])
def test_a_subject_that_lacks_something_is_refused_whatever_is_asked_for(project: Project, mode: list[str]) -> None:
    _change(project, missing="data.toys: there is no folder toys")
    result = project.run(*mode)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: data.toys: there is no folder toys"])


@pytest.mark.parametrize("mode", ["--collect-only", "--edgeai-prepare"])
def test_weights_that_cannot_be_had_are_refused_unless_the_artifacts_are_built(project: Project, mode: str) -> None:
    assert project.run("--edgeai-prepare").ret == 0
    away = """
class Away:
    def __call__(self):
        raise AssertionError("the network is never asked for")

    def unreachable(self):
        return "the weights of toy cannot be loaded: nothing answers"
"""
    replaced = 'return [dataclasses.replace(toy_models.subject("toy"), network=Away())]'
    project.pytester.makeconftest("import dataclasses\n" + away + CONFTEST.replace(_SUBJECTS, replaced))
    result = project.run(mode, "--edgeai-store=empty")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: the weights of toy cannot be loaded: nothing answers"])
    assert not (project.path / "empty").exists()
    assert project.run(mode).ret == 0


def test_weights_are_looked_for_in_caches_before_their_server_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    from models.paper import bert
    from pytest_edgeai.subjects.hub import Fetched
    from pytest_edgeai.subjects.weights import ImageNetwork, TextNetwork, Weights

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    image = ImageNetwork("wide_resnet101_2", "http://127.0.0.1:9/resnet.pth", Weights("resnet"))
    text = TextNetwork("bert", bert.HUB_ID, Weights("bert"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for network, name in ((image, "resnet"), (text, "bert")):
        assert isinstance(network, Fetched)
        assert network.unreachable().startswith(f"the weights of {name} cannot be loaded from ")
        assert f"set weights.{name} in edgeai.toml to a path" in network.unreachable()
        random = dataclasses.replace(network, weights=Weights(name, "random"))
        assert not random.unreachable()

    cached = tmp_path / "hub" / "checkpoints" / "resnet.pth"
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert not image.unreachable()

    model = tmp_path / f"models--{bert.HUB_ID.replace('/', '--')}"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("1234")
    (model / "snapshots" / "1234").mkdir(parents=True)
    (model / "snapshots" / "1234" / "model.safetensors").touch()
    assert not text.unreachable()


def test_a_hub_that_cannot_be_reached_is_given_up_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    from pytest_edgeai.subjects.weights import Weights, tokenizer_of

    asked: list[str] = []

    def download(hub_id: str, name: str, *, local_files_only: bool = False) -> str:
        asked.append("cache" if local_files_only else "hub")
        raise LocalEntryNotFoundError("it is not in the cache")

    def unreachable(url: str) -> None:
        asked.append("length")
        raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", unreachable)
    tokenizer = tokenizer_of(Weights("bert"), "someone/bert", tmp_path / "stand-in.json", fetch=True)
    assert tokenizer.missing.startswith("the weights of bert cannot be loaded from the hub (someone/bert): Name or")
    assert asked == ["cache", "length"]  # the download itself would be tried six times in half a minute


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[data]\nmrpc = "generated"', "data.mrpc: none of the selected models uses it; bert and roberta would"),
        ("[data]\nimages = 200", ""),
        ('[weights]\nbert_student = "random"', "weights.bert_student: none of the selected models uses it; bert would"),
        ('[weights]\nresnet_student = "random"', ""),
    ],
)
def test_data_and_weights_of_models_that_the_settings_leave_out_are_refused(
    tmp_path: Path, text: str, sentence: str
) -> None:
    from models import paper
    from pytest_edgeai import SettingsError
    from pytest_edgeai.settings import load_settings

    (tmp_path / "edgeai.toml").write_text(f'scale = "paper"\nmodels = ["resnet"]\n{text}\n', encoding="utf-8")
    if not sentence:
        paper.refuse_unused(load_settings(tmp_path, {}))
        return
    with pytest.raises(SettingsError) as caught:
        paper.refuse_unused(load_settings(tmp_path, {}))
    assert str(caught.value).startswith(f"{tmp_path / 'edgeai.toml'}: {sentence}")
    # What the command line leaves out for once may stay in the file.
    (tmp_path / "edgeai.toml").write_text(f'scale = "paper"\n{text}\n', encoding="utf-8")
    paper.refuse_unused(load_settings(tmp_path, {"models": ("resnet",)}))
