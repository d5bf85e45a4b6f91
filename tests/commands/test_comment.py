"""`edgeai comment` and `edgeai badge`, against a server that answers like GitHub's, and the steps of `action.yml`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from pytest_edgeai.commands import cli
from pytest_edgeai.reporting.pull_request import marker
from tests.plugin.conftest import ANY_HOST, CONFTEST, SETTINGS, SUITE
from tests.reporting.test_pull_request import document, strategy

ROOT = Path(__file__).parents[2]
SECRET = "the token"


class GitHub:
    """A server with the comments of a pull request, numbered 7.

    Parameters
    ----------
    allows
        Whether comments may be written.
    """

    def __init__(self, *, allows: bool = True) -> None:
        self.allows = allows
        self.comments: list[dict[str, Any]] = [{"id": 1, "body": "a person's"}]
        self.tokens: set[str | None] = set()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = int(parse_qs(urlsplit(self.path).query)["page"][0])
                self._answer(200, hub.comments[100 * (page - 1) : 100 * page])

            def do_POST(self) -> None:
                assert self.path == "/repos/owner/name/issues/7/comments"
                self._write({"id": len(hub.comments) + 1})

            def do_PATCH(self) -> None:
                self._write(hub.comments[int(self.path.removeprefix("/repos/owner/name/issues/comments/")) - 1])

            def _write(self, one: dict[str, Any]) -> None:
                hub.tokens.add(self.headers["Authorization"])
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if not hub.allows:
                    self._answer(403, {"message": "Resource not accessible by integration"})
                    return
                one["body"] = body["body"]
                if one not in hub.comments:
                    hub.comments.append(one)
                self._answer(201, one)

            def _answer(self, code: int, content: object) -> None:
                self.send_response(code)
                self.end_headers()
                self.wfile.write(json.dumps(content).encode())

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a workflow of the pull request has."""
        return {
            "GITHUB_API_URL": self.url,
            "GITHUB_REF": "refs/pull/7/merge",
            "GITHUB_REPOSITORY": "owner/name",
            "GITHUB_TOKEN": SECRET,
        }


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    """A server that allows comments, and the environment of a workflow."""
    made = GitHub()
    for name in [name for name in os.environ if name.startswith("GITHUB_")]:
        monkeypatch.delenv(name)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """A folder of a report that is not green."""
    content = document(strategy("bert", "fail", "top1 is 2.5 pp below")) | {"format": 1}
    (tmp_path / "results.json").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


def test_a_comment_is_printed(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["comment", str(report)]) == 0
    assert cli.main(["comment", str(report / "results.json")]) == 0
    output = capsys.readouterr().out
    assert output.count("### ❌ pytest-edgeai: not green: 1 fail") == 2


