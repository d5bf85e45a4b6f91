"""Wires the suite's subject models into `suites/`, and pytest's own tester into `tests/`."""

pytest_plugins = ["fixtures.subjects", "pytester"]
