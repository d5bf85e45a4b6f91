"""Operators one after the other under one name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, final

from pytest_edgeai.operators import BuildError, Job, NoParameters, Operator


class Composition(Operator[NoParameters]):
    """Operators one after the other, each with its own parameters.

    Parameters
    ----------
    parameters
        None: those of its steps are theirs.
    """

    chain: tuple[str, ...]
    """Their names."""

    @classmethod
    def named(cls, name: str, chain: tuple[str, ...]) -> Self:
        """A composition that is not registered.

        Parameters
        ----------
        name
            As in test ids: the names of the steps, joined by `>`.
        chain
            The names of the steps.
        """
        composition = cls(NoParameters())
        composition.name, composition.chain = name, chain
        return composition

    @final
    def build(self, job: Job) -> Mapping[str, Any]:  # noqa: ARG002  # its steps are built
        """Do not call it: each of the steps is built by itself, so that chains share what they have in common.

        Parameters
        ----------
        job
            Not used.

        Raises
        ------
        BuildError
            Always.
        """
        raise BuildError(f"{self.name} is not built in one step")
