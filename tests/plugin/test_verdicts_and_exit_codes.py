"""What a session ends with: exit codes, verdicts, and that nothing broken is ever green."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.plugin.conftest import SETTINGS, Project

Fault = Callable[[str], None]


def test_a_session_in_which_all_is_well_is_green(project: Project) -> None:
    result = project.run("--benchmark-only")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*edgeai: 4 pass (green)*"])
    assert set(project.verdicts().values()) == {"pass"}


def test_a_broken_accuracy_budget_is_exit_code_1_though_every_test_passed(project: Project) -> None:
    project.settings(SETTINGS.replace("default = 100", "default = 2"))
    result = project.run("--benchmark-only")
    result.assert_outcomes(passed=8)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["toy-worse-edge: fail: top1 is * pp below the baseline's 100.00 % (budget 2 pp), beyond doubt: *"]
    )
    assert project.verdicts() == {
        "toy-identity-mobile": "pass",
        "toy-identity-edge": "pass",
        "toy-worse-mobile": "fail",
        "toy-worse-edge": "fail",
    }


def test_the_most_specific_accuracy_budget_holds(project: Project) -> None:
    project.settings(
        SETTINGS.replace("default = 100", "default = 0")
        + "operators = { worse = 1 }\n[budgets.accuracy_drop_pp.models.toy]\nworse = 100\n"
    )
    assert project.run("--benchmark-only").ret == pytest.ExitCode.OK


def test_settings_may_be_in_pyproject(project: Project) -> None:
    project.path.joinpath("edgeai.toml").unlink()
    text = SETTINGS.replace("[budgets", "[tool.edgeai.budgets").replace("default = 100", "default = 2")
    project.path.joinpath("pyproject.toml").write_text("[tool.edgeai]\n" + text, encoding="utf-8")
    assert project.run("--benchmark-only").ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("models = 3", "*edgeai.toml: models: it must be*"),
        ("modles = []", "*edgeai.toml: modles: there is no setting 'modles'; did you mean 'models'?*"),
        ("models = [", "*edgeai.toml cannot be read: *"),
        ("[topology.links.mobile-edge]\nrate = '0 Mbit/s'", "*topology.links.mobile-edge.rate: it must be*"),
        ("[topology.links.mobile-edge]\nrate = '200'", "*rate: expected a number with a unit (bit/s, *"),
        ("[budgets.accuracy_drop_pp.operators]\nwurse = 1", "*there is no operator 'wurse'; did you mean 'worse'?*"),
        ("[budgets.accuracy_floor.operators]\nwurse = 1", "*there is no operator 'wurse'; did you mean 'worse'?*"),
        ("[operator_parameters.worse]\nsize = 1", "*operator_parameters.worse.size: there is no parameter 'size'*"),
        ("baseline = 'idetity'", "*there is no operator 'idetity'; did you mean 'identity'?*"),
        ("[[budgets.latency]]\nstrategies = 'x'", "*budgets.latency.0: *give max_median_s, max_p95_s or max_p99_s*"),
        (
            "[[budgets.latency]]\nstrategies = 'toi-*'\nmax_median_s = 1",
            "*budgets.latency: no strategy is named by 'toi-[*]'; did you mean 'toy-*",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_one_sentence_and_exit_code_4(
    project: Project, settings: str, sentence: str
) -> None:
    project.settings(settings)
    result = project.run("--benchmark-only")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: " + sentence])
    assert "Traceback" not in result.stderr.str() + result.stdout.str()


def test_two_places_with_settings_are_refused(project: Project) -> None:
    project.path.joinpath("pyproject.toml").write_text("[tool.edgeai]\nmodels = ['toy']\n", encoding="utf-8")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*have settings: keep one"])


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("parity", "*parity: sample * gets label * through the tiers, but * locally*"),
        ("request", "*tier edge was killed by signal 9*"),
        ("limits", "*tier edge was given 1 core and has 2*"),
    ],
)
def test_an_invalid_trial_is_never_a_number_and_never_green(
    project: Project, fault: Fault, name: str, sentence: str
) -> None:
    fault(name)
    result = project.run("--benchmark-only", "--benchmark-json=out.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([sentence, "edgeai: nothing was measured: no trial is valid"])
    assert "benchmark 'toy on" not in result.stdout.str()
    assert set(project.verdicts().values()) == {"invalid"}
    assert all(row["median_s"] is None for row in project.results["strategies"])
    assert (project.report / "samples.csv").read_text(encoding="utf-8").count("\n") == 1
    out = project.path / "out.json"
    assert not out.exists() or '"data"' not in out.read_text(encoding="utf-8")


def test_a_tier_that_does_not_start_leaves_the_other_trials_alone(project: Project, fault: Fault) -> None:
    fault("deploy edge")
    result = project.run("--benchmark-only")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    verdicts = project.verdicts()
    assert {name for name, verdict in verdicts.items() if verdict == "pass"} == {
        "toy-identity-mobile",
        "toy-worse-mobile",
    }
    assert "tier edge was not ready after 60 s" in result.stdout.str()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("build", "the toy is broken: mend it"),
        ("crash", "the process that built it ended while*"),
        ("nan", "*returns NaN or infinity on calibration samples: it has collapsed"),
    ],
)
def test_an_artifact_that_cannot_be_made_spoils_only_its_own_strategies(
    project: Project, fault: Fault, name: str, sentence: str
) -> None:
    fault(name)
    project.settings('store = "fresh"\n' + SETTINGS)
    result = project.run("--benchmark-only")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    verdicts = project.verdicts()
    assert verdicts["toy-identity-edge"] == "pass"
    assert verdicts["toy-worse-edge"] == "invalid"
    result.stdout.fnmatch_lines([f"artifact toy-worse could not be made: {sentence}"])


def test_a_backend_that_cannot_be_opened_ends_the_session_before_anything_is_built(
    project: Project, fault: Fault
) -> None:
    fault("backend")
    result = project.run("--benchmark-only")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: backend instant: the toy backend has no tiers"])
    assert not (project.path / "reports").exists()


def test_a_report_folder_that_cannot_be_made_ends_the_session_before_trials(project: Project) -> None:
    project.path.joinpath("taken").write_text("a file", encoding="utf-8")
    result = project.run("--benchmark-only", "--edgeai-report=taken")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: report (--edgeai-report): */taken cannot be written: File exists"])
    assert "INTERNALERROR" not in result.stdout.str()


def test_disabled_benchmarks_are_refused(project: Project) -> None:
    result = project.run("--benchmark-disable")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: 8 trials are selected but benchmarks are disabled, so nothing would be*"])


@pytest.mark.parametrize("arguments", [[], ["--benchmark-only"], ["--collect-only"]], ids=" ".join)
def test_parallel_workers_are_refused_in_one_sentence(project: Project, arguments: list[str]) -> None:
    result = project.run("-n2", *arguments, subprocess=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    errors = [line for line in result.errlines if line.startswith("ERROR: ")]
    assert len(errors) == 1
    assert errors[0].startswith("ERROR: -n (pytest-xdist): nothing is measured in several processes at once")
    assert "nothing is measured" not in result.stdout.str()
    assert not (project.path / "reports").exists()


def test_tests_that_measure_nothing_run_in_parallel_workers(project: Project) -> None:
    project.pytester.makepyfile(test_suite="def test_plain(): pass\ndef test_named(strategy): assert strategy.model")
    result = project.run("-n2", subprocess=True)
    result.assert_outcomes(passed=5)


def test_a_missing_cell_is_invalid(project: Project) -> None:
    project.pytester.makepyfile(
        test_suite="""
        import pytest

        def test_strategy(trial, strategy, replicate):
            if (strategy.operator, replicate) == ("worse", 1):
                pytest.skip("not today")
            trial()
        """
    )
    result = project.run("--benchmark-only")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["toy-worse-edge: invalid: 1 of 2 trials are invalid, the first because its test was skipped: not today"]
    )
    assert project.verdicts()["toy-identity-edge"] == "pass"


def test_a_test_that_never_calls_its_trial_leaves_a_missing_cell(project: Project) -> None:
    project.pytester.makepyfile(test_suite="def test_strategy(trial):\n    pass\n")
    result = project.run("--benchmark-only")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert set(project.verdicts().values()) == {"invalid"}


def test_stopping_at_the_first_failure_is_not_green(project: Project, fault: Fault) -> None:
    fault("deploy edge")
    result = project.run("--benchmark-only", "-x")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "invalid" in project.verdicts().values()


def test_an_interrupted_session_keeps_what_it_measured(project: Project) -> None:
    project.pytester.makepyfile(
        test_suite="""
        done = []

        def test_strategy(trial):
            if len(done) == 3:
                raise KeyboardInterrupt
            done.append(trial())
        """
    )
    result = project.run("--benchmark-only", subprocess=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    rows = (project.report / "samples.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 3 * 10
    assert len(project.results["trials"]) == 3


@pytest.mark.parametrize(("limit", "verdict"), [("10", "pass"), ("1e-9", "fail")])
def test_a_latency_budget_is_judged_on_the_medians_of_trials(project: Project, limit: str, verdict: str) -> None:
    budget = f'[[budgets.latency]]\nstrategies = "toy-*-edge"\nmax_median_s = {limit}\n'
    project.settings(SETTINGS.replace("replicates = 2", "replicates = 5") + budget)
    result = project.run("--benchmark-only")
    assert result.ret == (0 if verdict == "pass" else 1)
    assert project.verdicts()["toy-worse-edge"] == verdict
    assert project.verdicts()["toy-worse-mobile"] == "pass"


@pytest.mark.parametrize(
    ("limit", "verdict", "sentence"),
    [
        ("1e-9", "fail", "toy-worse-edge: fail: the 95th percentile is above 1e-06 ms: 50 of 50 requests take longer*"),
        ("10", "inconclusive", "toy-worse-edge: inconclusive: 50 requests cannot show that the 95th percentile is *"),
    ],
)
def test_a_tail_budget_is_judged_on_all_requests(project: Project, limit: str, verdict: str, sentence: str) -> None:
    budget = f'[[budgets.latency]]\nstrategies = "toy-*-edge"\nmax_p95_s = {limit}\n'
    planned = "\n[budgets]\nmax_tail_requests = 50\n"
    project.settings(SETTINGS.replace("replicates = 2", "replicates = 5") + planned + budget)
    result = project.run("--benchmark-only", "--edgeai-tiers=edge")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert project.verdicts()["toy-worse-edge"] == verdict
    result.stdout.fnmatch_lines([sentence])


def test_a_latency_budget_of_a_tier_that_is_not_measured_is_said(project: Project) -> None:
    budget = '[[budgets.latency]]\nstrategies = "toy-*-cloud"\nmax_median_s = 1e-9\n'
    project.settings(SETTINGS + budget)
    result = project.run("--benchmark-only")
    result.stdout.fnmatch_lines(
        ["*budgets.latency: 'toy-[*]-cloud' names no strategy of this session, so that it was not judged"]
    )


def test_too_few_trials_for_a_latency_budget_are_inconclusive_and_not_green(project: Project) -> None:
    project.settings(SETTINGS + '[[budgets.latency]]\nstrategies = "*"\nmax_median_s = 1\n')
    result = project.run("--benchmark-only")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*inconclusive: 2 trials cannot show that the median is within*: 5 replicates can"])


def test_an_operator_that_promises_speed_and_is_slower_has_no_benefit_and_is_green(project: Project) -> None:
    result = project.run("--edgeai-operators", "identity,slow", "--edgeai-replicates", "5")
    assert result.ret == pytest.ExitCode.OK
    assert set(project.verdicts().values()) == {"pass", "no benefit"}
    assert project.verdicts()["toy-slow-edge"] == "no benefit"
    result.stdout.fnmatch_lines(
        ["toy-slow-edge: no benefit: computing takes × * of the baseline's time (× * over 5 trials)"]
    )
    assert "## Promised speed" in (project.report / "summary.md").read_text(encoding="utf-8")


def test_nothing_is_said_about_benefit_where_the_baseline_is_not_measured(project: Project) -> None:
    assert project.run("--edgeai-operators", "slow").ret == pytest.ExitCode.OK
    assert set(project.verdicts().values()) == {"pass"}


def test_a_graph_that_is_replaced_between_trials_is_not_measured_under_the_old_name(project: Project) -> None:
    project.settings('store = "fresh"\n' + SETTINGS.replace('"mobile", ', ""))
    project.pytester.makepyfile(
        test_suite="""
        import onnx

        def test_strategy(trial, artifact):
            trial()
            path = artifact.entry.folder / "model.onnx"
            replaced = onnx.load(path)
            replaced.doc_string += "another"  # answers as before
            onnx.save(replaced, path)
        """
    )
    result = project.run("--benchmark-only", "--edgeai-operators", "identity")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*tier edge has loaded files of toy-identity other than the artifact's (SHA-256 *"])
    assert project.verdicts() == {"toy-identity-edge": "invalid"}


def test_an_accuracy_below_its_floor_is_exit_code_1_whatever_the_baseline_has(project: Project) -> None:
    project.settings(SETTINGS + "[budgets.accuracy_floor.operators]\nidentity = 99\nworse = 99\n")
    result = project.run("--benchmark-only")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["toy-worse-edge: fail: top1 is * % (floor 99 %), beyond doubt: *"])
    assert project.verdicts()["toy-identity-edge"] == "pass"
