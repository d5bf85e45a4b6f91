"""Wires the suite's fixtures and subject models into `suites/`."""

pytest_plugins = ["fixtures.subjects"]
