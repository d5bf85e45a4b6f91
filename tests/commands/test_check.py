"""`edgeai check`: each thing that a session would stumble upon is told before anything is built."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from pytest_edgeai.commands import cli
from pytest_edgeai.commands.check import examine
from pytest_edgeai.commands.doctor import show
from tests.operators.graph_subjects import WIDTH

SETTINGS = """
tiers = ["mobile", "edge"]
operators = ["identity", "sptq"]
replicates = 3

[subjects.price]
graph = "price.onnx"
examples = "houses.npz"
metrics = ["mae", "r2"]
"""


@pytest.fixture
def project(folder: Path) -> Path:
    """A project that can be measured."""
    settings(folder, SETTINGS)
    return folder


def settings(folder: Path, text: str) -> None:
    (folder / "edgeai.toml").write_text(text, encoding="utf-8")


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code and the findings."""
    capsys.readouterr()
    code = cli.main(["check", "--json", *arguments])
    return code, {one["what"]: one for one in json.loads(capsys.readouterr().out)}


def test_all_is_well(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = told(capsys)
    assert code == 0
    assert {one["level"] for one in found.values()} == {"fine"}
    assert found["price: graph"]["sentence"].endswith(f"it takes x FP32 [1, {WIDTH}] and gives y FP32 [1, 1]")
    assert found["price: examples"]["figures"]["validation"] == 30
    assert found["price: mae"]["figures"]["value"] == pytest.approx(0.01, abs=0.01)
    assert found["operator sptq"]["sentence"] == "can be used; runs on mobile, edge"
    session = found["session"]["figures"]
    assert (session["trials"], session["strategies"], session["requests"]) == (12, 4, 12)
    median_s = found["price: examples"]["figures"]["median_s"]
    assert session["estimate_s"] >= 12 * 12 * median_s > 0
    assert not (project / "reports").exists()


def test_people_read_sentences(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(project)]) == 0
    out = capsys.readouterr().out
    assert "price: r2: R² 0.99" in out
    assert "12 trials for a test that requests trial: 4 strategies × 3 replicates" in out
    assert len(out.splitlines()) == len(examine(project))


def test_on_a_terminal_no_line_is_longer_than_it_is_wide(project: Path) -> None:
    shown = io.StringIO()
    show(examine(project), Console(file=shown, force_terminal=True, width=60, color_system=None))
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= 60
    assert " ".join(" ".join(lines).split()).count("4 strategies × 3 replicates") == 1