def test_a_comment_is_posted_once_and_replaced_from_then_on(
    hub: GitHub, report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.comments += [{"id": number, "body": None} for number in range(2, 150)]
    assert cli.main(["comment", str(report), "--post"]) == 0
    assert len(hub.comments) == 150
    hub.comments[-1]["body"] = f"{marker()}\nan older session"
    assert cli.main(["comment", str(report), "--post"]) == 0
    assert len(hub.comments) == 150
    assert hub.comments[-1]["body"].startswith(f"{marker()}\n### ❌ pytest-edgeai: not green")
    assert hub.comments[0]["body"] == "a person's"
    assert hub.tokens == {f"Bearer {SECRET}"}
    said = capsys.readouterr().out.splitlines()
    assert said == ["commented on pull request 7", "replaced the comment on pull request 7"]


def test_a_comment_replaces_only_that_of_its_own_name(hub: GitHub, report: Path) -> None:
    names = ["", "measure bert", "measure", "--> <b>@all"]
    for _ in range(2):
        for name in names:
            assert cli.main(["comment", str(report), "--post", f"--name={name}"]) == 0
    assert len(hub.comments) == 1 + len(names)
    titles = [comment["body"].splitlines()[1].partition(": ")[0] for comment in hub.comments[1:]]
    assert titles[:3] == [
        "### ❌ pytest-edgeai",
        "### ❌ pytest-edgeai (measure bert)",
        "### ❌ pytest-edgeai (measure)",
    ]
    markers = [comment["body"].splitlines()[0] for comment in hub.comments[1:]]
    assert len(set(markers)) == len(names)
    assert all(one.count("-->") == 1 and one.endswith("-->") for one in markers)
    assert "<b>" not in hub.comments[-1]["body"]


def test_a_token_that_may_not_comment_is_a_remark_and_no_failure(
    hub: GitHub, report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.allows = False
    assert cli.main(["comment", str(report), "--post"]) == 0
    said = capsys.readouterr()
    assert said.err.startswith("no comment was posted: GitHub answers 403 Forbidden to POST ")
    assert SECRET not in said.err + said.out
    assert len(hub.comments) == 1


@pytest.mark.parametrize(
    ("environment", "code", "sentence"),
    [
        ({"GITHUB_REF": "refs/heads/main"}, 0, "no comment was posted: this workflow does not run for a pull request"),
        ({"GITHUB_TOKEN": ""}, 0, "no comment was posted: GITHUB_TOKEN is not set"),
        ({"GITHUB_API_URL": "file:///etc"}, 1, "error: no comment was posted: GITHUB_API_URL is 'file:///etc'"),
        ({"GITHUB_API_URL": "http://127.0.0.1:9"}, 1, "error: no comment was posted: GitHub cannot be reached"),
    ],
)
def test_what_keeps_a_comment_from_being_posted_is_said(
    hub: GitHub,
    report: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: Mapping[str, str],
    code: int,
    sentence: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["comment", str(report), "--post"]) == code
    assert capsys.readouterr().err.startswith(sentence)
    assert len(hub.comments) == 1


def test_the_pull_request_is_found_in_the_event(
    hub: GitHub, report: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": {"number": 7}}), encoding="utf-8")
    monkeypatch.setenv("GITHUB_REF", "refs/heads/main")
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(event))
    assert cli.main(["comment", str(report), "--post"]) == 0
    assert len(hub.comments) == 2


@pytest.mark.parametrize("command", [["comment"], ["badge"]])
@pytest.mark.parametrize("content", [None, "no JSON", "[]", '{"format": 0}'])
def test_what_is_no_report_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str], content: str | None
) -> None:
    if content is not None:
        (tmp_path / "results.json").write_text(content, encoding="utf-8")
    file = [str(tmp_path / "badge.svg")] if command == ["badge"] else []
    assert cli.main([*command, str(tmp_path), *file]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    assert not (tmp_path / "badge.svg").exists()


def test_a_badge_is_written(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["badge", str(report), str(report / "badge.svg")]) == 0
    assert "0 of 1 green" in (report / "badge.svg").read_text(encoding="utf-8")
    assert cli.main(["badge", str(report), str(report / "no" / "badge.svg")]) == 2
    assert "cannot be written" in capsys.readouterr().err


class Workflow:
    """The steps of `action.yml` that are shell scripts, run one after the other as GitHub does.

    Parameters
    ----------
    folder
        The project.
    environment
        Of the workflow.
    inputs
        Of the action.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], inputs: Mapping[str, str]) -> None:
        self._action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
        defaults = {name: str(one["default"]) for name, one in self._action["inputs"].items()}
        self.values = {f"inputs.{name}": value for name, value in (defaults | dict(inputs)).items()}
        self.values |= {"runner.temp": str(folder / "temp"), "github.event.pull_request.base.sha": ""}
        self._folder = folder
        self.summary, self.output = folder / "step_summary", folder / "step_output"
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_OUTPUT": str(self.output),
            **environment,
        }

    def run(self, *names: str) -> dict[str, subprocess.CompletedProcess[str]]:
        """Run steps by their names."""
        done = {}
        for name in names:
            (step,) = (one for one in self._action["runs"]["steps"] if one.get("name") == name)
            assert "${{" not in step["run"]  # what others wrote never becomes part of a script
            given = {key: self._filled(value) for key, value in step.get("env", {}).items()}
            done[name] = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                cwd=self._folder,
                env=self._environment | given,
                capture_output=True,
                text=True,
            )
            if self.output.exists():
                for line in self.output.read_text(encoding="utf-8").splitlines():
                    key, _, value = line.partition("=")
                    self.values[f"steps.measure.outputs.{key}"] = value
        return done

    def _filled(self, text: str) -> str:
        return re.sub(r"\$\{\{ (.+?) \}\}", lambda match: self.values[match[1]], text)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of toys in which one strategy breaks its budget."""
    monkeypatch.delenv("EDGEAI_STORE", raising=False)
    monkeypatch.delenv("TOY_FAULT", raising=False)
    shutil.copy(ROOT / "tests" / "plugin" / "toy_models.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n", encoding="utf-8")
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "test_suite.py").write_text(SUITE, encoding="utf-8")
    settings = SETTINGS.replace("default = 100", "default = 2") + ANY_HOST
    (tmp_path / "edgeai.toml").write_text(settings, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("allows", [True, False], ids=["may comment", "from a fork"])
def test_the_action_measures_says_what_it_found_and_fails_only_for_the_verdict(
    project: Path, hub: GitHub, *, allows: bool
) -> None:
    hub.allows = allows
    given = {"arguments": "--edgeai-tiers edge --edgeai-replicates 1", "token": SECRET}
    workflow = Workflow(project, hub.environment, given)
    done = workflow.run("Measure", "Summary", "Comment", "Verdict")
    codes = {name: one.returncode for name, one in done.items()}
    assert codes == {"Measure": 0, "Summary": 0, "Comment": 0, "Verdict": 1}, done
    assert "exit-code=1\n" in workflow.output.read_text(encoding="utf-8")
    summary = workflow.summary.read_text(encoding="utf-8")
    assert "- <code>toy-worse-edge</code>: **fail**: " in summary
    assert (project / "reports" / "junit.xml").is_file()
    assert (project / "reports" / "latest" / "metrics.txt").read_text(encoding="utf-8").endswith("# EOF\n")
    assert len(hub.comments) == (2 if allows else 1)
    if allows:
        assert hub.comments[1]["body"] == summary
    else:
        assert "no comment was posted: GitHub answers 403" in done["Comment"].stderr


def test_the_action_says_so_where_nothing_could_be_measured(project: Path, hub: GitHub) -> None:
    workflow = Workflow(project, hub.environment, {"arguments": "--edgeai-tiers moon", "token": SECRET})
    done = workflow.run("Measure", "Summary", "Comment", "Verdict")
    assert {name: one.returncode for name, one in done.items()}["Verdict"] == pytest.ExitCode.USAGE_ERROR
    assert "measured nothing" in workflow.summary.read_text(encoding="utf-8")
    assert len(hub.comments) == 1


def test_the_action_compares_with_the_base_of_the_pull_request(project: Path, hub: GitHub) -> None:
    def git(*words: str, folder: Path = project) -> str:
        given = ("-c", "user.name=A", "-c", "user.email=a@localhost", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *given, *words], cwd=folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "--quiet", "--initial-branch=main")
    git("config", "uploadpack.allowAnySHA1InWant", "true")
    git("add", ".")
    git("commit", "--quiet", "-m", "base")
    base = git("rev-parse", "HEAD")
    git("commit", "--quiet", "--allow-empty", "-m", "change")
    clone = project.parent / "clone"
    git("clone", "--quiet", "--depth=1", f"file://{project}", str(clone), folder=project.parent)
    assert base not in git("rev-list", "--all", folder=clone)

    workflow = Workflow(
        clone, hub.environment, {"arguments": "--collect-only --edgeai-replicates 5", "against": "base"}
    )
    workflow.values["github.event.pull_request.base.sha"] = base
    measured = workflow.run("Measure")["Measure"]
    assert measured.returncode == 0
    assert git("cat-file", "-t", base, folder=clone) == "commit"
    assert f"[toy-worse-edge-r0@{base}]" in measured.stdout, measured.stdout + measured.stderr


def test_the_page_about_continuous_integration_names_every_input_and_no_other() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z-]+)` \| .* \| .* \|$", page, flags=re.M) == list(action["inputs"])
    workflow, gitlab = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, flags=re.S))
    given = workflow["jobs"]["measure"]["steps"][-1]["with"]
    assert set(given) <= set(action["inputs"])
    assert gitlab["edgeai"]["artifacts"]["reports"] == {"junit": "reports/junit.xml", "metrics": "metrics.txt"}


def test_the_workflow_of_init_comments_and_keeps_the_report(tmp_path: Path) -> None:
    from pytest_edgeai.commands import init

    workflow = yaml.safe_load(init.WORKFLOW_TEMPLATE)
    assert workflow["permissions"] == {"contents": "read", "pull-requests": "write"}
    steps = workflow["jobs"]["measure"]["steps"]
    said = next(step for step in steps if "edgeai comment" in step.get("run", ""))
    assert said["if"] == "always()"
    for line in said["run"].splitlines():
        options = cli.command_parser().parse_args(line.partition(" >> ")[0].split()[1:])
        assert options.command.__name__ == "comment"
