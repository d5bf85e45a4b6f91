"""Child processes: what is said of those that do not start, and that none outlives its family."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_edgeai.tiers.backend import TierError
from pytest_edgeai.tiers.children import Child, family

from .conftest import resources
from .peers import wait_until

READY = 'import json, sys\nprint(json.dumps({"ready": True, "port": 7}), flush=True)\n'
OBEY = "sys.stdin.read()\n"


@pytest.fixture
def spawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Child]:
    """Start a child from the source of its module."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def start(source: str, start_timeout_s: float = 60.0) -> Child:
        (tmp_path / "child_of_a_test.py").write_text(source)
        return Child("tier edge", ["child_of_a_test"], tmp_path, start_timeout_s)

    return start


def test_a_child_says_where_it_listens_and_what_it_is_told(spawn: Callable[..., Child]) -> None:
    with family(60) as children:
        child = spawn(READY + "print(sys.stdin.readline(), file=sys.stderr, flush=True)\n" + OBEY)
        children.append(child)

        assert child.port == 7
        child.tell("127.0.0.1:80")
        assert wait_until(lambda: child.last_words() == "; its log ends: 127.0.0.1:80")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise SystemExit('no such model')", "tier edge ended with exit code 1; its log ends: no such model"),
        ("import os; os.kill(os.getpid(), 9)", r"tier edge was killed by signal 9 \(SIGKILL\)$"),
        ("print('hello', flush=True)\ninput()", r"tier edge said something else than that it is ready: b'hello\\n'"),
        ("print('{\"ready\": true}', flush=True)\ninput()", "tier edge said something else"),
        ('print(\'{"ready": true, "port": "x"}\', flush=True)\ninput()', "tier edge said something else"),
        ("import os, time\nos.close(1)\ntime.sleep(60)", "tier edge did not say that it is ready"),
    ],
)
def test_a_child_that_does_not_get_ready_is_named_with_its_last_words(
    spawn: Callable[..., Child], source: str, said: str
) -> None:
    with family(0.1) as children:
        children.append(spawn(source))
        with pytest.raises(TierError, match=f"^{said}"):
            children[0].said()


def test_a_child_that_takes_too_long_to_start_is_named(spawn: Callable[..., Child]) -> None:
    with family(0.1) as children:
        children.append(spawn("import sys, time\nprint('loading', file=sys.stderr, flush=True)\ntime.sleep(60)", 0.5))
        with pytest.raises(TierError, match=r"^tier edge was not ready after 0.5 s; its log ends: loading$") as raised:
            children[0].said()
    assert raised.value.cause == "host"


def test_only_the_end_of_a_long_log_is_told(spawn: Callable[..., Child]) -> None:
    source = "import sys\nfor n in range(100_000): print('line', n, 'x' * 1000, file=sys.stderr)\nsys.exit(3)"
    with family(60) as children:
        children.append(spawn(source))
        with pytest.raises(TierError) as raised:
            children[0].said()

    assert "line 99999" in str(raised.value)
    assert len(str(raised.value)) < 2000


def test_telling_a_child_that_is_gone_says_that_it_is(spawn: Callable[..., Child]) -> None:
    with family(60) as children:
        child = spawn(READY)
        children.append(child)
        child.said()
        assert wait_until(lambda: child.exit_reason() is not None)
        with pytest.raises(TierError, match=r"^tier edge ended with exit code 0"):
            child.tell("hello")


def test_a_module_that_the_system_cannot_start_is_a_sentence(
    spawn: Callable[..., Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(TierError, match=r"^tier edge cannot be started: .*temporarily unavailable"):
        spawn(READY)


def test_a_file_of_the_user_s_folder_does_not_take_the_place_of_the_standard_library(
    spawn: Callable[..., Child], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "json.py").write_text("raise SystemExit('this is my own json')")
    monkeypatch.chdir(project)
    with family(60) as children:
        children.append(spawn(READY + OBEY))
        assert children[0].port == 7


@pytest.mark.parametrize(
    "source",
    [
        READY + OBEY,
        READY + "import time\ntime.sleep(600)",
        READY + "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)",
    ],
    ids=["obedient", "deaf", "stubborn"],
)
@pytest.mark.parametrize("stopped", [False, True])
def test_no_child_outlives_its_family(spawn: Callable[..., Child], source: str, stopped: bool) -> None:
    before = resources()

    with family(0.2) as children:
        children += [spawn(source), spawn(source)]
        for child in children:
            child.said()
        if stopped:
            os.kill(children[0].pid, signal.SIGSTOP)

    assert not resources() - before


def test_a_second_interrupt_while_children_end_ends_them_at_once(
    spawn: Callable[..., Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = resources()
    patient = Child.stop

    def interrupted(child: Child, timeout_s: float) -> None:
        if timeout_s:
            raise KeyboardInterrupt
        patient(child, timeout_s)

    monkeypatch.setattr(Child, "stop", interrupted)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), family(600) as children:
        children += [spawn(READY + "import time\ntime.sleep(600)") for _ in range(2)]

    assert not resources() - before
    assert time.monotonic() - started < 60
