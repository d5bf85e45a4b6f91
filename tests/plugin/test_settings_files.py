"""Which settings file a session uses, whatever root folder pytest chooses, and that it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugin.conftest import SETTINGS, Project

BROKEN = SETTINGS.replace("default = 100", "default = 2")


@pytest.fixture
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has nothing to do with the project."""
    return tmp_path_factory.mktemp("elsewhere")


@pytest.mark.parametrize("option", ["--edgeai-store", "--edgeai-report"])
def test_a_path_among_the_options_drops_no_budget_though_pytest_chooses_the_root_folder_by_it(
    project: Project, elsewhere: Path, option: str
) -> None:
    project.settings(BROKEN)
    result = project.run("--benchmark-only", option, str(elsewhere))
    assert f"rootdir: {project.path}" not in result.stdout.str()  # else nothing is shown by this test
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"edgeai: settings {project.path}/edgeai.toml", "toy-worse-edge: fail: *"])


def test_settings_are_found_from_the_folder_of_the_tests(
    project: Project, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.settings(BROKEN)
    suites = project.path / "suites"
    suites.mkdir()
    (project.path / "test_suite.py").rename(suites / "test_suite.py")
    monkeypatch.chdir(elsewhere)
    result = project.run("--benchmark-only", "--edgeai-store", str(elsewhere), str(suites))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"edgeai: settings {project.path}/edgeai.toml"])
    assert (project.report / "results.json").is_file()


def test_a_session_without_settings_says_that_there_are_none(project: Project) -> None:
    (project.path / "edgeai.toml").unlink()
    result = project.run("--collect-only", "--edgeai-models=toy", "--edgeai-operators=identity")
    result.stdout.fnmatch_lines(["edgeai: settings by default, as there is no edgeai.toml and no *"])


def test_a_settings_file_that_would_not_be_used_is_refused_and_both_are_named(project: Project) -> None:
    suites = project.path / "suites"
    suites.mkdir()
    (project.path / "test_suite.py").rename(suites / "test_suite.py")
    (suites / "edgeai.toml").write_text(BROKEN, encoding="utf-8")
    result = project.run("--benchmark-only")
    assert result.ret == 0  # nobody expects settings to be taken from a folder that is not named
    result = project.run("--benchmark-only", "suites")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    both = f"{project.path}/edgeai.toml and in {suites}/edgeai.toml"
    result.stderr.fnmatch_lines([f"ERROR: there are settings in {both}, and a session uses one file: *"])


def test_paths_in_the_settings_file_start_at_its_folder(
    project: Project, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.settings('store = "own-store"\nreport = "own-reports"\n' + SETTINGS)
    monkeypatch.chdir(elsewhere)
    assert project.run("--benchmark-only", str(project.path)).ret == 0
    assert (project.path / "own-store" / "artifacts").is_dir()
    assert (project.path / "own-reports" / "latest" / "results.json").is_file()
    assert not (elsewhere / "reports").exists()
