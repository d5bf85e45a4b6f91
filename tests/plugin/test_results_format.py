"""What the files of a report hold is documented: a schema for `results.json`, a table of columns for `samples.csv`."""

from __future__ import annotations

import copy
import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.plugin.conftest import SCHEMA, SETTINGS, Project

PAGE = Path(__file__).parents[2] / "docs" / "results.md"


def nodes(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of a schema with where it is."""
    if isinstance(schema, dict):
        yield path, schema
        for key, value in schema.items():
            yield from nodes(value, f"{path}/{key}")


def test_the_schema_is_one_and_describes_every_key_and_no_others_are_allowed() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    objects = {path: node for path, node in nodes(SCHEMA) if "properties" in node and not path.endswith("/properties")}
    assert len(objects) > 20
    for path, node in objects.items():
        assert node["additionalProperties"] is False, path
        assert [name for name, one in node["properties"].items() if not one.get("description")] == [], path


def test_a_key_that_is_not_documented_is_refused(project: Project) -> None:
    assert project.run("--benchmark-only").ret == 0
    results = project.results
    for place in ((), ("strategies", 0), ("strategies", 1, "accuracy"), ("trials", 0), ("artifacts", 0), ("host",)):
        changed = copy.deepcopy(results)
        inner: Any = changed
        for key in place:
            inner = inner[key]
        inner["undocumented"] = 1
        assert not Draft202012Validator(SCHEMA).is_valid(changed), place


def test_an_invalid_trial_is_documented(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_FAULT", "parity")
    project.run("--benchmark-only")
    assert "invalid" in {trial["status"] for trial in project.results["trials"]}


def test_columns_of_samples_are_documented(project: Project) -> None:
    project.settings(SETTINGS)
    project.run("--benchmark-only")
    told = {name for row in table("samples.csv") for name in re.findall(r"`([^`]+)`", row[0])}
    assert "transmit_HOP_s" in told
    with (project.report / "samples.csv").open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(file))
    hops = {name for name in header if re.fullmatch(r"transmit_\w+_s", name)}
    assert hops
    assert set(header) - hops == told - {"transmit_HOP_s"}


def test_files_of_a_report_are_documented(project: Project) -> None:
    project.run("--benchmark-only")
    told = {name for row in table("Files of a report") for name in re.findall(r"`([^`]+)`", row[0])}
    assert {path.name for path in project.report.iterdir()} <= told


def test_the_lines_that_read_a_report_run(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.run("--benchmark-only")
    monkeypatch.chdir(project.path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    capsys.readouterr()
    exec(compile(code, PAGE.name, "exec"), {})
    assert "toy-worse-edge" in capsys.readouterr().out


def table(heading: str) -> list[list[str]]:
    """The cells of the rows of the first table below a heading."""
    text = PAGE.read_text(encoding="utf-8")
    section = re.split(r"^#+ ", text.partition(f"# {heading}\n")[2], flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
