"""What is rebuilt when something changes, what is refused, and that work is done in another process and once."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import Field

from pytest_edgeai.measure.host import this_host
from pytest_edgeai.operators import BuildError, Job, Operator
from pytest_edgeai.operators.preparation import Plan
from pytest_edgeai.operators.worker import Failure, Progress, prepare_all
from pytest_edgeai.serving.pipeline import Classification, Pipeline
from pytest_edgeai.store import Store
from pytest_edgeai.subjects import SubjectModel
from pytest_edgeai.tiers.specs import Spec
from tests.operators.small_subject import VECTORS
from tests.plugin.toy_models import CLASSES, WIDTH, write_graph
from tests.plugin.toy_models import subject as toy_subject


class Size(Spec):
    size: float = Field(default=1.0)


class Scaled(Operator[Size]):
    """The right matrix, times a parameter."""

    name = "identity"
    parameters_type = Size
    source: ClassVar[Path] = Path(__file__)

    @classmethod
    def sources(cls) -> tuple[Path, ...]:
        return (cls.source,)

    def build(self, job: Job) -> Mapping[str, Any]:
        weights = np.zeros((WIDTH, CLASSES))
        weights[:CLASSES] = np.eye(CLASSES)
        write_graph(job.folder / "model.onnx", self.parameters.size * weights)
        return {"engine": "onnx"}


class Copied(Operator[Size]):
    """The base's graph."""

    name = "copied"
    takes = "graph"
    parameters_type = Size
    source: ClassVar[Path] = Path(__file__)

    @classmethod
    def sources(cls) -> tuple[Path, ...]:
        return (cls.source,)

    def build(self, job: Job) -> Mapping[str, Any]:
        assert job.base is not None
        shutil.copy(job.base.folder / "model.onnx", job.folder)
        return {"engine": "onnx"}


class Constant(Scaled):
    def build(self, job: Job) -> Mapping[str, Any]:
        write_graph(job.folder / "model.onnx", np.zeros((WIDTH, CLASSES)))
        return {"engine": "onnx"}


class Nothing(Scaled):
    def build(self, job: Job) -> Mapping[str, Any]:
        return {"engine": "onnx"}


class Garbage(Scaled):
    def build(self, job: Job) -> Mapping[str, Any]:
        (job.folder / "model.onnx").write_bytes(b"not a graph")
        return {"engine": "onnx"}


