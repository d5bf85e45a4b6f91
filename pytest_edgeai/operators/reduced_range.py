"""Whether int8 takes one bit less, so that processors without int8 dot products do not saturate.

Left to themselves, libraries look at the processor of whoever builds; what is built then runs on another processor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self, TypeVar

from pytest_edgeai.measure.host import Host
from pytest_edgeai.operators import Operator
from pytest_edgeai.serving.processor import sums_are_wide
from pytest_edgeai.tiers.allotment import Allotment
from pytest_edgeai.tiers.specs import Spec, Topology


class RangeParameters(Spec):
    """Parameters of operators that quantize.

    Parameters
    ----------
    reduce_range
        Whether values take one bit less than int8 has. `auto` is yes, unless every tier is on this host and its
        processor sums products in 32 bits (VNNI, AMX, ARM).
    """

    reduce_range: Literal["auto"] | bool = "auto"


R = TypeVar("R", bound=RangeParameters)


class QuantizingOperator(Operator[R]):
    """An operator that quantizes to int8."""

    def bind(self, topology: Topology, allotments: Mapping[str, Allotment]) -> Operator[R]:  # noqa: ARG002  # the same call for all
        """Take one bit less where a tier is remote, on a processor that nobody has seen yet."""
        if self.parameters.reduce_range == "auto" and any(tier.is_remote for tier in topology.tiers.values()):
            return self._with(reduce_range=True)
        return self

    def settled(self, host: Host) -> Operator[R]:
        """Decide by the processor of this host, where nothing else has decided."""
        if self.parameters.reduce_range == "auto":
            return self._with(reduce_range=sums_are_wide(host.instructions) is not True)
        return self

    @property
    def reduces_range(self) -> bool:
        """Whether values take one bit less; known once the operator is settled."""
        decided = self.parameters.reduce_range
        assert decided != "auto", "a plan settles its operators"
        return decided

    def _with(self, *, reduce_range: bool) -> Self:
        one = type(self)(self.parameters.model_copy(update={"reduce_range": reduce_range}))
        one.name = self.name
        return one
