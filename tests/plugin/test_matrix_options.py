"""Which trials a session selects, in which order, and what it costs to look at them."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.plugin.conftest import SETTINGS, Project


def _ids(result: pytest.RunResult) -> list[str]:
    return re.findall(r"test_strategy\[([^\]]+)\]", result.stdout.str())


def test_collect_only_shows_the_matrix(project: Project) -> None:
    result = project.run("--collect-only", "-q")
    assert result.ret == 0
    assert sorted(_ids(result)) == sorted(
        f"toy-{operator}-{tier}-r{replicate}"
        for operator in ("identity", "worse")
        for tier in ("mobile", "edge")
        for replicate in range(2)
    )


def test_collect_only_says_what_would_be_measured(project: Project) -> None:
    result = project.run("--collect-only", "--edgeai-seed", "7")
    result.stdout.fnmatch_lines(
        ["*toy × identity, worse × mobile, edge: 4 strategies, 8 trials", "*2 replicates of 2 warm-up*seed 7"]
    )


def test_collect_only_imports_no_heavy_library(project: Project) -> None:
    code = (
        "import sys, pytest\n"
        "assert pytest.main(['--collect-only', '-q', '-p', 'no:cacheprovider']) == 0\n"
        "heavy = {'torch', 'onnxruntime', 'transformers', 'onnx', 'scipy', 'pandas', 'docker'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    # The toys import the modules that their backend needs; a project's own definitions do not have to.
    project.path.joinpath("toy_models.py").write_text(
        "from pytest_edgeai.serving.pipeline import Classification, Pipeline\n"
        "from pytest_edgeai.subjects import ExampleSource, SubjectModel\n"
        "SUBJECT = SubjectModel(name='toy', task='', network=print, graph_inputs=('x',), metrics=('top1',),\n"
        "    examples=ExampleSource('', print, ()), pipeline=Pipeline(None, Classification()))\n",
        encoding="utf-8",
    )
    project.path.joinpath("conftest.py").write_text(
        "import toy_models\ndef pytest_edgeai_subjects(config):\n    return [toy_models.SUBJECT]\n", encoding="utf-8"
    )
    project.settings("")
    subprocess.run([sys.executable, "-c", code], cwd=project.path, check=True)


def test_a_project_without_trials_never_meets_the_plugin(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import sys\n"
        "def test_nothing_of_ours_was_imported():\n"
        "    ours = [m for m in sys.modules if m.startswith('pytest_edgeai.')]\n"
        "    assert set(ours) <= {'pytest_edgeai.' + name for name in ('plugin', 'fixtures', 'hookspecs', 'errors',\n"
        "        'collection', 'collection.options', 'collection.state', 'collection.parametrization')}, ours\n"
        "    assert not {'pydantic', 'numpy', 'torch', 'onnxruntime', 'rich'} & set(sys.modules)\n"
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*edgeai:*")


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--edgeai-models=other", {"other"}),
        ("--edgeai-models=toy,other", {"toy", "other"}),
    ],
)
def test_models_are_selected_by_option(project: Project, option: str, expected: set[str]) -> None:
    ids = _ids(project.run("--collect-only", "-q", option))
    assert {one.split("-")[0] for one in ids} == expected


def test_operators_tiers_and_replicates_are_selected_by_option(project: Project) -> None:
    arguments = ("--edgeai-operators=worse", "--edgeai-tiers=cloud", "--edgeai-replicates=3")
    ids = _ids(project.run("--collect-only", "-q", *arguments))
    assert sorted(ids) == ["toy-worse-cloud-r0", "toy-worse-cloud-r1", "toy-worse-cloud-r2"]


def test_parallel_workers_say_it_too(project: Project) -> None:
    result = project.run("-n2", "--edgeai-models=tyo", subprocess=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.stderr.str().count("there is no model 'tyo'; did you mean 'toy'?") == 1
    assert "there is no model" not in result.stdout.str()
    assert "INTERNALERROR" not in result.stdout.str()


def test_keywords_select_as_a_person_expects(project: Project) -> None:
    ids = _ids(project.run("--collect-only", "-q", "-k", "worse and edge and not r1"))
    assert ids == ["toy-worse-edge-r0"]


def test_markers_select_by_the_parts_of_a_strategy(project: Project) -> None:
    ids = _ids(project.run("--collect-only", "-q", "-m", "strategy(tier='edge', operator='identity')"))
    assert sorted(ids) == ["toy-identity-edge-r0", "toy-identity-edge-r1"]


def test_a_marker_restricts_the_matrix_of_one_test(project: Project) -> None:
    project.pytester.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.edgeai(operators=["worse"], tiers=["edge"], replicates=1)
        def test_strategy(trial):
            trial()
        """
    )
    assert _ids(project.run("--collect-only", "-q")) == ["toy-worse-edge-r0"]


