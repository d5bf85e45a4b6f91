"""Registers the operator; a package does so by an entry point of the group `pytest_edgeai.operators`."""

from halved import Halved


def pytest_edgeai_operators(config):
    """The operators of this project."""
    return [Halved]
