"""Measures every strategy: each model, compressed by each operator, on each tier."""

from collections.abc import Callable

from pytest_edgeai.measure.records import TrialRecord


def test_strategy(trial: Callable[[], TrialRecord]) -> None:
    trial()
