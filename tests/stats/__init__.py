"""Tests of `pytest_edgeai.stats`."""
