"""What other projects may import from the package itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pytest_edgeai


@pytest.mark.parametrize("name", pytest_edgeai.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(pytest_edgeai, name) is not None
    assert name in dir(pytest_edgeai)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'pytest_edgeai' has no attribute 'Nothing'"):
        _ = pytest_edgeai.Nothing


def test_importing_the_package_imports_nothing_else() -> None:
    script = "import sys, pytest_edgeai; print([m for m in sys.modules if m.startswith('pytest_edgeai.')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