@pytest.mark.parametrize(
    ("changes", "what", "sentence"),
    [
        ({"price.onnx": "prise.onnx"}, "settings", "subjects.price.graph: there is no file"),
        ({"price.onnx": "houses.npz"}, "price: graph", "houses.npz is not an ONNX file"),
        ({'"mae", ': '"maee", '}, "settings", "there is no metric 'maee'; did you mean 'mae'?"),
        ({'"mae", ': '"top1", '}, "price: top1", "metric top1: "),
        ({'"sptq"]': '"qat"]'}, "operator qat", "cannot be used on price: qat changes a torch network"),
        ({'"edge"]': '"egde"]'}, "selection", "there is no tier 'egde'; did you mean 'edge'?"),
        ({"[subjects.price]": "[subject.price]"}, "settings", "there is no setting 'subject'"),
    ],
)
def test_what_cannot_be_measured_is_told(
    project: Path, changes: dict[str, str], what: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SETTINGS
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    settings(project, text)
    code, found = told(capsys)
    assert code == 1
    assert found[what]["level"] == "broken"
    assert sentence in found[what]["sentence"]


@pytest.mark.parametrize(
    ("arrays", "what", "sentence"),
    [
        ({"y": np.zeros((40, WIDTH), np.float32)}, "settings", "has the arrays y, and the inputs of price.onnx are x"),
        (
            {"x": np.zeros((40, WIDTH + 1), np.float32)},
            "price: examples",
            f"input 'x' has shape [1, {WIDTH + 1}], not [1, {WIDTH}]",
        ),
        ({"x": np.zeros((40, WIDTH))}, "price: examples", "input 'x' has datatype FP64, not FP32"),
        ({"x": np.zeros((4, WIDTH), np.float32)}, "price: examples", "has 4 examples, and 8 are needed"),
    ],
)
def test_examples_that_do_not_fit_are_told(
    project: Path, arrays: dict[str, Any], what: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    count = len(next(iter(arrays.values())))
    np.savez(project / "houses.npz", reference=np.arange(float(count)), **arrays)
    code, found = told(capsys)
    assert code == 1
    assert found[what]["level"] == "broken"
    assert sentence in found[what]["sentence"]


@pytest.mark.filterwarnings("ignore:Only one class is present")
def test_a_metric_that_ten_examples_say_nothing_about_is_asked_about_more(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = np.zeros(40, np.int64)
    labels[6] = 1  # validated on, and not among the ten
    np.savez(project / "houses.npz", x=np.zeros((40, WIDTH), np.float32), reference=labels)
    settings(project, SETTINGS.replace('["mae", "r2"]', '["sklearn.metrics.roc_auc_score"]'))
    code, found = told(capsys)
    assert code == 0, found
    assert found["price: sklearn.metrics.roc_auc_score"]["sentence"].endswith("on 30 examples")


def test_the_hooks_of_a_project_are_left_to_pytest(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "conftest.py").write_text("", encoding="utf-8")
    settings(project, "")
    code, found = told(capsys)
    assert code == 0
    assert "known to pytest only: pytest --benchmark-only --collect-only" in found["conftest.py"]["sentence"]
    assert found["subject models"]["level"] == "limited"
    (project / "conftest.py").unlink()
    code, found = told(capsys)
    assert (code, found["subject models"]["level"]) == (1, "broken")


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [('"mae", ', '"mine", ', "mine"), ("\n[subjects", "\n[operator_parameters.mine]\nof = 1\n\n[subjects", "mine")],
)
def test_what_a_hook_may_add_is_not_called_wrong(
    project: Path, before: str, after: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings(project, SETTINGS.replace(before, after))
    code, found = told(capsys)
    assert (code, found["settings"]["level"]) == (1, "broken")
    (project / "conftest.py").write_text("", encoding="utf-8")
    code, found = told(capsys)
    assert (code, found["settings"]["level"]) == (0, "limited")
    assert f"since {name} may be what a hook of conftest.py adds" in found["settings"]["sentence"]


def test_the_estimate_says_what_it_is_made_up_of(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, found = told(capsys)
    figures = found["session"]["figures"]
    parts = ("computing_s", "crossing_s", "probing_s", "starting_s")
    assert figures["estimate_s"] == pytest.approx(sum(figures[part] for part in parts))
    assert all(figures[part] > 0 for part in parts)
    assert " computing + " in found["session"]["sentence"]
    assert figures["further_trials"] == figures["further_s"] == 0


def test_trials_that_a_tail_budget_may_add_are_counted(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limits = '\n[[budgets.latency]]\nstrategies = "price-identity-*"\nmax_p95_s = 1\n'
    settings(project, SETTINGS + "\n[budgets]\nmax_tail_requests = 150\n" + limits)
    _, found = told(capsys)
    sentence, figures = found["session"]["sentence"], found["session"]["figures"]
    usual, further = figures["trials"], figures["further_trials"]
    assert (usual, further) == (12, 2 * (15 - 3))
    assert figures["further_s"] == pytest.approx(figures["estimate_s"] / usual * further)
    assert f"up to {further} more trials where a percentile is undecided" in sentence


def test_a_slower_link_makes_the_estimate_longer_by_what_the_bytes_take(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, found = told(capsys)
    fast_s = found["session"]["figures"]["crossing_s"]
    settings(project, SETTINGS + '\n[topology.links.mobile-edge]\nrate = "2 Mbit/s"\n')
    _, found = told(capsys)
    assert found["session"]["figures"]["crossing_s"] == pytest.approx(100 * fast_s, rel=0.01)


def test_a_backend_that_there_is_not_is_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings(project, 'backend = "proces"' + SETTINGS)
    code, found = told(capsys)
    assert code == 1
    assert "backend: there is no backend 'proces'; did you mean 'process'?" in found["settings"]["sentence"]
