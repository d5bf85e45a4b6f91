"""The paper's published measurements, and the results they have to give."""

import csv
import json
from typing import Any

import pytest

from .paper import Measurements, paper_text


@pytest.fixture(scope="session")
def golden() -> Any:
    return json.loads(paper_text("golden.json"))


@pytest.fixture(scope="session")
def measurements() -> Measurements:
    return Measurements.from_rows(csv.DictReader(paper_text("latencies.csv").splitlines()))
