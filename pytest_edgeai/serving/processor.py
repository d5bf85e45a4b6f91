"""The instruction sets of this processor that decide how int8 is computed, as the kernel tells them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path

# What decides which kernels ONNX Runtime runs, and with int8 also what they return.
_INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm")
_WIDE_SUMS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimd"})
_NARROW_SUMS = frozenset({"avx2", "avx512f"})


def description() -> dict[str, str]:
    """What the kernel says of the first core; nothing where it says nothing."""
    described: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0].splitlines():
            key, _, value = line.partition(":")
            described[key.strip()] = value.strip()
    return described


def instructions(described: Mapping[str, str]) -> tuple[str, ...]:
    """Of the instruction sets that matter for inference, those that a processor has."""
    flags = described.get("flags", described.get("Features", "")).split()
    return tuple(name for name in _INSTRUCTIONS if name in flags)


def sums_are_wide(names: Iterable[str]) -> bool | None:
    """Whether products of 8-bit weights and activations are summed in 32 bits; None where that is not known.

    Without such instructions, x86 adds two products in 16 bits, which saturates where weights use all of their 8 bits.
    """
    known = frozenset(names)
    if known & _WIDE_SUMS:
        return True
    return False if known & _NARROW_SUMS else None
