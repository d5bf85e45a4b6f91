"""`cut = "all"`: every cut of every model's graph is a strategy, whatever process counts them, and fails alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.plugin.conftest import PROCESSES, Project

# Of the first graph the cut between product and normalization, which are computed as one in the whole, cannot be
# equal bit by bit; the second has one cut more.
CONFTEST = """
import numpy as np
import onnx
import toy_models
from onnx import TensorProto, helper, numpy_helper
from pytest_edgeai.operators import BuildError
from pytest_edgeai.operators.partition import Partition

def pytest_edgeai_subjects(config):
    return [toy_models.subject("toy"), toy_models.subject("other")]

NODES = {
    "toy": [("MatMul", "w0", "a"), ("BatchNormalization", "scale bias mean variance", "b"), ("MatMul", "w1", "logits")],
    "other": [("MatMul", "eye", "a"), ("Softplus", "", "b"), ("MatMul", "eye", "c"), ("MatMul", "w1", "logits")],
}

class Deep(toy_models.Plain):
    def build(self, job):
        toy_models.note_build(job, self.name)
        width, classes = toy_models.WIDTH, toy_models.CLASSES
        generator = np.random.default_rng(0)
        eye = np.eye(width)
        weights = {"eye": eye, "w0": eye + 0.05 * generator.normal(size=eye.shape), "w1": eye[:, :classes]}
        for name in ("bias", "mean", "scale", "variance"):
            weights[name] = 0.1 * generator.random(width) + (name in ("scale", "variance"))
        nodes, last = [], "x"
        for kind, others, made in NODES[job.subject.name]:
            nodes.append(helper.make_node(kind, [last, *others.split()], [made]))
            last = made
        graph = helper.make_graph(
            nodes,
            "deep",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", width])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes])],
            [numpy_helper.from_array(one.astype(np.float32), name) for name, one in weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, job.folder / "model.onnx")
        return {"engine": "onnx"}

class Copied(toy_models.Worse):
    name = "copied"
    def build(self, job):
        if toy_models.os.environ.get("TOY_FAULT") == "build" and job.subject.name == "toy":
            raise BuildError("the toy is broken: mend it")
        onnx.save(onnx.load(job.base.folder / "model.onnx"), job.folder / "model.onnx")
        return {"engine": "onnx"}

def pytest_edgeai_operators(config):
    return [Deep, Copied, Partition]
"""
SETTINGS = f"""
store = "fresh"
models = ["toy", "other"]
operators = ["identity", "partition"]
tiers = ["edge", "mobile+edge"]
{PROCESSES}
[operator_parameters.partition]
cut = "all"
"""
EVERY = [
    "other-identity-edge-r0",
    *(f"other-partition.{number}-mobile+edge-r0" for number in range(3)),
    "toy-identity-edge-r0",
    *(f"toy-partition.{number}-mobile+edge-r0" for number in range(2)),
]


@pytest.fixture
def cuts(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with an empty store, whose two models have two and three cuts; TOY_BUILDS is `builds.txt`."""
    project.pytester.makeconftest(CONFTEST)
    project.settings(SETTINGS)
    monkeypatch.setenv("TOY_BUILDS", str(project.path / "builds.txt"))
    return project


def _ids(result: pytest.RunResult) -> list[str]:
    return sorted(line.partition("[")[2].rstrip("]") for line in result.outlines if line.startswith("test_suite.py::"))


def test_collection_counts_the_cuts_of_each_model_once_and_says_that_it_does(cuts: Project) -> None:
    first = cuts.run("--collect-only")
    first.stdout.fnmatch_lines(["edgeai: cuts 1 of 2, toy-partition: ready after*", "edgeai: cuts 2 of 2, other-*"])
    first.stdout.fnmatch_lines(["*identity, partition.0, partition.1, partition.2 × edge, mobile+edge: 7 strategies*"])

    again = cuts.run("--collect-only", "-q")

    assert _ids(again) == EVERY
    assert cuts.path.joinpath("builds.txt").read_text(encoding="utf-8").split() == ["toy-identity", "other-identity"]


def test_workers_find_the_same_cuts_and_build_each_artifact_once(cuts: Project) -> None:
    result = cuts.run("--edgeai-prepare", "-n", "2", "-v", subprocess=True)

    result.assert_outcomes(passed=6, failed=1)
    result.stdout.fnmatch_lines(["*FAILED*edgeai-prepare::toy-partition.0*"])
    builds = cuts.path.joinpath("builds.txt").read_text(encoding="utf-8").split()
    assert sorted(builds) == ["other-identity", "toy-identity"]


def test_a_cut_that_is_not_equivalent_is_an_error_of_its_strategy_only(cuts: Project) -> None:
    result = cuts.run("--edgeai-models", "toy", "-k", "toy")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert cuts.verdicts() == {
        "toy-identity-edge": "pass",
        "toy-partition.0-mobile+edge": "invalid",
        "toy-partition.1-mobile+edge": "pass",
    }
    result.stdout.fnmatch_lines(["*the parts differ from the whole by * at optimisation level BASIC*"])
    made = {one["operator"]: one["provenance"] for one in cuts.results["artifacts"]}
    assert made["partition.1"]["cut"] == ["b"]
    # What partition joins in the tables, a single cut of it joins.
    assert "| edge | partition.1-mobile+edge |" in cuts.report.joinpath("summary.md").read_text(encoding="utf-8")


def test_chains_of_operators_and_of_three_tiers_have_every_cut(cuts: Project) -> None:
    cuts.settings(SETTINGS.replace('cut = "all"', 'cut = "all"\nchain = "mobile+edge+cloud"'))
    arguments = ("--collect-only", "-q", "--edgeai-operators", "copied>partition", "--edgeai-tiers")
    assert _ids(cuts.run(*arguments, "mobile+edge+cloud")) == [
        "other-copied>partition.0+1-mobile+edge+cloud-r0",
        "other-copied>partition.0+2-mobile+edge+cloud-r0",
        "other-copied>partition.1+2-mobile+edge+cloud-r0",
        "toy-copied>partition.0+1-mobile+edge+cloud-r0",
    ]


def test_a_model_whose_graph_cannot_be_made_fails_alone(cuts: Project, fault: Callable[[str], None]) -> None:
    fault("build")
    result = cuts.run("--edgeai-operators", "copied>partition", "--edgeai-tiers", "mobile+edge", "--edgeai-prepare")
    result.assert_outcomes(passed=5, failed=1)  # and the baseline of both
    result.stdout.fnmatch_lines(["*toy-copied>partition: failed*", "the toy is broken: mend it"])


def test_single_cuts_are_asked_for_by_number_and_those_that_are_not_there_refused(cuts: Project) -> None:
    cuts.settings(SETTINGS.replace('cut = "all"', ""))
    arguments = ("--edgeai-models", "other", "--edgeai-tiers", "mobile+edge", "--edgeai-operators")
    result = cuts.run("--edgeai-prepare", *arguments, "partition.1,copied>partition.2,partition.3")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*there is no cut 3: the graph has 3, numbered from 0*"])


def test_markers_and_budgets_that_name_the_operator_mean_every_cut_of_it(cuts: Project) -> None:
    cuts.settings(SETTINGS + '\n[[budgets.latency]]\nstrategies = "toy-partition.1-*"\nmax_median_s = 10\n')
    cuts.pytester.makepyfile(
        test_suite="""
            import pytest

            @pytest.mark.edgeai(operators=["partition"], models=["toy"])
            def test_strategy(trial):
                trial()
            """
    )
    assert _ids(cuts.run("--collect-only", "-q")) == [name for name in EVERY if name.startswith("toy-partition")]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("store =", 'baseline = "partition"\nstore =', "*baseline: partition with cut = 'all' is not one operator*"),
        ('"edge", "mobile+edge"', '"edge"', "*operator partition needs a chain of 2 tiers, for example mobile+edge*"),
        (
            "[budgets",
            "[[budgets.latency]]\nstrategies='toy-partition.2-*'\nmax_median_s=1\n[budgets",
            "*'toy-part*2-*'*",
        ),
    ],
)
def test_what_cannot_be_is_one_clear_error(cuts: Project, old: str, new: str, sentence: str) -> None:
    cuts.settings(SETTINGS.replace(old, new))
    result = cuts.run("--collect-only")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([sentence])
