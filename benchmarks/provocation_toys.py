"""Operators for `provocations.py`: a baseline under another name, and int8 from builders whose processors differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pytest_edgeai.operators import Job
from pytest_edgeai.operators.sptq import StaticQuantization
from tests.plugin.toy_models import Plain


class Renamed(Plain):
    """Exact, and no faster than the baseline."""

    name = "renamed"
    promises_speed = True


class OnVnni(StaticQuantization):
    """`sptq` by a builder with int8 dot products."""

    name = "sptq_on_vnni"
    vnni: ClassVar[bool] = True

    def build(self, job: Job) -> Mapping[str, Any]:
        """Build it."""
        from neural_compressor.utils.utility import CpuInfo

        CpuInfo()._vnni = self.vnni  # noqa: SLF001  # there is no public way to have another processor
        return super().build(job)


class OnAvx2(OnVnni):
    """`sptq` by a builder without."""

    name = "sptq_on_avx2"
    vnni = False
