"""The checksum of a saved session: what it covers, and what it does not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from pytest_edgeai.versions.checksum import ChecksumError, sign, verify

DOCUMENT = {
    "commit_info": {"id": "a" * 40, "branch": "main"},
    "datetime": "2026-01-01T00:00:00+00:00",
    "machine_info": {"node": "somewhere"},
    "benchmarks": [
        {"fullname": "t.py::one", "extra_info": {"edgeai": {"spans_s": {"compute": [0.1, 1e-17]}}}, "stats": {}},
        {"fullname": "t.py::other", "extra_info": {}},
    ],
    "edgeai": {
        "format": 1,
        "strategies": {"a-b-c": {"trials": [{"latency_s": [0.25, 1 / 3]}]}},
        "tuple": (1, 2),
        "numbers": {10: 1, 9: 2},
    },
}
CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a latency": lambda one: one["edgeai"]["strategies"]["a-b-c"]["trials"][0].update(latency_s=[0.0625, 1 / 12]),
    "a strategy": lambda one: one["edgeai"]["strategies"].pop("a-b-c"),
    "the commit": lambda one: one["commit_info"].update(id="b" * 40),
    "the time": lambda one: one.update(datetime="2027-01-01T00:00:00+00:00"),
    "a span": lambda one: one["benchmarks"][0]["extra_info"]["edgeai"]["spans_s"].update(compute=[0.1, 0.0]),
    "a trial": lambda one: one["benchmarks"].pop(0),
}


def saved() -> dict[str, Any]:
    """A document as it is read from its file."""
    document: dict[str, Any] = json.loads(json.dumps(sign(copy.deepcopy(DOCUMENT)), indent=4))
    return document


def test_what_was_saved_is_accepted_in_any_layout_and_order() -> None:
    document = saved()
    assert verify(document, "0001_a.json") == ""
    document["edgeai"] = dict(reversed(document["edgeai"].items()))
    assert verify(document, "0001_a.json") == ""
    assert sign(document) == document


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_what_is_compared_is_refused_by_the_name_of_the_file(change: str) -> None:
    document = saved()
    CHANGES[change](document)
    with pytest.raises(ChecksumError, match=r"^0001_a\.json is not what was saved: .*edited or damaged; restore"):
        verify(document, "0001_a.json")


def test_other_benchmarks_of_a_project_are_its_own_business() -> None:
    document = saved()
    document["benchmarks"][1]["stats"] = {"mean": 1}
    document["machine_info"] = {}
    assert verify(document, "0001_a.json") == ""


def test_a_session_without_a_checksum_is_read_with_a_remark() -> None:
    document = saved()
    del document["edgeai"]["checksum"]
    assert verify(document, "0001_a.json").startswith("0001_a.json was saved before sessions had checksums")
    assert verify({"benchmarks": []}, "0001_a.json") == ""
