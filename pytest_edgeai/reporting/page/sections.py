"""All sections of the page, in their order."""

from __future__ import annotations

from pytest_edgeai.reporting.page.accuracies import accuracies
from pytest_edgeai.reporting.page.artifacts import artifacts
from pytest_edgeai.reporting.page.choice import choice
from pytest_edgeai.reporting.page.compared import compared
from pytest_edgeai.reporting.page.conditions import conditions
from pytest_edgeai.reporting.page.drift import drift
from pytest_edgeai.reporting.page.effects import effects
from pytest_edgeai.reporting.page.latencies import distributions
from pytest_edgeai.reporting.page.nodes import nodes
from pytest_edgeai.reporting.page.overview import overview
from pytest_edgeai.reporting.page.parts import Section
from pytest_edgeai.reporting.page.proofs import proofs
from pytest_edgeai.reporting.page.results import Results
from pytest_edgeai.reporting.page.spans import time_spans
from pytest_edgeai.reporting.page.speedups import speedups

_SECTIONS = (
    overview,
    compared,
    choice,
    time_spans,
    distributions,
    speedups,
    effects,
    accuracies,
    artifacts,
    nodes,
    proofs,
    drift,
    conditions,
)


def sections_of(results: Results) -> list[Section]:
    """The sections that have something to show."""
    return [section for section in (make(results) for make in _SECTIONS) if section.parts]
