"""Artifacts made ready: found in the store, or built and verified, and their accuracy evaluated.

A plan knows what is to be had and how; whether the work is done here or in another process is decided by
`pytest_edgeai.operators.worker`.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pytest_edgeai import scratch as scratch_folders
from pytest_edgeai.measure import accuracy
from pytest_edgeai.measure.accuracy import Evaluation
from pytest_edgeai.measure.host import Host
from pytest_edgeai.operators import Job, Operator, chains, provenance
from pytest_edgeai.operators.memory import peak_memory_bytes, reset_peak_memory
from pytest_edgeai.operators.nodes import verify_nodes
from pytest_edgeai.operators.provenance import Cost
from pytest_edgeai.operators.verification import graph_size, refuse_collapse, verify
from pytest_edgeai.parallel import node_folders
from pytest_edgeai.serving.repository import GRAPH_NAME
from pytest_edgeai.store import Artifact, Entry, Recipe, Store, library_versions, source_digest
from pytest_edgeai.subjects import Split, SubjectModel
from pytest_edgeai.subjects import examples as example_store
from pytest_edgeai.subjects.examples import Examples

_FORMAT = 2  # counted up when this module changes what an artifact holds


@dataclass(frozen=True, slots=True)
class Prepared:
    """An artifact that is ready to be measured, with its accuracy and the samples to send."""

    artifact: Artifact
    evaluation: Evaluation
    validation: Examples


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
    build_idle_s
        How long the process that builds may give no sign of progress.
    """

    store_root: Path
    subjects: Mapping[str, SubjectModel]
    operators: Mapping[str, Operator[Any]]
    host: Host
    seed: int = 0
    build_idle_s: float = 600.0

    def __post_init__(self) -> None:
        settled = {name: operator.settled(self.host) for name, operator in self.operators.items()}
        object.__setattr__(self, "operators", settled)

    @property
    def store(self) -> Store:
        """The store."""
        return Store(self.store_root)

    def find(self, model: str, operator: str) -> Prepared | None:
        """The artifact and its evaluation if the store has both; nothing is built and no heavy library imported."""
        subject, store = self.subjects[model], self.store
        splits = {}
        for split in ("calibration", "validation"):
            entry = store.find(example_store.recipe(subject.examples, split))
            if entry is None:
                return None
            splits[split] = Examples(entry)
        found = self.find_steps(subject, chains.steps(operator, self.operators), splits["calibration"])
        if found is None:
            return None
        artifact = Artifact(model, operator, found)
        baseline = self.find(model, chains.EXPORTER) if self._compares(subject, operator) else None
        if baseline is None and self._compares(subject, operator):
            return None
        evaluation = store.find(self._evaluation_recipe(subject, artifact, splits["validation"], baseline))
        return None if evaluation is None else Prepared(artifact, accuracy.load(evaluation), splits["validation"])

    def starts_from(self, wanted: tuple[str, str], other: tuple[str, str]) -> bool:
        """Whether an artifact cannot be made where another one cannot be: it is made of that, or compared with it."""
        (model, operator), (other_model, before) = wanted, other
        if model != other_model or operator == before:
            return False
        if before == chains.EXPORTER and self._compares(self.subjects[model], operator):
            return True
        base = chains.steps(before, self.operators)
        return chains.steps(operator, self.operators)[: len(base)] == base

    def evaluation_recipe(self, model: str, operator: str, prepared: Prepared) -> Recipe:
        """What decided the evaluation of an artifact that is ready."""
        subject = self.subjects[model]
        baseline = self.find(model, chains.EXPORTER) if self._compares(subject, operator) else None
        return self._evaluation_recipe(subject, prepared.artifact, prepared.validation, baseline)

    def _evaluation_recipe(
        self, subject: SubjectModel, artifact: Artifact, validation: Examples, baseline: Prepared | None
    ) -> Recipe:
        usual = None if baseline is None else baseline.artifact
        return accuracy.recipe(artifact, validation, subject, self.host, usual)

    @staticmethod
    def _compares(subject: SubjectModel, operator: str) -> bool:
        """Whether the artifact is evaluated against the answers of the model as it is."""
        return operator != chains.EXPORTER and accuracy.needs_baseline(subject)

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
        made = self.build_steps(subject, chains.steps(operator, self.operators), calibration, stage, note)
        artifact = Artifact(model, operator, made)
        baseline = None
        if self._compares(subject, operator):
            usual = self.prepare(model, chains.EXPORTER, stage, note)
            baseline = (usual.artifact, usual.evaluation)
        stage("evaluating")
        evaluation = accuracy.evaluate(self.store, artifact, validation, subject, self.host, refuse_collapse, baseline)
        return Prepared(artifact, evaluation, validation)

    def find_steps(self, subject: SubjectModel, steps: Sequence[Operator[Any]], calibration: Examples) -> Entry | None:
        """What the last of some operators made, one after the other, if the store has all of it."""
        found: Entry | None = None
        for step in steps:
            found = self.store.find(self.recipe(subject, step, calibration, found))
            if found is None:
                return None
        return found

    def build_steps(
        self,
        subject: SubjectModel,
        steps: Sequence[Operator[Any]],
        calibration: Examples,
        stage: Callable[[str], None],
        note: Callable[[str], None],
    ) -> Entry:
        """What the last of some operators makes, one after the other, built now as far as the store lacks it."""
        made: list[tuple[Operator[Any], Entry]] = []
        for step in steps:
            made.append((step, self._build(subject, step, made, calibration, stage, note)))
        return made[-1][1]

    def recipe(
        self, subject: SubjectModel, operator: Operator[Any], calibration: Examples, base: Entry | None
    ) -> Recipe:
        """Everything that decides what an operator makes of a base, or of the subject model itself."""
        libraries = (subject.libraries or ()) if operator.takes_network(subject, first=base is None) else ()
        return Recipe(
            "networks" if operator.gives == "network" else "artifacts",
            {
                "preparation": _FORMAT,
                "subject": {
                    "name": subject.name,
                    "sources": [source_digest(path) for path in (*subject.sources, *subject.assets)],
                    "libraries": library_versions(libraries),
                    "pipeline": subject.pipeline.as_json(),
                    "graph_inputs": subject.graph_inputs,
                    **({"graph": _graph_digests(subject.graph)} if subject.graph is not None else {}),
                    **({"key": subject.key} if subject.key else {}),
                },
                "operator": {
                    "name": operator.name,
                    "sources": [source_digest(path) for path in operator.sources()],
                    "libraries": library_versions(operator.libraries_for(subject, first=base is None)),
                    "parameters": operator.parameters.model_dump(mode="json"),
                },
                "calibration": calibration.content,
                "training": self._training(subject) if operator.trains else None,
                "base": None if base is None else _identifier(base),
                "seed": self.seed,
            },
        )

    def _samples(self, subject: SubjectModel, split: Split) -> Examples:
        return example_store.stored(self.store, subject.examples, split)

    def _training(self, subject: SubjectModel) -> Any:
        """What decides how a subject model is trained: its samples are known without being generated."""
        training = subject.training
        if training is None:
            return None
        return {
            "samples": example_store.recipe(subject.examples, "train").digest,
            "loss": _qualified(training.loss),
            "learning_rate": training.learning_rate,
            "student": None if training.student is None else _qualified(training.student),
            "sources": [source_digest(path) for path in training.sources],
        }

    def _build(
        self,
        subject: SubjectModel,
        operator: Operator[Any],
        before: Sequence[tuple[Operator[Any], Entry]],
        calibration: Examples,
        stage: Callable[[str], None],
        note: Callable[[str], None],
    ) -> Entry:
        """What one step of a chain makes, given those before it."""
        base = before[-1][1] if before else None

        def build(folder: Path) -> Mapping[str, Any]:
            random.seed(self.seed)
            np.random.seed(self.seed)  # for libraries that use the global generator
            with scratch_folders.folder("edgeai-build-") as temporary:
                scratch = temporary / "scratch"  # empty, without the lock
                scratch.mkdir()
                assets = scratch / "assets" if operator.gives in ("network", "nodes") else folder
                assets.mkdir(exist_ok=True)
                for asset in subject.assets:
                    shutil.copy(asset, assets)
                job = Job(
                    subject=subject,
                    folder=folder,
                    assets=assets,
                    scratch=scratch,
                    base=base,
                    calibration=calibration,
                    training=lambda: self._samples(subject, "train"),
                    seed=self.seed,
                    stage=stage,
                )
                reset_peak_memory()
                started, cpu_started = time.perf_counter(), time.process_time()
                told = dict(operator.build(job))
                cost = Cost(
                    build_s=time.perf_counter() - started,
                    cpu_s=time.process_time() - cpu_started,
                    peak_memory_bytes=peak_memory_bytes(),
                    training_samples=told.pop("training_samples", 0),
                )
                found: Mapping[str, Any] = {}
                if operator.gives == "nodes":
                    stage("verifying")
                    found = verify_nodes(job)
                    for folder_of_node in node_folders(folder):
                        for earlier, entry in before:
                            earlier.check(folder_of_node / GRAPH_NAME, entry.provenance)
                elif operator.gives != "network":
                    subject.pipeline.write(folder)
                    stage("verifying")
                    verify(job)
                    for earlier, entry in before:
                        earlier.check(folder / GRAPH_NAME, entry.provenance)
                    found = graph_size(job)
                    found = {**found, **operator.divide(job)}
            libraries = library_versions(operator.libraries_for(subject, first=base is None))
            before_it = None if base is None else base.provenance
            return provenance.of_step(operator, libraries, told, cost, found, before_it)

        recipe = self.recipe(subject, operator, calibration, base)
        return self.store.find_or_build(recipe, build, note)


def _identifier(base: Entry) -> str:
    """What of a base decides what is made of it: a graph's content; a network's recipe, since code belongs to it."""
    return base.content if GRAPH_NAME in base.files else base.digest


def _graph_digests(graph: Path) -> list[str]:
    """Digests of an ONNX file and of the files that its weights are in."""
    from pytest_edgeai.subjects.graphs import weight_files

    return [source_digest(path) for path in (graph, *weight_files(graph))]


def _qualified(function: Callable[..., Any]) -> str:
    """The name of a function, or of the class of an object that is called as one."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"
