"""What other projects may import from the package itself."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

import pytest

import pytest_edgeai

UNUSED_CHECKS: Final = {
    "ES01": "a summary is enough where it tells all",
    "SA01": "names are found by the documentation's own links",
    "EX01": "docs/extending.md has the examples",
    "PR04": "types are annotations, which mypy checks",
    "RT01": "a summary that names what is returned says it",
}
"""Of numpydoc's validation, with the reason why."""


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


def documented(name: str) -> Iterator[str]:
    """The full names of a public object and of its public methods and properties."""
    found: Any = getattr(pytest_edgeai, name)
    if not inspect.isclass(found) and not inspect.isfunction(found):
        return
    whole = f"{found.__module__}.{found.__qualname__}"
    # numpydoc takes a protocol for a class that is made with any arguments.
    if not getattr(found, "_is_protocol", False):
        yield whole
    for attribute, value in vars(found).items():
        is_method = inspect.isfunction(value) or isinstance(value, classmethod | staticmethod | property)
        if inspect.isclass(found) and is_method and not attribute.startswith("_"):
            yield f"{whole}.{attribute}"


@pytest.mark.parametrize("name", pytest_edgeai.__all__)
def test_public_docstrings_pass_the_validation_of_numpydoc(name: str) -> None:
    validation = pytest.importorskip("numpydoc.validate", reason="numpydoc is not installed")
    wrong = [
        f"{one}: {code} {sentence}"
        for one in documented(name)
        for code, sentence in validation.validate(one)["errors"]
        if code not in UNUSED_CHECKS
    ]
    assert wrong == []
