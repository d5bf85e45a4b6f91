"""Trials that are skipped were not measured: the session names them and is not green."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Project

ALL = ("toy-identity-mobile", "toy-identity-edge", "toy-worse-mobile", "toy-worse-edge")


def test_skipped_benchmarks_measure_nothing_and_end_with_exit_code_5(project: Project) -> None:
    result = project.run("--benchmark-skip")
    result.assert_outcomes(skipped=8)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["edgeai: nothing was measured: all trials were skipped, of *"])
    assert all(name in result.stdout.str() for name in ALL)


def test_who_skips_benchmarks_to_run_other_tests_is_not_told_that_these_failed(project: Project) -> None:
    project.pytester.makepyfile(test_other="def test_other():\n    pass\n")
    result = project.run("--benchmark-skip")
    result.assert_outcomes(skipped=8, passed=1)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["edgeai: nothing was measured: all trials were skipped, of *"])


def test_skip_marks_on_all_trials_are_exit_code_5_though_other_tests_pass(project: Project) -> None:
    project.pytester.makepyfile(
        test_suite="""
        import pytest

        pytestmark = pytest.mark.skip("not today")

        def test_strategy(trial):
            trial()
        """,
        test_other="def test_other():\n    pass\n",
    )
    result = project.run()
    result.assert_outcomes(skipped=8, passed=1)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_workers_that_skip_all_trials_end_with_exit_code_5(project: Project) -> None:
    result = project.run("-n2", "--benchmark-skip", subprocess=True)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize("mark", ['pytest.mark.skip("not today")', 'pytest.mark.skipif(True, reason="not today")'])
def test_skip_marks_on_half_of_the_trials_are_not_green(project: Project, mark: str) -> None:
    project.path.joinpath("conftest.py").open("a").write(
        f"""
import pytest

def pytest_collection_modifyitems(items):
    for item in items:
        if "worse" in item.nodeid:
            item.add_marker({mark})
"""
    )
    result = project.run("--benchmark-only")
    result.assert_outcomes(passed=4, skipped=4)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["toy-worse-edge: invalid: 2 of 2 trials are invalid, the first because its test was skipped: not today*"]
    )
    assert project.verdicts() == dict.fromkeys(ALL[:2], "pass") | dict.fromkeys(ALL[2:], "invalid")


@pytest.mark.parametrize(
    "arguments",
    [
        ("-k", "identity"),
        ("-m", "strategy(operator='identity')"),
        ("--edgeai-operators=identity",),
        ("--deselect=test_suite.py::test_strategy[toy-worse",),
    ],
)
def test_what_is_left_out_by_name_is_not_missed(project: Project, arguments: tuple[str, ...]) -> None:
    assert project.run("--benchmark-only", *arguments).ret == 0
    assert project.verdicts() == dict.fromkeys(ALL[:2], "pass")


def test_a_marker_that_leaves_nothing_of_the_selection_leaves_its_test_out(project: Project) -> None:
    project.pytester.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.edgeai(tiers=["edge"])
        def test_strategy(trial):
            trial()
        """
    )
    result = project.run("--benchmark-only", "--edgeai-tiers=mobile")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["edgeai: test_suite.py::test_strategy is left out: its marker and what the session *"])
    assert "INTERNALERROR" not in result.stdout.str()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("tiers='edge'", "tiers has to be a list of names (got 'edge')"),
        ("replicates=0", "replicates has to be 1 or more (got 0)"),
        ("replicates='x'", "replicates has to be 1 or more (got 'x')"),
    ],
)
def test_a_marker_that_cannot_be_used_is_one_sentence(project: Project, given: str, sentence: str) -> None:
    project.pytester.makepyfile(
        test_suite=f"import pytest\n\n@pytest.mark.edgeai({given})\ndef test_strategy(trial):\n    trial()\n"
    )
    result = project.run("--benchmark-only")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: the marker edgeai: {sentence}"])
