"""Measures every strategy of `edgeai.toml`: each model, compressed by each operator, on each tier."""


def test_strategy(trial):
    """One trial of a strategy."""
    trial()