@pytest.fixture
def sources(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """A source file of its own for each operator."""
    paths = {name: tmp_path / f"{name}.py" for name in ("identity", "copied")}
    for path in paths.values():
        path.write_text("# source\n", encoding="utf-8")
    Scaled.source, Copied.source = paths["identity"], paths["copied"]
    yield paths
    Scaled.source = Copied.source = Path(__file__)


Build = Callable[..., list[str]]


@pytest.fixture
def built(tmp_path: Path, sources: dict[str, Path]) -> Build:
    """Prepare both operators; the names of those that were built and not found."""

    def prepare(
        subject: SubjectModel | None = None, size: float = 1.0, copies: float = 1.0, seed: int = 0
    ) -> list[str]:
        operators = {"identity": Scaled(Size(size=size)), "copied": Copied(Size(size=copies))}
        plan = Plan(tmp_path / "store", {"toy": subject or toy_subject("toy")}, operators, this_host(), seed)
        names = []
        for name in operators:
            stages: list[str] = []
            plan.prepare("toy", name, stages.append, lambda note: None)
            if "verifying" in stages:
                names.append(name)
        return names

    return prepare


def test_the_second_time_nothing_is_built(built: Build) -> None:
    assert built() == ["identity", "copied"]
    assert built() == []


def test_an_edited_source_rebuilds_exactly_its_own_artifacts(built: Build, sources: dict[str, Path]) -> None:
    built()
    sources["copied"].write_text("# edited\n", encoding="utf-8")
    assert built() == ["copied"]


def test_an_edited_base_whose_graph_stays_the_same_rebuilds_only_the_base(
    built: Build, sources: dict[str, Path]
) -> None:
    built()
    sources["identity"].write_text("# edited\n", encoding="utf-8")
    assert built() == ["identity"]


def test_a_changed_parameter_rebuilds_what_depends_on_it(built: Build) -> None:
    built()
    assert built(copies=2.0) == ["copied"]
    assert built(size=2.0) == ["identity", "copied"]
    assert built() == []


def test_a_changed_definition_or_pipeline_rebuilds_its_model(built: Build, tmp_path: Path) -> None:
    definition = tmp_path / "definition.py"
    definition.write_text("a", encoding="utf-8")
    subject = replace(toy_subject("toy"), sources=(definition,))
    built(subject)
    assert built(subject) == []
    definition.write_text("b", encoding="utf-8")
    assert built(subject) == ["identity", "copied"]
    assert built(replace(subject, pipeline=Pipeline(None, Classification(k=3)))) == ["identity", "copied"]


def test_another_seed_is_another_artifact(built: Build) -> None:
    built()
    assert built(seed=1) == ["identity", "copied"]


def _plan(tmp_path: Path, operator: Operator[Any], subject: SubjectModel | None = None) -> Plan:
    return Plan(tmp_path / "store", {"toy": subject or toy_subject("toy")}, {operator.name: operator}, this_host())


@pytest.mark.parametrize(
    ("operator", "sentence"),
    [
        (Scaled(Size.model_construct(size=float("nan"))), "returns NaN or infinity on calibration samples"),
        (Constant(Size()), "returns the same for 8 different samples"),
        (Nothing(Size()), "the operator wrote no model.onnx"),
        (Garbage(Size()), "the graph is not valid ONNX"),
    ],
)
def test_a_graph_that_cannot_be_trusted_is_refused(tmp_path: Path, operator: Operator[Any], sentence: str) -> None:
    plan = _plan(tmp_path, operator)
    with pytest.raises(BuildError, match=sentence):
        plan.prepare("toy", "identity", lambda stage: None, lambda note: None)
    assert plan.find("toy", "identity") is None


def test_where_accuracy_is_not_measured_equal_answers_are_no_collapse(tmp_path: Path) -> None:
    plan = _plan(tmp_path, Constant(Size()), replace(toy_subject("toy"), unmeasured="random weights"))
    prepared = plan.prepare("toy", "identity", lambda stage: None, lambda note: None)
    assert (prepared.evaluation.metrics, prepared.evaluation.unmeasured) == ({}, "random weights")


def test_artifacts_are_built_in_another_process_with_progress(tmp_path: Path) -> None:
    plan = _plan(tmp_path, Scaled(Size()))
    seen: list[Progress] = []
    results = prepare_all(plan, [("toy", "identity")], seen.append)
    prepared = results["toy", "identity"]
    assert not isinstance(prepared, Failure)
    assert prepared.evaluation.metrics["top1"] == 100
    assert (seen[0].stage, seen[-1].stage, seen[-1].done) == ("starting", "ready", True)
    again: list[Progress] = []
    prepare_all(plan, [("toy", "identity")], again.append)
    assert again == []


def test_what_cannot_be_sent_to_the_other_process_is_said_in_a_sentence(tmp_path: Path) -> None:
    subject = replace(toy_subject("toy"), network=lambda: None)  # type: ignore[arg-type, return-value]  # never asked for
    results = prepare_all(_plan(tmp_path, Scaled(Size()), subject), [("toy", "identity")], lambda progress: None)
    failure = results["toy", "identity"]
    assert isinstance(failure, Failure)
    assert "at the top of an importable module" in failure.sentence


def test_what_an_operator_prints_goes_to_a_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    results = prepare_all(_plan(tmp_path, Loud(Size())), [("toy", "identity")], lambda progress: None)
    failure = results["toy", "identity"]
    assert isinstance(failure, Failure)
    log = tmp_path / "store" / "logs" / "toy-identity.log"
    assert failure.sentence == f"ZeroDivisionError: division by zero (log: {log})"
    text = log.read_text(encoding="utf-8")
    assert "from Python" in text
    assert "from below Python" in text
    assert "ZeroDivisionError" in text
    assert "Python" not in "".join(capfd.readouterr())


class Loud(Scaled):
    def build(self, job: Job) -> Mapping[str, Any]:
        import os

        print("from Python")
        os.write(2, b"from below Python\n")
        return {"engine": str(1 / 0)}


class Needy(Scaled):
    def build(self, job: Job) -> Mapping[str, Any]:
        import no_such_library  # type: ignore[import-not-found]  # noqa: F401  # that it fails is the point

        return {}


def test_a_library_that_is_not_installed_is_named_with_the_extra_to_install(tmp_path: Path) -> None:
    failure = prepare_all(_plan(tmp_path, Needy(Size())), [("toy", "identity")], lambda progress: None)[
        "toy", "identity"
    ]
    assert isinstance(failure, Failure)
    assert failure.sentence == (
        "it needs no_such_library, which is not installed: pip install 'pytest-edgeai[operators]'"
    )


def test_a_warm_store_is_read_without_heavy_libraries(tmp_path: Path) -> None:
    import subprocess

    from pytest_edgeai.operators.identity import Identity, IdentityParameters

    pytest.importorskip("torch")
    plan = Plan(tmp_path, {"vectors": VECTORS}, {"identity": Identity(IdentityParameters())}, this_host())
    plan.prepare("vectors", "identity", lambda stage: None, lambda note: None)
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pytest_edgeai.operators.preparation import Plan\n"
        "from pytest_edgeai.operators.identity import Identity, IdentityParameters\n"
        "from pytest_edgeai.measure.host import this_host\n"
        "from tests.operators.small_subject import VECTORS\n"
        f"plan = Plan(Path({str(tmp_path)!r}), {{'vectors': VECTORS}}, "
        "{'identity': Identity(IdentityParameters())}, this_host())\n"
        "assert plan.find('vectors', 'identity') is not None\n"
        "assert not {'torch', 'onnx', 'onnxscript'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_evaluations_are_computed_once(tmp_path: Path) -> None:
    plan = _plan(tmp_path, Scaled(Size()))
    first = plan.prepare("toy", "identity", lambda stage: None, lambda note: None)
    shelf = Store(tmp_path / "store").root / "evaluations"
    before = {path: path.stat().st_ino for path in shelf.iterdir()}
    second = plan.prepare("toy", "identity", lambda stage: None, lambda note: None)
    assert {path: path.stat().st_ino for path in shelf.iterdir()} == before
    assert np.array_equal(first.evaluation.predictions.ranked, second.evaluation.predictions.ranked)
