"""Strategies for tensors of every datatype, shape, byte order and memory layout."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pytest_edgeai.arrays import Array
from pytest_edgeai.wire.protocol import DATATYPES

NUMERIC = [name for name in DATATYPES if name != "BYTES"]
SHAPES = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def layouts(draw: st.DrawFn, array: Array) -> Array:
    """The same kind of array, but not always contiguous, in C order or writeable."""
    layout = draw(st.sampled_from(["plain", "transposed", "reversed", "strided", "fortran", "read-only"]))
    if layout == "transposed":
        return array.T
    if layout == "reversed" and array.ndim:
        return array[::-1]
    if layout == "strided" and array.ndim:
        return array[..., ::2]
    if layout == "fortran":
        return np.asfortranarray(array)
    if layout == "read-only":
        array.flags.writeable = False
    return array


@st.composite
def numbers(draw: st.DrawFn, *, finite: bool = False) -> Array:
    """Numeric tensors; with `finite` only what JSON can carry."""
    dtype = DATATYPES[draw(st.sampled_from(NUMERIC))].newbyteorder(draw(st.sampled_from("<>")))
    elements: Any = npst.from_dtype(dtype)
    if finite and dtype.kind == "f":
        elements = npst.from_dtype(dtype, allow_nan=False, allow_infinity=False)
    array: Array = draw(npst.arrays(dtype, SHAPES, elements=elements))
    return draw(layouts(array))


@st.composite
def byte_strings(draw: st.DrawFn, *, text: bool = False) -> Array:
    """BYTES tensors; with `text` only UTF-8."""
    shape = draw(SHAPES)
    elements: st.SearchStrategy[bytes] = st.text(max_size=8).map(str.encode) if text else st.binary(max_size=8)
    count = int(np.prod(shape))
    array = np.empty(count, dtype=object)
    array[:] = draw(st.lists(elements, min_size=count, max_size=count))
    return draw(layouts(array.reshape(shape)))


def named(tensors: st.SearchStrategy[Array]) -> st.SearchStrategy[dict[str, Array]]:
    """A few tensors by name."""
    return st.dictionaries(st.text(min_size=1, max_size=6), tensors, min_size=1, max_size=3)


def same(one: Array, other: Array) -> bool:
    """Whether two tensors have the same shape and elements, NaN included, whatever their byte order."""
    if one.dtype.kind == "O":
        return one.shape == other.shape and one.tolist() == other.tolist()
    little = other.dtype.newbyteorder("<")
    return one.shape == other.shape and one.dtype == little and one.tobytes() == other.astype(little).tobytes()
