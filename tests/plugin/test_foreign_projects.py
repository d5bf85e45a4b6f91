"""Projects that have the plugin installed and do not mean it: nothing of theirs changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.plugin import forked
from tests.plugin.conftest import Project


def test_a_benchmark_of_another_project_is_saved_as_without_the_plugin(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_theirs(benchmark):\n    benchmark(sum, (1, 2))\n")
    documents = []
    for name, plugins in (("with", ()), ("without", ("-p", "no:edgeai"))):
        result = forked.run(["-p", "no:cacheprovider", f"--benchmark-save={name}", *plugins], pytester.path)
        assert result.ret == 0
        (saved,) = Path(pytester.path, ".benchmarks").rglob(f"*_{name}.json")
        documents.append(json.loads(saved.read_text(encoding="utf-8")))
    for document in documents:
        assert "data" not in document["benchmarks"][0]["stats"]
    assert documents[0].keys() == documents[1].keys()


def test_beside_trials_a_projects_own_benchmark_is_saved_without_its_data(project: Project) -> None:
    project.pytester.makepyfile(test_other="def test_theirs(benchmark):\n    benchmark(sum, (1, 2))\n")
    project.run("--benchmark-only", "--benchmark-save=one")
    (saved,) = (project.path / ".benchmarks").rglob("*_one.json")
    benchmarks = json.loads(saved.read_text(encoding="utf-8"))["benchmarks"]
    assert {one["name"] for one in benchmarks if "data" not in one["stats"]} == {"test_theirs"}
    assert len(benchmarks) == 9


def test_a_fixture_that_their_test_asks_for_and_nobody_defined_fails_that_test_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_forgotten(trial):
            pass

        def test_other():
            pass
        """
    )
    result = forked.run(["-p", "no:cacheprovider"], pytester.path)
    result.assert_outcomes(passed=1, errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["pytest-edgeai, whose fixtures this test asks for: there are no subject models: *"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_in_a_worker_too(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_forgotten(trial):\n    pass\n\ndef test_other():\n    pass\n")
    result = forked.run(["-p", "no:cacheprovider", "-n1"], pytester.path)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*there are no subject models: *"])


def test_values_that_their_hook_gives_for_a_name_of_ours_are_theirs(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        def pytest_generate_tests(metafunc):
            if "operator" in metafunc.fixturenames:
                metafunc.parametrize("operator", ["+", "-"])
        """
    )
    pytester.makepyfile("def test_theirs(operator):\n    assert operator in '+-'\n")
    result = forked.run(["-p", "no:cacheprovider"], pytester.path)
    result.assert_outcomes(passed=2)


def test_a_wrong_setting_fails_the_tests_concerned_beside_others_that_run(project: Project) -> None:
    project.pytester.makepyfile(test_other="def test_other():\n    pass\n")
    result = project.run("--edgeai-models=tyo")
    result.assert_outcomes(passed=1, errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*there is no model 'tyo'; did you mean 'toy'?*"])


def test_where_all_other_tests_are_skipped_a_wrong_setting_ends_the_session(project: Project) -> None:
    project.pytester.makepyfile(test_other="def test_other():\n    pass\n")
    result = project.run("--benchmark-only", "--edgeai-models=tyo")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *there is no model 'tyo'; did you mean 'toy'?*"])


def test_an_unusable_marker_fails_its_test_beside_others_unless_it_is_skipped(project: Project) -> None:
    project.pytester.makepyfile(
        test_wrong="import pytest\n\n@pytest.mark.edgeai(tier=['edge'])\ndef test_wrong(trial):\n    trial()\n",
        test_other="def test_other():\n    pass\n",
    )
    result = project.run("--benchmark-skip")
    result.assert_outcomes(passed=1, skipped=9)
    result = project.run("-k", "other or wrong")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*marker edgeai: there is no argument 'tier'; did you mean 'tiers'?*"])
