"""Which model-compression operator, on which tier, is fast enough and still accurate enough.

This package is a pytest plugin; `pytest_edgeai.plugin` is its entry point. Importing this module costs nothing:
it only says the version.
"""

__version__ = "0.1.0"
