"""Faults of the process backend, each provoked for real: the sentence names the tier or the link."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_edgeai.tiers import cgroups
from pytest_edgeai.tiers.backend import DeploymentSpec, TierError
from pytest_edgeai.tiers.children import Child
from pytest_edgeai.tiers.process import ProcessBackend, ProcessDeployment, Timeouts
from pytest_edgeai.tiers.specs import Topology
from pytest_edgeai.wire.client import RequestError

from .conftest import INPUTS, make_site, needs_cgroups, resources
from .peers import stopped, wait_until

OrderOn = Callable[[str], DeploymentSpec]

QUICK = Timeouts(start_s=60, answer_s=0.5, check_s=1, end_s=0.2)


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[ProcessBackend]:
    """A backend that waits a second where others wait a minute."""
    before = resources()
    yield ProcessBackend(make_site(tmp_path), QUICK)
    assert not resources() - before


def server_of(deployment: ProcessDeployment, tier: str) -> Child:
    return deployment._servers[tier]  # noqa: SLF001  # to break it from outside


@pytest.mark.parametrize("tier", ["cloud", "edge"])
def test_a_server_killed_in_the_middle_of_a_request_is_named_with_its_signal(
    tmp_path: Path, order: OrderOn, tier: str
) -> None:
    slow = {"rate": "100 kbit/s"}  # so that the request is under way for a second
    site = make_site(tmp_path)
    topology = Topology.model_validate({**site.topology.model_dump(), **_written(links=slow)})
    backend = ProcessBackend(replace(site, topology=topology))
    with backend.deploy(order("cloud")) as deployment, deployment.client() as client:
        timer = threading.Timer(0.3, os.kill, (server_of(deployment, tier).pid, signal.SIGKILL))
        timer.start()
        with pytest.raises(RequestError):
            client.infer("tiny-identity", {"x": INPUTS["x"].repeat(500, axis=0)})
        timer.join()

        assert deployment.diagnose() == f"tier {tier} was killed by signal 9 (SIGKILL)"
        with pytest.raises(TierError, match=f"^tier {tier} was killed by signal 9"):
            deployment.states()


def _written(links: dict[str, str]) -> dict[str, object]:
    tiers = {name: {"cores": 1, "memory": "1 GiB"} for name in ("mobile", "edge", "cloud")}
    return {"tiers": tiers, "links": {"mobile-edge": {"rate": "100 Mbit/s"}, "edge-cloud": links}}


@pytest.mark.parametrize("tier", ["cloud", "edge"])
def test_a_server_that_was_stopped_is_named(impatient: ProcessBackend, order: OrderOn, tier: str) -> None:
    with impatient.deploy(order("cloud")) as deployment, deployment.client() as client:
        client.infer("tiny-identity", INPUTS)
        with stopped(server_of(deployment, tier).pid):
            with pytest.raises(RequestError):
                client.infer("tiny-identity", INPUTS)

            said = deployment.diagnose()
            assert said is not None
            assert said.startswith(f"tier {tier} is running but does not answer: ")
            with pytest.raises(TierError, match=f"^tier {tier} does not say its limits: .* within 1 s"):
                deployment.states()


def test_a_model_that_is_corrupt_is_named_with_its_tier(
    impatient: ProcessBackend, order: OrderOn, artifact: Path, tmp_path: Path
) -> None:
    content = (artifact / "model.onnx").read_bytes()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.onnx").write_bytes(content[: len(content) // 2])

    with (
        pytest.raises(TierError, match=r"^tier cloud ended with exit code 1; its log ends: error: .*model\.onnx"),
        impatient.deploy(replace(order("cloud"), folder=tmp_path / "broken")),
    ):
        pass


def test_a_model_that_is_missing_is_named_with_its_tier(
    impatient: ProcessBackend, order: OrderOn, tmp_path: Path
) -> None:
    with (
        pytest.raises(TierError, match=r"^tier edge cannot serve tiny-identity: there is no .*nowhere.model\.onnx$"),
        impatient.deploy(replace(order("edge"), folder=tmp_path / "nowhere")),
    ):
        pass


def test_a_server_that_takes_too_long_to_start_is_named(tmp_path: Path, order: OrderOn) -> None:
    before = resources()
    backend = ProcessBackend(make_site(tmp_path), replace(QUICK, start_s=0.01))

    with pytest.raises(TierError, match=r"^tier mobile was not ready after 0.01 s"), backend.deploy(order("mobile")):
        pass

    assert not resources() - before


def test_limits_that_are_not_as_given_are_told_of_the_tier(impatient: ProcessBackend, order: OrderOn) -> None:
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core leaves no choice")
    with impatient.deploy(order("mobile")) as deployment:
        deployment.states()
        server = server_of(deployment, "mobile")
        if deployment._groups["mobile"]:  # noqa: SLF001  # to break it from outside
            parent = cgroups.MOUNT / "cpuset"
            cgroups.add([parent if parent.exists() else cgroups.MOUNT], server.pid)
        for thread in Path(f"/proc/{server.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), os.sched_getaffinity(0))

        with pytest.raises(TierError, match=r"^tier mobile was given cpus \[.*\] and has \[.*\]$"):
            deployment.states()


@needs_cgroups
def test_memory_that_is_not_as_given_is_told_of_the_tier(impatient: ProcessBackend, order: OrderOn) -> None:
    with impatient.deploy(order("mobile")) as deployment:
        for group in deployment._groups["mobile"]:  # noqa: SLF001  # to break it from outside
            for name in ("memory.limit_in_bytes", "memory.max"):  # version 1, version 2
                if (group / name).exists():
                    (group / name).write_text(str(2**29))

        with pytest.raises(TierError, match=r"^tier mobile was given 1073741824 bytes of memory and has 536870912$"):
            deployment.states()


@needs_cgroups
def test_a_server_that_wants_too_much_memory_is_told_from_one_that_was_killed(tmp_path: Path, order: OrderOn) -> None:
    before = resources()
    backend = ProcessBackend(make_site(tmp_path, mobile={"memory": "16 MiB"}), QUICK)

    with (
        pytest.raises(
            TierError, match=r"^tier mobile was killed by signal 9 .*, because it wanted more than its 16777216"
        ),
        backend.deploy(order("mobile")),
    ):
        pass

    assert not resources() - before


def test_a_port_that_is_taken_is_said_of_the_tier_with_its_log(
    impatient: ProcessBackend, order: OrderOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = Child.__init__

    with impatient.deploy(order("mobile")) as first:
        taken = str(server_of(first, "mobile").port)

        def conflict(child: Child, name: str, command: list[str], *more: object) -> None:
            started(child, name, [*command, "--port", taken], *more)  # type: ignore[arg-type]  # options of several types

        monkeypatch.setattr(Child, "__init__", conflict)
        with (
            pytest.raises(TierError, match=f"^tier edge ended with .* cannot listen on 127.0.0.1:{taken}"),
            impatient.deploy(order("edge")),
        ):
            pass


def test_a_fault_of_one_deployment_is_none_of_the_next(impatient: ProcessBackend, order: OrderOn) -> None:
    with impatient.deploy(order("edge")) as deployment:
        os.kill(server_of(deployment, "edge").pid, signal.SIGKILL)
        assert wait_until(lambda: deployment.diagnose() == "tier edge was killed by signal 9 (SIGKILL)")

    with impatient.deploy(order("edge")) as deployment, deployment.client() as client:
        client.infer("tiny-identity", INPUTS)
        assert deployment.diagnose() is None
