"""`edgeai doctor` measures this host, whatever it is like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_edgeai.commands import cli
from pytest_edgeai.measure.host import usable_cores
from pytest_edgeai.measure.session_lock import only_session

MEASURED = {"waking up", "loopback", "links", "sleeping", "computing", "others"}


def doctor(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    cli.main(["doctor", "--json", *arguments])
    return {one["what"]: one for one in json.loads(capsys.readouterr().out)}


def test_doctor_measures_this_host_and_tells_figures(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = doctor(capsys, "--root", str(tmp_path))
    assert set(found) >= MEASURED
    assert ("side by side" in found) is (usable_cores() > 1)
    for what in MEASURED:
        assert found[what]["sentence"]
        assert found[what]["figures"]
    assert found["computing"]["figures"]["p10_s"] > 0
    assert len(found["links"]["figures"]) == 6


def test_doctor_measures_nothing_where_that_is_left_out(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = doctor(capsys, "--root", str(tmp_path), "--no-measure")
    assert not MEASURED & set(found)
    assert {"python", "host", "store"} <= set(found)


def test_doctor_leaves_a_session_that_measures_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with only_session(0, print):
        found = doctor(capsys, "--root", str(tmp_path))
    assert not MEASURED & set(found)
    assert "another session is measuring on this host" in found["measuring"]["sentence"]
