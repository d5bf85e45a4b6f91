"""Accuracy of an artifact: its predictions on the validation samples, computed locally and kept one by one.

It runs the exported graph through the very code that a tier runs, so predictions that come back through the tiers
can be compared with these (parity).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pytest_edgeai.arrays import Array
from pytest_edgeai.measure.host import Host
from pytest_edgeai.parallel import node_folders
from pytest_edgeai.parallel.in_process import NodesInProcess
from pytest_edgeai.serving.repository import Execution, Model, infer_chain, part_folders
from pytest_edgeai.store import Artifact, Entry, Recipe, Store, library_versions
from pytest_edgeai.subjects import SubjectModel
from pytest_edgeai.subjects.metrics import METRICS
from pytest_edgeai.subjects.samples import Samples

_PREDICTIONS = "predictions.npz"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Predictions on the validation samples and the accuracy they amount to.

    Parameters
    ----------
    ranked
        Predicted labels, best first, shape [n, k].
    scores
        Their scores, shape [n, k].
    truth
        True labels, shape [n].
    metrics
        Percent by metric name; none where accuracy is not measured.
    unmeasured
        Why accuracy is not measured, or empty; see `SubjectModel`.
    """

    ranked: Array
    scores: Array
    truth: Array
    metrics: Mapping[str, float]
    unmeasured: str = ""


def recipe(artifact: Artifact, validation: Samples, subject: SubjectModel, host: Host) -> Recipe:
    """What decides an evaluation; the host does because int8 kernels round differently on different processors."""
    return Recipe(
        "evaluations",
        {
            "evaluation": _FORMAT,
            "artifact": artifact.entry.content,
            "samples": validation.content,
            "metrics": list(subject.metrics),
            "processor": [host.processor, *host.instructions],
            "libraries": library_versions(("onnxruntime", "numpy", "pillow", "tokenizers")),
            **({"unmeasured": subject.unmeasured} if subject.unmeasured else {}),
        },
    )


def evaluate(
    store: Store,
    artifact: Artifact,
    validation: Samples,
    subject: SubjectModel,
    host: Host,
    check: Callable[[Evaluation], None],
) -> Evaluation:
    """The evaluation of an artifact, computed now if the store does not have it.

    Parameters
    ----------
    store, artifact, validation, subject, host
        As in `recipe`.
    check
        Raises where the artifact cannot be used; its evaluation is not kept then.
    """

    def build(folder: Path) -> Mapping[str, Any]:
        answer = _local(artifact.entry.folder)
        answers = [answer(sample.inputs) for sample in validation]
        ranked = np.concatenate([answer["labels"] for answer in answers])
        scores = np.concatenate([answer["scores"] for answer in answers])
        np.savez(folder / _PREDICTIONS, ranked=ranked, scores=scores, truth=validation.labels)
        metrics = {
            name: METRICS[name].percent(ranked, validation.labels) for name in subject.metrics if not subject.unmeasured
        }
        if not subject.unmeasured:
            check(Evaluation(ranked, scores, validation.labels, metrics))
        return {"metrics": metrics, "samples": len(validation), "unmeasured": subject.unmeasured}

    return load(store.find_or_build(recipe(artifact, validation, subject, host), build))


def _local(folder: Path) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """What answers a request by an artifact's graphs in this process."""
    if node_folders(folder):
        return NodesInProcess(folder)
    parts = [Model(part, Execution()) for part in part_folders(folder)]
    return lambda tensors: infer_chain(parts, tensors)


def load(entry: Entry) -> Evaluation:
    """Read an evaluation from its entry."""
    with np.load(entry.folder / _PREDICTIONS) as arrays:
        provenance = entry.provenance
        unmeasured = provenance.get("unmeasured", "")
        return Evaluation(arrays["ranked"], arrays["scores"], arrays["truth"], provenance["metrics"], unmeasured)
