"""Artifacts made ready: found in the store, or built and verified, and their accuracy evaluated.

A plan knows what is to be had and how; whether the work is done here or in another process is decided by
`pytest_edgeai.operators.worker`.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pytest_edgeai.artifacts import Artifact, Entry, Recipe, Store, library_versions, source_digest
from pytest_edgeai.measure import accuracy
from pytest_edgeai.measure.accuracy import Evaluation
from pytest_edgeai.measure.host import Host
from pytest_edgeai.operators import Job, Operator
from pytest_edgeai.operators.memory import peak_memory_bytes, reset_peak_memory
from pytest_edgeai.operators.verification import graph_size, verify
from pytest_edgeai.serving.repository import GRAPH_NAME
from pytest_edgeai.subjects import Split, SubjectModel
from pytest_edgeai.subjects import samples as sample_store
from pytest_edgeai.subjects.samples import Samples

_FORMAT = 1  # counted up when this module changes what an artifact holds


@dataclass(frozen=True, slots=True)
class Prepared:
    """An artifact that is ready to be measured, with its accuracy and the samples to send."""

    artifact: Artifact
    evaluation: Evaluation
    validation: Samples


@dataclass(frozen=True)
class Plan:
    """What artifacts there can be and where they are kept.

    Parameters
    ----------
    store_root
        The store's folder.
    subjects, operators
        By name.
    host
        Where evaluations are computed.
    seed
        Of everything random in a build.
    """

    store_root: Path
    subjects: Mapping[str, SubjectModel]
    operators: Mapping[str, Operator[Any]]
    host: Host
    seed: int = 0

    @property
    def store(self) -> Store:
        """The store."""
        return Store(self.store_root)

    def find(self, model: str, operator: str) -> Prepared | None:
        """The artifact and its evaluation if the store has both; nothing is built and no heavy library imported."""
        subject, store = self.subjects[model], self.store
        splits = {}
        for split in ("calibration", "validation"):
            entry = store.find(sample_store.recipe(subject.samples, split))
            if entry is None:
                return None
            splits[split] = Samples(entry)
        found = self._find_artifact(subject, self.operators[operator], splits["calibration"])
        if found is None:
            return None
        artifact = Artifact(model, operator, found)
        evaluation = store.find(accuracy.recipe(artifact, splits["validation"], subject, self.host))
        return None if evaluation is None else Prepared(artifact, accuracy.load(evaluation), splits["validation"])

    def prepare(self, model: str, operator: str, stage: Callable[[str], None], note: Callable[[str], None]) -> Prepared:
        """The artifact and its evaluation, made now as far as the store lacks them.

        Parameters
        ----------
        model, operator
            Their names.
        stage
            Is told what is going on, in a word or two.
        note
            Is told in a sentence what the user should know.

        Raises
        ------
        BuildError
            The artifact cannot be made.
        Exception
            Whatever the operator's libraries raise.
        """
        subject = self.subjects[model]
        stage("samples")
        calibration = self._samples(subject, "calibration")
        validation = self._samples(subject, "validation")
        artifact = self._build(subject, self.operators[operator], calibration, stage, note)
        stage("evaluating")
        evaluation = accuracy.evaluate(self.store, artifact, validation, subject, self.host)
        return Prepared(artifact, evaluation, validation)

    def recipe(
        self, subject: SubjectModel, operator: Operator[Any], calibration: Samples, base: Entry | None
    ) -> Recipe:
        """Everything that decides an artifact."""
        return Recipe(
            "artifacts",
            {
                "preparation": _FORMAT,
                "subject": {
                    "name": subject.name,
                    "sources": [source_digest(path) for path in (*subject.sources, *subject.assets)],
                    "libraries": library_versions(subject.libraries),
                    "pipeline": subject.pipeline.as_json(),
                    "graph_inputs": subject.graph_inputs,
                    **({"key": subject.key} if subject.key else {}),
                },
                "operator": {
                    "name": operator.name,
                    "sources": [source_digest(path) for path in operator.sources()],
                    "libraries": library_versions(operator.libraries),
                    "parameters": operator.parameters.model_dump(mode="json"),
                },
                "calibration": calibration.content,
                "base": None if base is None else base.content,
                "seed": self.seed,
            },
        )

    def _samples(self, subject: SubjectModel, split: Split) -> Samples:
        return sample_store.stored(self.store, subject.samples, split)

    def _find_artifact(self, subject: SubjectModel, operator: Operator[Any], calibration: Samples) -> Entry | None:
        base = None
        if operator.base is not None:
            base = self._find_artifact(subject, self.operators[operator.base], calibration)
            if base is None:
                return None
        return self.store.find(self.recipe(subject, operator, calibration, base))

    def _build(
        self,
        subject: SubjectModel,
        operator: Operator[Any],
        calibration: Samples,
        stage: Callable[[str], None],
        note: Callable[[str], None],
    ) -> Artifact:
        base = None
        if operator.base is not None:
            base = self._build(subject, self.operators[operator.base], calibration, stage, note).entry

        def build(folder: Path) -> Mapping[str, Any]:
            subject.pipeline.write(folder)
            for asset in subject.assets:
                shutil.copy(asset, folder)
            random.seed(self.seed)
            np.random.seed(self.seed)  # for libraries that use the global generator
            reset_peak_memory()
            started = time.perf_counter()
            with tempfile.TemporaryDirectory(prefix="edgeai-build-") as scratch:
                job = Job(subject, folder, Path(scratch), base, calibration, self.seed, stage)
                provenance = dict(operator.build(job))
                build_s = time.perf_counter() - started
                stage("verifying")
                verify(job)
            return {
                **provenance,
                **graph_size(folder / GRAPH_NAME),
                "build_s": build_s,
                "peak_memory_bytes": peak_memory_bytes(),
                "libraries": library_versions(operator.libraries),
                "parameters_of_operator": operator.parameters.model_dump(mode="json"),
            }

        entry = self.store.find_or_build(self.recipe(subject, operator, calibration, base), build, note)
        return Artifact(subject.name, operator.name, entry)
