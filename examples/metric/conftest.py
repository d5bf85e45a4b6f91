"""Registers the metric; a package does so by an entry point of the group `pytest_edgeai.metrics`."""

from within import WITHIN


def pytest_edgeai_metrics(config):
    """The metrics of this project."""
    return [WITHIN]
