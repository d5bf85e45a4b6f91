"""Where the paper's published measurements are, and what they must give."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from .paper import PAPER, Measurements


@pytest.fixture(scope="session")
def golden() -> Any:
    return json.loads(_paper_file("golden.json").read_text())


@pytest.fixture(scope="session")
def measurements() -> Measurements:
    with _paper_file("latencies.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return Measurements.from_rows(rows)


def _paper_file(name: str) -> Path:
    path = PAPER / name
    if not path.exists():
        pytest.skip(f"the paper's measurements are not beside this repository: no {path}")
    return path
