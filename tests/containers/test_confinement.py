"""What a tier's container can do beside serving: nothing that lasts, and nothing outside of its links."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from pytest_edgeai.tiers.backend import DeploymentSpec
from pytest_edgeai.tiers.containers import DockerBackend
from pytest_edgeai.tiers.tier_container import TierContainer

OrderOn = Callable[[str], DeploymentSpec]
HERE, OUTSIDE = "10.213.78.1", "10.213.78.2"
SERVER = (
    "import socket, time; s = socket.create_server(('{}', 0)); print(s.getsockname()[1], flush=True); time.sleep(600)"
)


@pytest.fixture
def outside() -> Iterator[tuple[str, int]]:
    """A machine that knows the way to containers, with a port that answers."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nsenter"))):
        pytest.skip("another machine, as a network namespace, needs root, ip and nsenter")
    name, cable = f"edgeai-out-{os.getpid()}", f"eo{os.getpid()}"

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    with contextlib.ExitStack() as stack:
        ip("netns", "add", name)
        stack.callback(ip, "netns", "del", name)
        ip("link", "add", cable, "type", "veth", "peer", "name", "there", "netns", name)
        stack.callback(ip, "link", "del", cable)
        ip("address", "add", f"{HERE}/30", "dev", cable)
        ip("link", "set", cable, "up")
        ip("-n", name, "address", "add", f"{OUTSIDE}/30", "dev", "there")
        ip("-n", name, "link", "set", "there", "up")
        ip("-n", name, "route", "add", "default", "via", HERE)
        command = ["nsenter", f"--net=/run/netns/{name}", sys.executable, "-c", SERVER.format(OUTSIDE)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        stack.callback(server.wait, 30)
        stack.callback(server.kill)
        assert server.stdout is not None
        yield OUTSIDE, int(server.stdout.readline())


def connects(container: TierContainer, address: tuple[str, int]) -> bool:
    """Whether a connection can be made from inside."""
    script = f"import socket; socket.create_connection({address!r}, 3)"
    code, output = container.inner.exec_run(["python3", "-c", script])
    assert code == 0 or b"Error" in output, output
    return bool(code == 0)


def test_no_tier_reaches_anything_beyond_its_links(
    backend: DockerBackend, order: OrderOn, outside: tuple[str, int]
) -> None:
    socket.create_connection(outside, 10).close()
    with backend.deploy(order("cloud")) as deployment, socket.create_server((HERE, 0)) as other:
        containers = deployment.containers
        assert {name for name, one in containers.items() if connects(one, outside)} == set()
        assert {name for name, one in containers.items() if connects(one, (HERE, other.getsockname()[1]))} == set()
        assert connects(containers["edge"], ("cloud", 8080))


def test_a_server_writes_nowhere(backend: DockerBackend, order: OrderOn) -> None:
    script = (
        "find / -xdev \\( -type d -o -type f \\) -writable 2>/dev/null | grep -v '^/proc';"
        "for place in / /deployed /deployed/models /models /opt/edgeai /tmp /run;"
        "do touch $place/x && echo $place; done"
    )
    with backend.deploy(order("mobile")) as deployment:
        inner = deployment.containers["mobile"].inner
        assert inner.exec_run(["sh", "-c", script], stderr=False).output == b""
        assert inner.exec_run(["touch", "/opt/edgeai/x"], user="0").exit_code != 0


def test_a_tier_has_a_limit_of_processes(backend: DockerBackend, order: OrderOn) -> None:
    script = (
        "import os, signal, sys\n"
        "children = []\n"
        "try:\n"
        "    while len(children) < 2000:\n"
        "        child = os.fork()\n"
        "        if not child:\n"
        "            signal.pause()\n"
        "        children.append(child)\n"
        "except BlockingIOError:\n"
        "    pass\n"
        "for child in children:\n"
        "    os.kill(child, signal.SIGKILL)\n"
        "print(len(children))\n"
    )
    with backend.deploy(order("mobile")) as deployment:
        inner = deployment.containers["mobile"].inner
        output = inner.exec_run(["python3", "-c", script]).output
        assert isinstance(output, bytes)
        assert 0 < int(output) < 1000
        assert deployment.diagnose() is None