def test_an_unknown_argument_of_the_marker_is_named(project: Project) -> None:
    project.pytester.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.edgeai(operator=["worse"])
        def test_strategy(trial):
            trial()
        """
    )
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*marker edgeai: there is no argument 'operator'; did you mean 'operators'?*"])


def test_trials_are_interleaved_block_by_block(project: Project) -> None:
    ids = _ids(project.run("--collect-only", "-q", "--edgeai-seed=1", "--edgeai-replicates=4"))
    blocks = [ids[at : at + 4] for at in range(0, 16, 4)]
    for replicate, block in enumerate(blocks):
        assert {one.rsplit("-r", 1)[1] for one in block} == {str(replicate)}
        assert len({one.rsplit("-r", 1)[0] for one in block}) == 4
    orders = {tuple(one.rsplit("-r", 1)[0] for one in block) for block in blocks}
    assert len(orders) > 1


def test_a_seed_gives_its_order_again_and_another_seed_another(project: Project) -> None:
    arguments = ("--collect-only", "-q", "--edgeai-replicates=5")
    first = _ids(project.run(*arguments, "--edgeai-seed=1"))
    assert _ids(project.run(*arguments, "--edgeai-seed=1")) == first
    assert _ids(project.run(*arguments, "--edgeai-seed=2")) != first


def test_a_projects_own_fixtures_of_the_same_names_stay_its_own(project: Project) -> None:
    project.pytester.makepyfile(
        test_suite="""
        import pytest

        @pytest.fixture
        def tier():
            return "gold"

        def test_own_fixture(tier):
            assert tier == "gold"

        @pytest.mark.parametrize("operator", ["+", "-"])
        def test_own_parameter(operator):
            assert operator in "+-"
        """
    )
    project.run().assert_outcomes(passed=3)


def test_a_test_that_asks_for_an_artifact_runs_once_for_each_model_and_operator(project: Project) -> None:
    project.pytester.makepyfile(
        test_suite="""
        def test_artifact(artifact, subject, operator):
            assert (artifact.entry.folder / "model.onnx").is_file()
            assert (artifact.model, artifact.operator) == (subject.name, operator.name)
        """
    )
    result = project.run("-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_artifact[[]toy-identity[]]*", "*test_artifact[[]toy-worse[]]*"])


def test_a_test_can_send_its_own_requests_to_a_deployment(project: Project) -> None:
    project.pytester.makepyfile(
        test_suite="""
        import numpy as np

        def test_answer(deployment, strategy):
            with deployment.client() as client:
                answer = client.infer("any", {"x": np.eye(1, 16, dtype=np.float32)})
            assert answer.outputs["labels"][0, 0] == 0
        """
    )
    project.run("--edgeai-replicates=1").assert_outcomes(passed=4)


def test_help_lists_the_options(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--help")
    result.stdout.fnmatch_lines(["model compression on mobile, edge and cloud tiers*", "*--edgeai-models=A,B*"])


def test_a_chain_is_an_operator_like_any_other(project: Project) -> None:
    result = project.run("--edgeai-operators", "identity,worse>worse", "-m", "strategy(operator='worse>worse')")
    assert result.ret == 0
    assert set(project.verdicts()) == {"toy-worse>worse-mobile", "toy-worse>worse-edge"}
    (chain,) = (one for one in project.results["artifacts"] if one["operator"] == "worse>worse")
    assert [step["operator"] for step in chain["provenance"]["steps"]] == ["identity", "worse", "worse"]


def test_parts_of_a_chains_name_select_it_by_keyword(project: Project) -> None:
    result = project.run("--collect-only", "-q", "--edgeai-operators", "identity,worse>worse", "-k", "worse and edge")
    assert _ids(result) == ["toy-worse>worse-edge-r0", "toy-worse>worse-edge-r1"]


@pytest.mark.parametrize(
    ("chain", "sentence"),
    [
        ("sptq>qat", "*'sptq>qat' cannot be made: qat takes a network that can be trained, and sptq gives an int8*"),
        ("wors>sptq", "*there is no operator 'wors'; did you mean 'worse'*"),
    ],
)
def test_a_chain_that_cannot_be_made_says_why_at_collection(project: Project, chain: str, sentence: str) -> None:
    result = project.run("--edgeai-operators", chain)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([sentence])


def test_the_header_names_links_that_are_made_and_no_others(project: Project) -> None:
    def tiers_line(settings: str) -> str:
        project.settings(settings)
        lines = project.run("--collect-only").outlines
        return next(line for line in lines if line.startswith("edgeai: tiers "))

    assert "; links mobile-edge 200 Mbit/s; host " in tiers_line(SETTINGS)
    elsewhere = '\n[topology.tiers.edge]\ncores = 1\nmemory = "1 GiB"\nurl = "http://edge:8000"\n'
    line = tiers_line(SETTINGS + elsewhere)
    assert "edge at http://edge:8000, its link as it is; host " in line
    assert "links" not in line
