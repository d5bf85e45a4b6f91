"""One measuring session at a time on a host."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_edgeai.measure.session_lock import FOLDER_VARIABLE, Holder, HostTakenError, lock_folder, only_session

HOLD = """
import sys
from pytest_edgeai.measure.session_lock import only_session

with only_session(0, print):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "lock"))
    return tmp_path / "lock"


@contextlib.contextmanager
def holder() -> Iterator[subprocess.Popen[bytes]]:
    """A process that measures until it is told to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, "suites/", "--benchmark-only"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def take(wait_s: float = 0.0) -> list[str]:
    notes: list[str] = []
    with only_session(wait_s, notes.append):
        return notes


def test_a_second_session_is_refused_and_told_who_measures_since_when() -> None:
    with holder() as other, pytest.raises(HostTakenError) as refused:
        take()
    sentence = str(refused.value)
    assert f"process {other.pid} of user " in sentence
    assert "(-c suites/ --benchmark-only), since " in sentence
    assert sentence.endswith("wait for it by --edgeai-wait 10m")


def test_a_second_session_waits_and_says_for_whom() -> None:
    notes: list[str] = []
    with holder() as other:

        def note(sentence: str) -> None:
            notes.append(sentence)
            other.kill()

        with only_session(60, note):
            pass
    assert f"for another session: process {other.pid} of user " in notes[0]


def test_a_session_that_waited_in_vain_is_refused() -> None:
    with holder(), pytest.raises(HostTakenError, match=r"is still after \d s measuring on this host"):
        take(wait_s=0.3)


def test_the_lock_is_free_after_its_holder_was_killed() -> None:
    with holder() as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert take() == []


def test_children_of_a_session_that_was_killed_do_not_hold_its_lock() -> None:
    code = HOLD.replace(
        'print("held"', 'import subprocess; child = subprocess.Popen(["sleep", "60"]); print(child.pid, "held"'
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    child = int(process.stdout.readline().split()[0])
    process.kill()
    process.wait()
    try:
        assert take() == []
        os.kill(child, 0)  # it is still there
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()


def test_the_lock_is_free_after_a_session_has_failed() -> None:
    with contextlib.suppress(ZeroDivisionError), only_session(0, print):
        raise ZeroDivisionError
    assert take() == []


def test_every_user_may_take_the_lock(folder: Path) -> None:
    take()
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o666}


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can become two other users")
def test_users_take_the_lock_one_after_the_other_in_a_folder_that_all_may_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory() as name:
        monkeypatch.setenv(FOLDER_VARIABLE, name)
        folder = Path(name)
        folder.chmod(0o1777)
        for user in (4001, 4002):
            assert _take_as(user) == 0
            about = json.loads((folder / "edgeai-measuring.json").read_text(encoding="utf-8"))
            assert about["pid"] != os.getpid()
        take()
        about = json.loads((folder / "edgeai-measuring.json").read_text(encoding="utf-8"))
        assert about["pid"] == os.getpid()


def _take_as(user: int) -> int:
    """Take the lock in a process of another user; its exit code."""
    child = os.fork()
    if child == 0:
        try:
            os.setgid(user)
            os.setuid(user)
            take()
        except BaseException:  # noqa: BLE001  # nothing of pytest is to run in this process
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_folder_that_cannot_be_written_is_an_error_that_names_the_variable(folder: Path) -> None:
    folder.write_text("a file", encoding="ascii")
    with pytest.raises(HostTakenError, match=f"cannot be locked.* set {FOLDER_VARIABLE} to a folder"):
        take()


def test_without_a_name_the_folder_is_one_that_all_users_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE)
    monkeypatch.setenv("TMPDIR", "/somewhere/of/mine")
    assert lock_folder() == Path("/tmp")


def test_a_holder_tells_since_when() -> None:
    assert "since " in Holder(7, "pytest", "anna", time.time() - 600).describe(time.time())
    assert Holder(7, "pytest", "anna", 0).describe(720).endswith(", 12 min ago")
