"""The type of the arrays that travel between modules."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
"""An array of any shape and type; docstrings say which."""
