"""What the receiver makes of the answers of several nodes: data in `aggregation.json`, and a call.

Scores are summed as in Asadi and Goudarzi, *Variant Parallelism* (arXiv 2210.08376); groups of classes are joined as
in Wang et al., *sensAI* (MLSys 2021).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.errors import EdgeAIError
from pytest_edgeai.serving.steps import Classification

FILE_NAME = "aggregation.json"
Kind: TypeAlias = Literal["variants", "classes", "copies"]
_KINDS = ("variants", "classes", "copies")


class AggregationError(EdgeAIError, ValueError):
    """Answers that make no result: none arrived, or one that is needed did not; or a file that cannot be read."""


@dataclass(frozen=True, slots=True)
class Aggregation:
    """How the answers of nodes become one.

    Parameters
    ----------
    kind
        `variants`: every node answers with labels and scores of its best classes, which are summed over the nodes
        that answered. `classes`: every node answers with the logits of its group, all needed. `copies`: each request
        goes to one node, in turn, whose answer it is.
    nodes
        How many there are.
    classes
        How many classes there are.
    k
        How many labels and scores to return; where fewer classes have a score, the rest follow in class order with 0.
    deadline_s
        Of `variants`: how long after it was sent a request waits for answers; what arrives later is dropped.
    groups
        Of `classes`: the class of each logit, by node.
    """

    kind: Kind
    nodes: int
    classes: int
    k: int
    deadline_s: float = 1.0
    groups: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        _require(self.kind in _KINDS, f"kind is one of {', '.join(_KINDS)}")
        _require(self.nodes >= 1 and self.classes >= 1 and self.k >= 1, "nodes, classes and k are 1 or more")
        _require(self.deadline_s > 0, "deadline_s is above 0")
        if self.kind == "classes":
            members = sorted(member for group in self.groups for member in group)
            _require(len(self.groups) == self.nodes, "there is a group for each node")
            _require(members == list(range(self.classes)), "groups name every class once")
        else:
            _require(not self.groups, f"{self.kind} have no groups")

    @property
    def all_needed(self) -> bool:
        """Whether there is no result before every node that was asked has answered."""
        return self.kind != "variants"

    @classmethod
    def read(cls, folder: Path) -> Aggregation:
        """Read it from an artifact's folder.

        Raises
        ------
        AggregationError
            The file is missing or is not a description of an aggregation; names it.
        """
        path = folder / FILE_NAME
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            groups = tuple(tuple(int(one) for one in group) for group in document.pop("groups", ()))
            return cls(**document, groups=groups)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise AggregationError(f"{path}: {error}") from None

    def write(self, folder: Path) -> None:
        """Write it into an artifact's folder."""
        (folder / FILE_NAME).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    def __call__(self, answers: Sequence[Mapping[str, Array] | None]) -> dict[str, Array]:
        """Labels and scores of a batch, each of shape [n, k], best first, ties in class order.

        Parameters
        ----------
        answers
            By node; None where none arrived in time. Of `copies`, all but one are None.

        Raises
        ------
        AggregationError
            There are too few answers.
        """
        arrived = [answer for answer in answers if answer is not None]
        if not arrived:
            raise AggregationError("no node has answered")
        if self.kind == "copies":
            return dict(arrived[0])
        if self.kind == "classes":
            missing = [number for number, answer in enumerate(answers) if answer is None]
            if missing:
                raise AggregationError(f"node {missing[0]} has not answered, and its classes are needed")
            # Groups need not be neighbouring classes.
            logits = np.concatenate([answer["logits"] for answer in arrived], axis=1)
            order = np.argsort([member for group in self.groups for member in group])
            return Classification(k=self.k)({"logits": logits[:, order]})
        return self._summed(arrived)

    def _summed(self, arrived: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
        """Scores by class, divided by how many nodes answered, so that they stay between 0 and 1."""
        sums = np.zeros((len(arrived[0]["labels"]), self.classes))
        for answer in arrived:
            np.add.at(sums, (np.arange(len(sums))[:, None], answer["labels"]), answer["scores"])
        scores = sums / len(arrived)
        labels = np.argsort(-scores, axis=1, kind="stable")[:, : self.k]
        return {
            "labels": labels.astype(np.int64),
            "scores": np.take_along_axis(scores, labels, axis=1).astype(np.float32),
        }


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise AggregationError(sentence)
