"""A tiny model, a topology that is quick to cross, and backends that leave nothing behind."""

import contextlib
import gc
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers

from pytest_edgeai.serving.pipeline import Classification, Pipeline, TextPreprocess
from pytest_edgeai.tiers import cgroups
from pytest_edgeai.tiers.allotment import allot
from pytest_edgeai.tiers.backend import BackendContext, DeploymentSpec
from pytest_edgeai.tiers.placements import Placement
from pytest_edgeai.tiers.process import ProcessBackend
from pytest_edgeai.tiers.specs import Topology

from .peers import children_of
from .stock import make_certificate

INPUTS: Mapping[str, Any] = {"x": np.arange(6, dtype=np.float32).reshape(1, 6)}
TEXT = {"pair": np.array([[b"one two", b"three"]], dtype=object)}
PIPELINE = Pipeline(
    TextPreprocess("pair", {"ids": "input_ids", "type_ids": "token_type_ids"}, max_length=8),
    Classification("logits", k=2),
)
LINKS = {"mobile-edge": {"rate": "100 Mbit/s"}, "edge-cloud": {"rate": "10 Mbit/s"}}

needs_cgroups = pytest.mark.skipif(cgroups.writable("tests") is not None, reason=str(cgroups.writable("tests")))
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc")


def make_model(folder: Path, taken: str = "x", given: str = "y") -> Path:
    """A model that gives back what it takes; the folder, as an artifact would have it."""
    folder.mkdir(parents=True)
    shape = [None, 6]
    graph = helper.make_graph(
        [helper.make_node("Identity", [taken], [given])],
        "tiny",
        [helper.make_tensor_value_info(taken, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(given, TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, str(folder / "model.onnx"))
    return folder


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("artifacts") / "tiny-identity")


@pytest.fixture
def order(artifact: Path) -> Callable[[str], DeploymentSpec]:
    """What to deploy on a tier."""
    return lambda tier: DeploymentSpec("tiny-identity", artifact, Placement((tier,)))


def make_site(folder: Path, name: str = "test", **tiers: Mapping[str, Any]) -> BackendContext:
    """The study's tiers behind fast links; settings of a tier by its name."""
    cores = {"mobile": 4, "edge": 8, "cloud": 16}
    described = {tier: {"cores": n, "memory": "1 GiB", **tiers.get(tier, {})} for tier, n in cores.items()}
    topology = Topology.model_validate({"tiers": described, "links": LINKS})
    placements = tuple(Placement((tier,)) for tier in cores)
    host_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    return BackendContext(topology, allot(topology.tiers, host_cores, 2**40), placements, name, folder)


@pytest.fixture
def site(tmp_path: Path) -> BackendContext:
    return make_site(tmp_path)


@pytest.fixture
def backend(site: BackendContext) -> Iterator[ProcessBackend]:
    """A backend; at the end no process, group or file descriptor may be left of it."""
    before = resources()
    yield ProcessBackend(site)
    assert not resources() - before


def resources() -> frozenset[str]:
    """What this process holds: children, file descriptors and control groups.

    What is held later and was not before is their difference; a server of an earlier test may still give back its own.
    """
    gc.collect()  # what earlier tests have left to the collector is not to be closed in the middle of a later one
    held = {f"child {pid}" for pid in children_of(os.getpid())}
    held |= {f"control group {name}" for name in groups_of(os.getpid())}
    for descriptor in Path("/proc/self/fd").glob("*"):
        with contextlib.suppress(OSError):  # that of the listing is closed by now
            held.add(f"file descriptor {descriptor.name}: {descriptor.readlink()}")
    return frozenset(held)


def groups_of(pid: int) -> list[str]:
    """The control groups of an owner."""
    found = []
    for folder, folders, _ in os.walk(cgroups.MOUNT):
        named = [name for name in folders if name.startswith("edgeai-")]
        found += [f"{folder}/{name}" for name in named if name.startswith(f"edgeai-{pid}-")]
        folders[:] = [name for name in folders if name not in named]
    return sorted(found)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact that tells pairs of sentences apart, with its pipeline; the graph takes one of two tensors made."""
    folder = tmp_path_factory.mktemp("artifacts") / "texts-identity"
    folder.mkdir()
    weights = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Cast", ["input_ids"], ["f"], to=1), helper.make_node("MatMul", ["f", "w"], ["logits"])],
        "texts",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    words = {word: number for number, word in enumerate(("[PAD]", "[UNK]", "a", "one", "two", "three"))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    PIPELINE.write(folder)
    return folder


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of this host, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    return make_certificate(tmp_path_factory.mktemp("certificates") / "stock.pem", "IP:127.0.0.1")
